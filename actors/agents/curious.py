"""The curious agent: does what it cannot yet foresee the outcome of, and learns to foresee it.

frame ─► encoder ─► features ─┬─► reward of the last step: how far off was what was foreseen?
├─► policy ─► choices ─► action
└─► imagination: what comes of it? ─► … at the next step
steps ─► rollouts ─► collectors ─► trainers of forward dynamics and policy
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (torch and safetensors are untyped in parts)

from pathlib import Path
from typing import Any, Self, cast, override

import numpy as np
import safetensors.torch
import torch
from pamiq_core.data import DataCollector
from pamiq_core.torch import TorchInferenceModel
from torch import Tensor

from actors.agents.settings import AgentSettings
from actors.agents.sighted import SightedAgent
from actors.curiosity.gathering import Gathering, Step
from actors.curiosity.imagination import Imagination
from actors.curiosity.novelty import EpisodicMemory
from actors.curiosity.tally import Tally
from common.config.curiosity import CuriosityConfig, MixedVersions, Reward
from common.curiosity.controls import CHOICES, controls
from common.curiosity.dynamics import ForwardDynamics
from common.curiosity.models import DYNAMICS, PAST, POLICY
from common.curiosity.policy import PolicyValue
from common.curiosity.rollout import ROLLOUTS
from common.errors import ConfigError
from common.messages import Action, Observation


class CuriousAgent(SightedAgent):
    """Is rewarded by its own surprise, by how its surprise wanes, or by what it has not seen yet in a visit.

    Args:
        seed: Seed of its choices.
        config: How it imagines and what it seeks.
        encoder: See `SightedAgent`. Where the model has a `version`, features are told apart by it.
        collector: See `SightedAgent`.
        actor: Name of the actor.
    """

    def __init__(
        self,
        *,
        seed: int,
        config: CuriosityConfig,
        encoder: str,
        collector: str | None = None,
        actor: str = "actor-0",
    ) -> None:
        super().__init__(encoder=encoder, collector=collector)
        self._config = config
        self._random = torch.Generator().manual_seed(seed)
        self._gathering = Gathering(actor, config.rollout)
        self._memory = EpisodicMemory()
        self._chosen_A = torch.zeros(len(CHOICES), dtype=torch.long)
        self._action = controls(self._chosen_A.tolist())
        self._visit = -1
        self._seen_by = -1
        self._held = 0
        self.tally = Tally()
        """What is known of its curiosity."""

    @classmethod
    @override
    def from_settings(cls, settings: AgentSettings) -> Self:
        if settings.encoder is None:
            allowed = "must be another where nothing is learned: curious sees by an encoder and decides by networks"
            raise ConfigError("actors.agent", "curious", allowed)
        return cls(
            seed=settings.seed,
            config=settings.curiosity,
            encoder=settings.encoder,
            collector=settings.collector,
            actor=settings.actor,
        )

    @override
    def on_inference_models_attached(self) -> None:
        super().on_inference_models_attached()
        self._policy = cast(TorchInferenceModel[PolicyValue], self.get_inference_model(POLICY))
        self._present = self._imagination(DYNAMICS)
        self._past = self._imagination(PAST) if self._config.reward is Reward.PROGRESS else None

    def _imagination(self, name: str) -> Imagination:
        return Imagination(cast(TorchInferenceModel[ForwardDynamics], self.get_inference_model(name)))

    @override
    def on_data_collectors_attached(self) -> None:
        super().on_data_collectors_attached()
        self._rollouts: DataCollector[Any] = self.get_data_collector(ROLLOUTS)

    @override
    def looks(self, observation: Observation) -> bool:
        return observation.visit != self._visit or self._held + 1 >= self._config.hold

    @override
    def decide(self, observation: Observation, *, bored: bool) -> Action:
        """Chooses the action; of a held one, only the first step is seen, decided, learned and rewarded.

        Args:
            observation: What is seen.
            bored: Means nothing here: what does not change is easy to foresee.

        Returns:
            float32 [4] (see `common.curiosity.controls`).
        """
        if not self.looks(observation):
            self._held += 1
            return self._action
        joined = observation.visit == self._visit
        self._visit, self._held = observation.visit, 0
        assert self.features is not None
        features_D = self.features.float().cpu()
        version = int(getattr(self.get_inference_model(self.encoder), "version", 0))
        same = version == self._seen_by or self._config.mixed is MixedVersions.KEEP
        self._seen_by = version
        reward = self._look_back(features_D, joined=joined, same=same)
        self._gathering.settle(reward, joined=joined)
        self._action = controls(self._act(features_D).tolist())
        return self._action

    def _look_back(self, features_D: Tensor, *, joined: bool, same: bool) -> float:
        """Says how rewarding it was what came of the last step.

        Args:
            features_D: What was seen.
            joined: It is of the same visit as what was seen before.
            same: It was seen by the same weights: nothing that was foreseen by others is compared with it.
        """
        reward = self._surprise(self._present, features_D, joined=joined and same)
        match self._config.reward:
            case Reward.ERROR:
                pass
            case Reward.PROGRESS:
                assert self._past is not None
                reward = self._surprise(self._past, features_D, joined=joined and same) - reward
            case Reward.NOVELTY:
                reward = self._memory.novelty(self._present.came, joined=joined)
        if joined and same:
            self.tally.note("reward", reward)
            self.tally.steps += 1
            for ahead, error in enumerate(self._present.persistence().tolist(), start=1):
                self.tally.note(f"persistence/{ahead}", error)
        return reward

    def _surprise(self, imagination: Imagination, features_D: Tensor, *, joined: bool) -> float:
        foreseen = imagination.see(features_D, joined=joined)
        if foreseen is None:
            return 0.0
        if imagination is self._present:
            for ahead, error in enumerate(foreseen.error(imagination.came).tolist(), start=1):
                self.tally.note(f"error/{ahead}", error)
        return float(foreseen.surprise(imagination.came)[: self._config.dynamics.imagination].mean())

    def _act(self, features_D: Tensor) -> Tensor:
        hidden_LC = self._present.hidden
        asked_A = torch.rand(len(CHOICES), generator=self._random) >= self._config.keep
        with self._policy.unwrap() as policy:
            device = policy.value.weight.device
            choices, value = policy(features_D[None].to(device), hidden_LC[-1:].to(device))
            chosen_A = torch.where(asked_A, choices.sample(self._random)[0], self._chosen_A)
            log_prob = float(choices.log_prob(chosen_A[None].to(device), asked_A[None].to(device)))
            entropy = float(choices.entropy())
        self._chosen_A = chosen_A
        self.tally.note("entropy", entropy)
        self.tally.note("value", float(value))
        for imagination in (self._present, self._past):
            if imagination is not None:
                imagination.act(chosen_A)
        rollout = self._gathering.add(
            Step(
                features=features_D.numpy(),
                version=self._seen_by,
                choices=chosen_A.numpy().astype(np.int8),
                asked=asked_A.numpy(),
                log_prob=log_prob,
                value=float(value),
                memory=hidden_LC[-1].numpy(),
                hidden=hidden_LC.numpy(),
            )
        )
        if rollout is not None:
            self._rollouts.collect(rollout.as_value())
        return chosen_A

    @override
    def save_state(self, path: Path) -> None:
        """Saves hidden states, imaginations, steps that wait for their rollout, and the state of its random choices."""
        super().save_state(path)
        tensors = {f"present/{name}": tensor for name, tensor in self._present.tensors().items()}
        if self._past is not None:
            tensors |= {f"past/{name}": tensor for name, tensor in self._past.tensors().items()}
        tensors |= {f"steps/{name}": torch.from_numpy(array) for name, array in self._gathering.arrays().items()}
        tensors |= {f"memory/{name}": tensor for name, tensor in self._memory.tensors().items()}
        tensors["random"] = self._random.get_state()
        tensors["chosen"] = self._chosen_A
        tensors["numbers"] = torch.tensor([self._seen_by, self._held, self.tally.steps])
        safetensors.torch.save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, _file(path))

    @override
    def load_state(self, path: Path) -> None:
        super().load_state(path)
        tensors = safetensors.torch.load_file(_file(path))

        def below(group: str) -> dict[str, Tensor]:
            return {name.removeprefix(group): tensor for name, tensor in tensors.items() if name.startswith(group)}

        self._present.restore(below("present/"))
        if self._past is not None and "past/hidden" in tensors:
            self._past.restore(below("past/"))
        self._memory.restore(below("memory/"))
        self._gathering.restore({name: tensor.numpy() for name, tensor in below("steps/").items()})
        self._random.set_state(tensors["random"])
        self._chosen_A = tensors["chosen"]
        self._action = controls(self._chosen_A.tolist())
        self._seen_by, self._held, self.tally.steps = (int(number) for number in tensors["numbers"])
        self._visit = -1  # whatever number the world gives it, what comes is another visit


def _file(path: Path) -> Path:
    return path.with_name(f"{path.name}.safetensors")
