"""What the curious agent and its trainers say of themselves when the driver asks."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import nan
from statistics import mean


@dataclass(frozen=True, kw_only=True, slots=True)
class CuriosityStatus:
    """What is known of an agent's curiosity: means over about its last hundred steps.

    Attributes:
        steps: Steps that were rewarded.
        reward: Intrinsic reward, not normalised.
        entropy: Of the policy, nats, all heads together.
        value: Discounted normalised reward that the policy expects.
        errors: Squared error of what was foreseen one step ahead, two, …, by standardised features.
        persistence: The same of foreseeing that nothing changes.
    """

    steps: int = 0
    reward: float = nan
    entropy: float = nan
    value: float = nan
    errors: tuple[float, ...] = ()
    persistence: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainersStatus:
    """The trainers of the curious agent's networks.

    Attributes:
        rollouts: Rollouts that were read.
        missed: Rollouts gone before they were read.
        refused: Data that were no rollouts.
        kept: Rollouts that are trained on.
        updates: Gradient steps of the forward dynamics.
        trainings: Trainings of the policy.
        surprises: Surprise after 1, 2, … steps foreseen, nats a dimension, of the last training.
        masked: Share of steps left out of it, since visit or encoder had changed.
        policy: Diagnostics of the policy's last training, by name.
        share: CPU seconds ÷ wall seconds since the start.
        paused: They stand still.
    """

    rollouts: int = 0
    missed: int = 0
    refused: int = 0
    kept: int = 0
    updates: int = 0
    trainings: int = 0
    surprises: tuple[float, ...] = ()
    masked: float = 0.0
    policy: Mapping[str, float] = field(default_factory=dict[str, float])
    share: float = 0.0
    paused: bool = False


def tell(agents: Iterable[CuriosityStatus | None], trainers: TrainersStatus) -> str:
    """Says in a line how curiosity goes: reward, foresight against that nothing changes, how much was trained.

    Args:
        agents: What is known of each agent's.
        trainers: Their trainers.
    """
    trained = f"policy {trainers.trainings:,} trainings, dynamics {trainers.updates:,} steps"
    known = [one for one in agents if one is not None and one.persistence and one.persistence[0]]
    if not known:
        return trained
    off = mean(one.errors[0] / one.persistence[0] for one in known)
    return (
        f"reward {mean(one.reward for one in known):.2f}, entropy {mean(one.entropy for one in known):.2f} nats, "
        f"error {off:.2f} of no change's, {trained}"
    )
