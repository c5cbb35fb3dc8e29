"""Both trainers on rollouts whose answer is known, under pamiq-core's own loop."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (torch and safetensors are untyped in parts)

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from pamiq_core.data import DataUsersDict
from pamiq_core.model import TrainingModelsDict
from pamiq_core.torch import TorchTrainingModel
from pamiq_core.trainer import TrainersDict

from common.config.curiosity import CuriosityConfig, MixedVersions, Reward
from common.curiosity.models import DYNAMICS, PAST, POLICY, training_models
from common.curiosity.policy import PolicyValue
from common.curiosity.rollout import ROLLOUTS, Rollout
from learner.curiosity.buffer import RolloutBuffer
from learner.curiosity.dynamics_trainer import DynamicsTrainer
from learner.curiosity.policy_trainer import PolicyTrainer
from learner.curiosity.system import DYNAMICS_TRAINER, POLICY_TRAINER, trainers, training_buffers
from tests.learner.curiosity.rollouts import FEATURES, SMALL, make_rollout


class System:
    """Models, buffer and trainers, put together as pamiq-core does."""

    def __init__(self, config: CuriosityConfig = SMALL, *, seed: int = 0) -> None:
        self.models = TrainingModelsDict(training_models(config, FEATURES, seed=seed))
        self.users = DataUsersDict.from_data_buffers(training_buffers(config, FEATURES))
        self.trainers = TrainersDict(trainers(config, seed=seed))
        self.trainers.attach_training_models(self.models)
        self.trainers.attach_data_users(self.users)
        self._collector = self.users.data_collectors_dict.acquire(ROLLOUTS)

    @property
    def dynamics(self) -> DynamicsTrainer:
        return cast(DynamicsTrainer, self.trainers[DYNAMICS_TRAINER])

    @property
    def policy(self) -> PolicyTrainer:
        return cast(PolicyTrainer, self.trainers[POLICY_TRAINER])

    def network(self, name: str) -> Any:
        return cast(TorchTrainingModel[Any], self.models[name]).model

    def feed(self, *rollouts: Rollout) -> None:
        for rollout in rollouts:
            self._collector.collect(rollout.as_value())

    def feed_raw(self, value: Any) -> None:
        self._collector.collect(value)

    def run(self) -> list[str]:
        return [name for name, trainer in self.trainers.items() if trainer.run()]

    def save(self, path: Path) -> None:
        path.mkdir()
        self.models.save_state(path / "models")
        self.users.save_state(path / "data")
        self.trainers.save_state(path / "trainers")

    def load(self, path: Path) -> None:
        self.models.load_state(path / "models")
        self.users.load_state(path / "data")
        self.trainers.load_state(path / "trainers")


def test_the_policy_comes_to_do_what_is_rewarded() -> None:
    system = System()
    generator = torch.Generator().manual_seed(0)
    number = 0
    for _ in range(30):
        for _ in range(4):
            number += 1
            noise = make_rollout(seed=number)
            policy = cast(PolicyValue, system.network(POLICY))
            with torch.no_grad():
                choices, values = policy(torch.from_numpy(noise.features), torch.zeros(9, 16))
                chosen = choices.sample(generator)
                logs = choices.log_prob(chosen, torch.ones_like(chosen).bool())
            system.feed(
                replace(
                    noise,
                    choices=chosen[:-1].numpy().astype(np.int8),
                    log_probs=logs[:-1].numpy(),
                    values=values.numpy(),
                    memories=np.zeros((8, 16), np.float32),
                    rewards=(chosen[:-1, 0] == 1).numpy().astype(np.float32),
                )
            )
        system.run()
    with torch.no_grad():
        choices, _ = cast(PolicyValue, system.network(POLICY))(torch.randn(200, FEATURES), torch.zeros(200, 16))
    assert (choices.sample(generator)[:, 0] == 1).float().mean() > 0.8
    assert system.policy.trainings == 30


def test_each_rollout_is_in_one_training_of_the_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    system = System()
    used: list[str] = []
    prepare = system.policy._prepare  # pyright: ignore[reportPrivateUsage]

    def note(rollouts: list[Rollout]) -> Any:
        used.extend(rollout.actor for rollout in rollouts)
        return prepare(rollouts)

    monkeypatch.setattr(system.policy, "_prepare", note)
    fed = 0
    for amount in (3, 2, 4, 1, 9, 0, 3, 4):
        for _ in range(amount):
            system.feed(make_rollout(actor=str(fed), seed=fed))
            fed += 1
        system.run()
    assert used == [str(number) for number in range(len(used))]
    assert fed - len(used) < SMALL.policy.rollouts


def test_the_first_epoch_begins_at_the_policy_that_acted() -> None:
    system = System(replace(SMALL, policy=replace(SMALL.policy, epochs=1, minibatch=64)))
    policy = cast(PolicyValue, system.network(POLICY))
    for number in range(4):
        noise = make_rollout(seed=number)
        with torch.no_grad():
            choices, values = policy(torch.from_numpy(noise.features[:-1]), torch.from_numpy(noise.memories))
            logs = choices.log_prob(torch.from_numpy(noise.choices).long(), torch.from_numpy(noise.asked))
        system.feed(replace(noise, log_probs=logs.numpy(), values=np.append(values.numpy(), np.float32(0))))
    assert POLICY_TRAINER in system.run()
    assert system.policy.diagnostics["kl"] == pytest.approx(0, abs=1e-6)
    assert system.policy.diagnostics["clipped"] == 0


def test_the_replay_ratio_is_kept() -> None:
    system = System()
    for number in range(20):
        system.feed(make_rollout(seed=number))
        system.run()
    assert system.dynamics.steps * SMALL.dynamics.batch == pytest.approx(20 * SMALL.dynamics.replay_ratio, abs=4)


def test_dynamics_masks_changes_of_the_encoder() -> None:
    for mixed, masked in ((MixedVersions.MASK, 1 / 8), (MixedVersions.KEEP, 0.0)):
        system = System(replace(SMALL, mixed=mixed))
        versions = np.array([1, 1, 1, 2, 2, 2, 2, 2, 2])
        system.feed(*(make_rollout(seed=number, versions=versions) for number in range(4)))
        system.run()
        assert system.dynamics.masked == pytest.approx(masked)


def test_rollouts_of_old_encoders_are_left_out() -> None:
    config = replace(SMALL, dynamics=replace(SMALL.dynamics, max_age=2))
    system = System(config)
    system.feed(make_rollout(versions=np.full(9, 1)), make_rollout(versions=np.full(9, 9)))
    old = make_rollout(versions=np.full(9, 9)).features
    system.run()
    assert torch.allclose(system.network(DYNAMICS).norm.mean, torch.from_numpy(old).mean(0), atol=1e-5)


def test_the_past_follows_the_present_by_its_half_life() -> None:
    config = replace(SMALL, reward=Reward.PROGRESS, dynamics=replace(SMALL.dynamics, past=1.0, replay_ratio=4.0))
    system = System(config)
    before = [parameter.detach().clone() for parameter in system.network(PAST).parameters()]
    system.feed(make_rollout())
    system.run()
    assert system.dynamics.steps == 1
    for old, past, present in zip(
        before, system.network(PAST).parameters(), system.network(DYNAMICS).parameters(), strict=True
    ):
        assert torch.allclose(past, (old + present) / 2, atol=1e-6)


@pytest.mark.parametrize("reward", list(Reward))
def test_saved_and_loaded_it_goes_on_to_the_bit(tmp_path: Path, reward: Reward) -> None:
    config = replace(SMALL, reward=reward)
    one, other = System(config), System(config, seed=7)
    for number in range(6):
        one.feed(make_rollout(seed=number))
        one.run()
    one.save(tmp_path / "state")
    other.load(tmp_path / "state")
    for number in range(6, 12):
        for system in (one, other):
            system.feed(make_rollout(seed=number))
            system.run()
    assert one.policy.trainings == other.policy.trainings > 1
    for name in one.models:
        for key, tensor in one.network(name).state_dict().items():
            assert torch.equal(tensor, other.network(name).state_dict()[key]), (name, key)


def test_what_is_no_rollout_is_counted_and_left_out() -> None:
    buffer = RolloutBuffer(SMALL, FEATURES)
    good = make_rollout().as_value()
    bad = [
        "nothing",
        {**good, "features": good["features"][:, :3]},
        {**good, "rewards": np.full(8, np.nan, np.float32)},
        {**good, "choices": np.full((8, 4), 9, np.int8)},
        {**good, "versions": good["versions"].astype(np.float32)},
        {key: value for key, value in good.items() if key != "hidden"},
    ]
    for value in (*bad, good):
        buffer.add(value)
    assert (buffer.refused, buffer.taken, len(buffer)) == (len(bad), 1, 1)


def test_refused_data_make_no_training_due() -> None:
    system = System()
    for _ in range(8):
        system.feed_raw({"no": "rollout"})
    assert system.run() == []
    system.feed(*(make_rollout(seed=number) for number in range(4)))
    assert set(system.run()) == {DYNAMICS_TRAINER, POLICY_TRAINER}
