"""On which host of a cluster a part lives.

    part        named resource (`placement`)      else
    actors      `vrchat`, `screen` by their world  in turn on hosts without a GPU, the learner's excepted
    learner     `placement.learner`                a GPU; without any, the host with the most CPUs besides the driver's
    curiosity   –                                  as the learner, which leaves it a share of its GPU
    evaluator   –                                  the driver's host
    registry    –                                  the driver's host

Of a named resource an actor, and each rank of the learner, takes one unit, and waits for a host that offers it; the
evaluator takes none. All other choices are made anew at each start of the part, among the hosts that are alive and have
this code.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# Ray is untyped in parts.

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor, isfinite
from typing import Any

from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from common.config import RunConfig
from common.errors import ConfigError

_LEAST = 1e-4
"""Share of a GPU down to which Ray counts."""
_DESKTOPS = ("vrchat", "screen")
"""Kinds of worlds that live on the desktop of a host, which offers a resource of the same name."""


@dataclass(frozen=True, kw_only=True)
class Node:
    """One host of a cluster.

    Attributes:
        id: Ray's name of it.
        address: Where other hosts reach it.
        version: Its code.
        resources: Capacity by name, as Ray has it.
    """

    id: str
    address: str
    version: str
    resources: Mapping[str, float]

    def offers(self, resource: str) -> float:
        """How much of a resource it has."""
        return self.resources.get(resource, 0.0)


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where one part is to live.

    Attributes:
        node: Id of the host; empty for any. A part whose host goes away before it lives fails, and is placed anew.
        resource: Name of a resource of which it takes one unit; empty for none.
        gpus: Its share of a GPU.
    """

    node: str = ""
    resource: str = ""
    gpus: float = 0.0

    def options(self) -> dict[str, Any]:
        """The options of a Ray actor or task that is to live here."""
        found: dict[str, Any] = {"num_gpus": self.gpus}
        if self.resource:
            found["resources"] = {self.resource: 1}
        if self.node:
            found["scheduling_strategy"] = NodeAffinitySchedulingStrategy(self.node, soft=False)
        return found


def of_learner(run: RunConfig) -> float:
    """What each rank of the learner takes of a GPU, where there is one: all but what it leaves to curiosity."""
    return 0.0 if run.learner.device == "cpu" else 1.0 - of_curiosity(run)


def of_curiosity(run: RunConfig) -> float:
    """What the trainers of the curious agent take of a GPU, where there is one."""
    return run.curiosity.gpus if run.curious and run.curiosity.device != "cpu" else 0.0


def equal_shares(given: Mapping[str, float], *, gpus: int, beside: float = 0.0) -> dict[str, float]:
    """What each learner of a cohort takes of a GPU.

    Whole learners fit on whole GPUs: of two GPUs, three learners take a half each.

    Args:
        given: Shares by name; NaN of those that take equal parts of what the others leave.
        gpus: How many there are; 0 leaves everybody without.
        beside: What somebody else takes of them.

    Raises:
        ConfigError: They do not fit.
    """
    if not gpus:
        return dict.fromkeys(given, 0.0)
    asked = {name: share for name, share in given.items() if isfinite(share)}
    free, rest = gpus - beside - sum(asked.values()), len(given) - len(asked)
    if free < 0 or (rest and free < _LEAST * rest):
        found = f"there {'is 1 GPU' if gpus == 1 else f'are {gpus} GPUs'}"
        raise ConfigError("gpu", dict(asked), f"must leave a share for each member: {found} for {len(given)}")
    equal = (1 / ceil(rest / floor(free)) if free >= 1 else free / rest) if rest else 0.0
    equal = floor(equal / _LEAST + _LEAST) * _LEAST  # Ray rounds to these, and up would be too much for the last
    return {name: asked.get(name, round(equal, 4)) for name in given}


class LocalPlacement:
    """One host: there is nothing to choose but whether a part has a GPU.

    Args:
        run: The run's configuration.
        gpus: What its learner takes of a GPU, where not all that curiosity leaves.
    """

    shared = True
    """Whether all parts see the driver's files."""

    def __init__(self, run: RunConfig, *, gpus: float | None = None) -> None:
        import torch  # not of all who place

        self._run = run
        self._gpus = of_learner(run) if gpus is None else gpus
        self._gpu = torch.cuda.is_available()

    def strangers(self) -> list[Node]:
        """There are none."""
        return []

    def actor(self, index: int) -> Place:
        """Of the actor with this number."""
        return Place()

    def learner(self) -> Place:
        """Of a rank of the learner."""
        return Place(gpus=self._gpus if self._gpu else 0.0)

    def curiosity(self) -> Place:
        """Of the trainers of the curious agent."""
        return Place(gpus=of_curiosity(self._run) if self._gpu else 0.0)

    def evaluator(self) -> Place:
        """Of the evaluator, and of the task that records its probe set."""
        return Place()

    def registry(self) -> Place:
        """Of the weight registry."""
        return Place()


class ClusterPlacement:
    """Several hosts.

    Args:
        run: The run's configuration.
        nodes: Lists the hosts that are alive.
        here: Id of the driver's host.
        version: The code that parts need.
        gpus: What its learner takes of a GPU, where not all that curiosity leaves.
        learners: How many learners there are that `placement.learner` is asked for.

    Raises:
        ConfigError: No host offers what the run needs.
    """

    shared = False

    def __init__(
        self,
        run: RunConfig,
        *,
        nodes: Callable[[], Sequence[Node]],
        here: str,
        version: str,
        gpus: float | None = None,
        learners: int = 1,
    ) -> None:
        self._run = run
        self._gpus = of_learner(run) if gpus is None else gpus
        self._learners = learners
        self._nodes = nodes
        self._here = here
        self._version = version
        kind = run.world.kind if not run.playback.recording else ""
        self._of_actors = run.placement.actors or (kind if kind in _DESKTOPS else "")
        self._check()

    def strangers(self) -> list[Node]:
        """Hosts that are alive and have other code: no part goes there."""
        return [node for node in self._nodes() if node.version != self._version]

    def actor(self, index: int) -> Place:
        """Of the actor with this number."""
        if self._of_actors:
            return Place(resource=self._of_actors)
        nodes = self._ours()
        learners = self._hosts_of_learners(nodes)
        others = [node for node in nodes if node not in learners] or nodes
        return Place(node=others[index % len(others)].id)

    def learner(self) -> Place:
        """Of a rank of the learner."""
        return self._trainer(self._gpus, self._run.placement.learner)

    def curiosity(self) -> Place:
        """Of the trainers of the curious agent."""
        return self._trainer(of_curiosity(self._run), "")

    def evaluator(self) -> Place:
        """Of the evaluator, and of the task that records its probe set."""
        name = self._run.placement.evaluator
        offering = [node.id for node in self._ours() if node.offers(name)]
        return Place(node=offering[0] if offering else self._here)

    def registry(self) -> Place:
        """Of the weight registry."""
        return Place(node=self._here)

    def _trainer(self, gpus: float, resource: str) -> Place:
        nodes = self._ours()
        share = gpus if any(node.offers("GPU") for node in nodes) else 0.0
        if resource or share:
            return Place(resource=resource, gpus=share)
        return Place(node=self._hosts_of_learners(nodes)[0].id)

    def _hosts_of_learners(self, nodes: Sequence[Node]) -> list[Node]:
        if (name := self._run.placement.learner) and (offering := [node for node in nodes if node.offers(name)]):
            return offering
        if self._run.learner.device != "cpu" and (strong := [node for node in nodes if node.offers("GPU")]):
            return strong
        free = [node for node in nodes if not (self._of_actors and node.offers(self._of_actors))] or nodes
        return [max(free, key=lambda node: (node.id != self._here, node.offers("CPU"), node.id))]

    def _ours(self) -> list[Node]:
        ours = [node for node in self._nodes() if node.version == self._version]
        return sorted(ours, key=lambda node: node.address)

    def _check(self) -> None:
        nodes = self._ours()
        here = next((node.version for node in self._nodes() if node.id == self._here), "")
        if here != self._version:
            allowed = f"is what its node started with, and this is {self._version}: `ray up` again brings one to all"
            raise ConfigError("cluster", here or "no version", allowed)
        count, ranks = self._run.actors.count, self._run.learner.ranks
        for field, name, units in (
            ("placement.actors", self._of_actors if count else "", count),
            ("placement.learner", self._run.placement.learner, ranks * self._learners),
            ("placement.evaluator", self._run.placement.evaluator, 0),
        ):
            offered = sum(node.offers(name) for node in nodes)
            if name and not offered:
                allowed = "is offered by no host: write it into its host.yaml (docs/cluster.md), or leave it empty"
                raise ConfigError(field, name, allowed)
            if name and offered < units:
                raise ConfigError(field, name, f"is offered {offered:g} times, and {units} are needed")
        gpus = int(sum(node.offers("GPU") for node in nodes))
        if self._run.learner.device.startswith("cuda") and not gpus:
            raise ConfigError("learner.device", self._run.learner.device, "is on no host of this cluster")
        if gpus and self._run.learner.device != "cpu" and gpus < ranks:
            raise ConfigError("learner.ranks", ranks, f"each rank needs a GPU of its own, and there are {gpus}")


type Placement = LocalPlacement | ClusterPlacement
