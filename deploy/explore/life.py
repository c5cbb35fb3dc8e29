"""One life on a virtual clock: world, agent, I-JEPA learner and trainers in turns, in one process and one thread.

    observe ─► agent.step ─► affect ─► frame ─► I-JEPA steps that the replay ratio allows ─► trainers that have new data
       ▲                                                                                          │
       └──────────────────────────── one frame's time later ◄─────────────────────────────────────┘

How much is trained on a second of the life is fixed by replay ratios, never by the speed of the machine, so that the
same life can be lived again: to the bit, on one kind of CPU with one number of threads.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any, override

import torch
from pamiq_core.data import DataCollectorsDict, DataUsersDict
from pamiq_core.model import InferenceModel, InferenceModelsDict, TrainingModelsDict
from pamiq_core.trainer import TrainersDict

from actors.agents import AgentSettings, make_agent
from actors.agents.curious import CuriousAgent
from actors.coverage import Coverage, Spot
from actors.worlds import make_environment
from common.config import RunConfig
from common.curiosity.models import training_models
from common.curiosity.status import CuriosityStatus
from common.exposure import ExposureRule
from common.ijepa.vit import VisionTransformer
from common.messages import Action, Datum, Frame, Observation
from learner.curiosity.dynamics_trainer import DynamicsTrainer
from learner.curiosity.policy_trainer import PolicyTrainer
from learner.curiosity.system import DYNAMICS_TRAINER, POLICY_TRAINER, trainers, training_buffers
from learner.offline import OfflineLearner

ENCODER = "encoder"


@dataclass(frozen=True, kw_only=True, slots=True)
class Visit:
    """What one visit came to.

    Attributes:
        actor: Whose.
        number: From 0.
        world: Where.
        seconds: How long it was.
        cells: Cells of 64 map units that were entered.
        new: Those that no visit of this life had entered before.
        track: Where the agent was, each half second.
        curiosity: What was known of its curiosity at the end; None for other agents.
    """

    actor: str
    number: int
    world: str
    seconds: float
    cells: int
    new: int
    track: tuple[Spot, ...]
    curiosity: CuriosityStatus | None


class TurnEncoder(InferenceModel):
    """The target encoder as it was at the last publication.

    Args:
        network: The encoder that is trained, or that stays as it is.
        every: Seconds of the life between publications; 0 for never.
        clock: Seconds of the life.
    """

    def __init__(self, network: VisionTransformer, every: float, clock: Callable[[], float]) -> None:
        self._source = network
        self._every = every
        self._clock = clock
        self._published = 0.0
        self._acting = deepcopy(network).eval().requires_grad_(False)
        self.version = 0
        self.publish()

    def publish(self) -> None:
        """Has the newest parameters act."""
        self._acting.load_state_dict(self._source.state_dict())  # pyright: ignore[reportUnknownMemberType]
        self._published = self._clock()
        self.version += 1

    @override
    @torch.inference_mode()
    def infer(self, frame: Frame, *args: Any, **kwds: Any) -> torch.Tensor:
        """Mean-pooled patch features of a frame, uint8 [H, W, 3]: float32 [D]."""
        if self._every and self._clock() - self._published >= self._every:
            self.publish()
        return self._acting.pooled(torch.from_numpy(frame)[None])[0]  # pyright: ignore[reportUnknownMemberType]


class Mind:
    """The curious agent's networks and trainers, beside it in one process.

    Args:
        run: The configuration.
    """

    def __init__(self, run: RunConfig) -> None:
        config = replace(run.curiosity, sync=0.0)
        self.models = TrainingModelsDict(training_models(config, run.learner.model.dim, seed=run.seed))
        users = DataUsersDict.from_data_buffers(training_buffers(config, run.learner.model.dim))
        self.collectors = {name: users.data_collectors_dict[name] for name in users}
        self._trainers = TrainersDict(trainers(config, seed=run.seed))
        self._trainers.attach_training_models(self.models)
        self._trainers.attach_data_users(users)

    def train(self) -> None:
        """Lets each trainer train that has new data."""
        for trainer in self._trainers.values():
            trainer.run()

    def losses(self) -> dict[str, float]:
        """What the trainers found last."""
        dynamics, policy = self._trainers[DYNAMICS_TRAINER], self._trainers[POLICY_TRAINER]
        assert isinstance(dynamics, DynamicsTrainer)
        assert isinstance(policy, PolicyTrainer)
        surprises = {f"surprise_{ahead}": value for ahead, value in enumerate(dynamics.losses, start=1)}
        return {**surprises, "masked": dynamics.masked, **policy.diagnostics}


class Actor:
    """One world and the agent in it.

    Args:
        run: The configuration.
        index: Number of the actor, from 0.
        clock: Seconds of the life.
        mind: Networks of the agent; None for agents without.
        eye: What it sees by; likewise.
    """

    def __init__(
        self, run: RunConfig, index: int, clock: Callable[[], float], *, mind: Mind | None, eye: TurnEncoder | None
    ) -> None:
        self.name = f"actor-{index}"
        self._coverage = Coverage()
        self._track: list[Spot] = []
        self._last: Observation | None = None
        self._known = 0
        self.environment = make_environment(
            run.world, fps=run.actors.fps, seed=run.seed * 1000 + index, actor_index=index, clock=clock
        )
        settings = AgentSettings(
            seed=run.seed * 1000 + index,
            encoder=ENCODER if eye else None,
            actor=self.name,
            script=run.actors.script,
            curiosity=run.curiosity,
        )
        self._agent = make_agent(run.actors.agent, settings)
        if mind is not None and eye is not None:
            inference = InferenceModelsDict({ENCODER: eye, **mind.models.inference_models_dict})
            self._agent.attach_inference_models(inference)
            self._agent.attach_data_collectors(DataCollectorsDict(mind.collectors))

    def step(self) -> tuple[Observation, Action, Visit | None]:
        """Takes one step; gives what was seen and done, and the visit that was over before it."""
        seen = self.environment.observe()
        over = self.visit() if self._last is not None and seen.visit != self._last.visit else None
        if self._last is None or over is not None:
            self._track, self._known = [], len(self._coverage.worlds[seen.world])
        self._last = seen
        spot = self._coverage.see(seen)
        if spot is not None:
            self._track.append(spot)
        action = self._agent.step(seen)
        self.environment.affect(action)
        return seen, action, over

    def visit(self) -> Visit:
        """What the visit has come to so far."""
        assert self._last is not None, "nothing was seen yet"
        return Visit(
            actor=self.name,
            number=self._last.visit,
            world=self._last.world,
            seconds=self._last.visit_time,
            cells=self._coverage.cells,
            new=len(self._coverage.worlds[self._last.world]) - self._known,
            track=tuple(self._track),
            curiosity=self._agent.tally.status() if isinstance(self._agent, CuriousAgent) else None,
        )


class Life:
    """The lives of all actors of a run, in turns, from their beginning.

    Args:
        run: Worlds, visits, actors and their agent, its networks, the I-JEPA learner, seed.
        encoder: Frozen encoder to see by; None for the learner's own, that trains along and is published as often as
            `learner.publish_every` says. Only the curious agent sees by any.
        each: Told after each step of the share of the life that is over.
    """

    def __init__(
        self,
        run: RunConfig,
        *,
        encoder: VisionTransformer | None = None,
        each: Callable[[float], None] = lambda share: None,
    ) -> None:
        self._run = run
        self._each = each
        self._step = 0
        self._rule = ExposureRule.of(run)
        self._mind = Mind(run) if run.curious else None
        self._learner = OfflineLearner(run) if run.curious and encoder is None else None
        network = self._learner.model.target_encoder if self._learner else encoder
        every = run.learner.publish_every if self._learner else 0.0
        eye = TurnEncoder(network, every, lambda: self.now) if network and run.curious else None
        self._actors = [
            Actor(run, index, lambda: self.now, mind=self._mind, eye=eye) for index in range(run.actors.count)
        ]

    @property
    def now(self) -> float:
        """Seconds of the life."""
        return self._step / self._run.actors.fps

    @property
    def losses(self) -> dict[str, float]:
        """What trainers found last, by name."""
        return self._mind.losses() if self._mind else {}

    def visits(self, seconds: float) -> Iterator[Visit]:
        """Lives for so long, and gives each visit once it is over; the last ones may be cut."""
        with ExitStack() as stack:
            for actor in self._actors:
                actor.environment.setup()
                stack.callback(actor.environment.teardown)
            steps = round(seconds * self._run.actors.fps)
            for step in range(steps):
                self._step = step
                self._each(step / steps)
                for actor in self._actors:
                    seen, action, over = actor.step()
                    if over is not None:
                        yield over
                    if self._learner is not None:
                        self._learner.take(self._datum(actor.name, seen, action))
                if self._learner is not None:
                    self._learner.train()
                if self._mind is not None:
                    self._mind.train()
            for actor in self._actors:
                yield actor.visit()

    def _datum(self, name: str, seen: Observation, action: Action) -> Datum:
        visit = f"{name}.1.{seen.visit:04d}"
        return Datum(
            buffer="frames",
            actor=name,
            seq=self._step + 1,
            ordinal=self._step,
            visit=visit,
            world=seen.world,
            experience=self._rule.experience(visit, seen.visit_time),
            captured_ns=round(self.now * 1e9),
            system_time=self.now,
            visit_time=seen.visit_time,
            weights_version=0,
            action=action,
            labels=seen.labels,
            data=seen.frame,
        )
