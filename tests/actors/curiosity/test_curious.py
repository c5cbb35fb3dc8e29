"""The curious agent with real networks: what it foresees, collects, and remembers over a stop."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (torch and safetensors are untyped in parts)

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from pamiq_core.data import DataCollector, DataCollectorsDict
from pamiq_core.model import InferenceModel, InferenceModelsDict, TrainingModelsDict
from pamiq_core.torch import TorchInferenceModel

from actors.agents.curious import CuriousAgent
from actors.curiosity.imagination import Imagination
from actors.curiosity.novelty import EpisodicMemory
from common.config.curiosity import CuriosityConfig, DynamicsConfig, PolicyConfig, Reward
from common.curiosity.dynamics import ForwardDynamics
from common.curiosity.models import DYNAMICS, training_models
from common.curiosity.rollout import ROLLOUTS, Rollout
from common.messages import Observation

D = 6


class Eye(InferenceModel):
    """Sees the first pixels of a frame; a new version every so many looks."""

    def __init__(self, every: int = 10**9) -> None:
        self.looks = 0
        self._every = every

    @property
    def version(self) -> int:
        return 1 + self.looks // self._every

    def infer(self, *args: Any, **kwds: Any) -> torch.Tensor:
        self.looks += 1
        return torch.from_numpy(args[0].reshape(-1)[:D].astype(np.float32) / 64)


class Basket(DataCollector[Any]):
    """Keeps what is collected."""

    def __init__(self) -> None:
        super().__init__(1)
        self.found: list[Rollout] = []

    def collect(self, data: Any) -> None:
        self.found.append(Rollout.of_value(data))


def _config(**fields: Any) -> CuriosityConfig:
    small: dict[str, Any] = {"rollout": 4, "dynamics": DynamicsConfig(dim=8), "policy": PolicyConfig(dim=8)}
    return CuriosityConfig(**small | fields)


def _agent(config: CuriosityConfig, *, seed: int = 0, eye: Eye | None = None) -> tuple[CuriousAgent, Basket]:
    models = TrainingModelsDict(training_models(config, D, seed=0)).inference_models_dict
    agent, basket = CuriousAgent(seed=seed, config=config, encoder="encoder"), Basket()
    agent.attach_inference_models(InferenceModelsDict({"encoder": eye or Eye(), **models}))
    agent.attach_data_collectors(DataCollectorsDict({ROLLOUTS: basket}))
    return agent, basket


def _observe(step: int, visit: int = 0) -> Observation:
    frame = np.random.default_rng(step).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Observation(frame=frame, captured_ns=step, world="w", visit=visit, visit_time=step / 10)


def test_rollouts_join_and_hold_what_was_seen_and_done() -> None:
    agent, basket = _agent(_config(), eye=(eye := Eye(every=6)))
    actions = [agent.step(_observe(step)) for step in range(13)]
    first, second, third = basket.found
    assert eye.looks == 13
    assert np.array_equal(first.features[-1], second.features[0])
    assert np.array_equal(second.features[-1], third.features[0])
    assert np.concatenate([one.versions[:-1] for one in basket.found]).tolist() == [1] * 5 + [2] * 6 + [3]
    for step, action in enumerate(actions[:12]):
        rollout = basket.found[step // 4]
        vertical = rollout.choices[step % 4, 0]
        assert action[0] == (0.0, 1.0, -1.0)[vertical]
    assert all(one.joined.all() for one in basket.found)


def test_rewards_are_the_surprise_at_what_came_of_a_step() -> None:
    config = _config()
    agent, basket = _agent(config)
    for step in range(5):
        agent.step(_observe(step))
    network = cast(ForwardDynamics, training_models(config, D, seed=0)[DYNAMICS].model)
    (rollout,) = basket.found
    seen = network.norm(torch.from_numpy(rollout.features))[None]
    foreseen, hidden = network(seen[:, :-1], torch.from_numpy(rollout.choices).long()[None], torch.zeros(1, 1, 8))
    assert np.allclose(rollout.rewards, foreseen.surprise(seen[:, 1:])[0].detach(), atol=1e-5)
    assert np.allclose(rollout.memories[1:], hidden[0, :-1, -1].detach(), atol=1e-6)


def test_imaginations_go_on_from_what_they_imagined() -> None:
    models = TrainingModelsDict(training_models(_config(), D, seed=0)).inference_models_dict
    imagination = Imagination(cast(TorchInferenceModel[ForwardDynamics], models[DYNAMICS]), horizon=3)
    network = cast(ForwardDynamics, training_models(_config(), D, seed=0)[DYNAMICS].model)
    generator = torch.Generator().manual_seed(0)
    features, actions = torch.randn(5, D, generator=generator), torch.zeros(5, 4, dtype=torch.long)
    for step in range(4):
        imagination.see(features[step], joined=step > 0)
        imagination.act(actions[step])
    foreseen = imagination.see(features[4], joined=True)
    assert foreseen is not None
    assert len(foreseen.mean) == 3
    seen = network.norm(features)[None]
    _, hiddens = network(seen[:, :4], actions[None, :4], torch.zeros(1, 1, 8))
    for ahead in range(1, 4):
        at, state = seen[:, 4 - ahead : 5 - ahead], torch.zeros(1, 1, 8) if ahead == 4 else hiddens[:, 3 - ahead]
        for _ in range(ahead):
            step, after = network(at, actions[None, :1], state)
            at, state = step.mean, after[:, 0]
        assert torch.allclose(foreseen.mean[ahead - 1], at[0, 0], atol=1e-5), ahead


def test_a_change_of_visits_is_no_step_of_the_world() -> None:
    agent, basket = _agent(_config())
    for step in range(5):
        agent.step(_observe(step, visit=step // 2))
    (rollout,) = basket.found
    assert rollout.joined.tolist() == [True, False, True, False]
    assert rollout.rewards[[1, 3]].tolist() == [0, 0]


def test_a_change_of_the_encoder_ends_what_was_foreseen() -> None:
    config = _config(dynamics=DynamicsConfig(dim=8, imagination=3), rollout=12)
    agent, basket = _agent(config, eye=Eye(every=6))
    for step in range(13):
        agent.step(_observe(step))
    (rollout,) = basket.found
    (changed,) = np.flatnonzero(np.diff(rollout.versions))[:1]
    assert rollout.joined.all()
    assert rollout.rewards[changed] == 0
    assert (rollout.rewards[changed + 1 : changed + 4] != 0).all()


def test_what_comes_after_a_load_is_another_visit(tmp_path: Path) -> None:
    agent, _ = _agent(_config())
    agent.step(_observe(0))
    agent.save_state(tmp_path / "agent")
    other, basket = _agent(_config())
    other.load_state(tmp_path / "agent")
    for step in range(1, 5):
        other.step(_observe(step))
    assert basket.found[0].joined.tolist() == [False, True, True, True]


def test_held_steps_are_neither_seen_nor_learned() -> None:
    agent, basket = _agent(_config(hold=3), eye=(eye := Eye()))
    actions = [agent.step(_observe(step)) for step in range(13)]
    assert eye.looks == 5
    assert all(np.array_equal(actions[step], actions[step - step % 3]) for step in range(13))
    assert len(basket.found) == 1


def test_heads_that_are_not_asked_keep_their_choice() -> None:
    agent, basket = _agent(_config(keep=0.7))
    for step in range(401):
        agent.step(_observe(step))
    choices = np.concatenate([one.choices for one in basket.found])
    asked = np.concatenate([one.asked for one in basket.found])
    assert asked.mean() == pytest.approx(0.3, abs=0.05)
    assert (choices[1:] == choices[:-1])[~asked[1:]].all()
    assert (choices[1:] != choices[:-1])[asked[1:]].mean() == pytest.approx(0.62, abs=0.1)
    unasked = ~asked.any(1)
    assert unasked.any()
    assert not np.concatenate([one.log_probs for one in basket.found])[unasked].any()


def test_progress_is_what_the_past_did_not_foresee() -> None:
    agent, basket = _agent(_config(reward=Reward.PROGRESS))
    for step in range(5):
        agent.step(_observe(step))
    assert np.allclose(basket.found[0].rewards, 0, atol=1e-6)  # past and present are still the same


def test_novelty_falls_where_the_same_is_seen_again() -> None:
    memory = EpisodicMemory(size=20, neighbours=2)
    views = torch.eye(8)
    first = [memory.novelty(view, joined=number > 0) for number, view in enumerate(views)]
    assert first[0] == 0
    assert first[-1] > 0
    again = [memory.novelty(view, joined=True) for view in (*views, *views)]
    assert max(again[len(views) :]) == 0
    assert memory.novelty(torch.full((8,), 5.0), joined=True) > 4
    assert memory.novelty(views[0], joined=False) == 0
    assert memory.novelty(views[0], joined=True) == 0


@pytest.mark.parametrize("reward", list(Reward))
def test_saved_and_loaded_it_lives_on_to_the_bit(tmp_path: Path, reward: Reward) -> None:
    config = _config(reward=reward, hold=2, keep=0.5)
    one, found = _agent(config)
    for step in range(23):
        one.step(_observe(step))
    one.save_state(tmp_path / "agent")
    other, found_later = _agent(config, seed=9)
    other.load_state(tmp_path / "agent")
    already = len(found.found)
    for step in range(23, 60):
        seen = _observe(step, visit=1)  # nobody comes back into the same visit
        assert np.array_equal(one.step(seen), other.step(seen))
    assert len(found.found) - already == len(found_later.found) > 2
    for ours, theirs in zip(found.found[already:], found_later.found, strict=True):
        for name, value in ours.as_value().items():
            assert np.array_equal(value, theirs.as_value()[name]), name
