"""What a check looks at, what it may say, and what becomes of it."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from common.config import RunConfig

PATIENCE = 10.0
"""Seconds that a check may take, unless it says otherwise."""
LOCK = Path(__file__).resolve().parents[2] / "requirements.lock"
"""The versions that the project is tested with."""


class State(StrEnum):
    """How a check came out."""

    OK = "ok"
    """As it should be."""
    WARNING = "warning"
    """The run would start; something is worse than it could be."""
    FAILED = "failed"
    """The run would not start, or not go well."""
    SKIPPED = "skipped"
    """The configuration does not ask for it."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is examined: a configuration, and where it is to run.

    Attributes:
        run: The configuration, the Redis URL included.
        deep: Start also what takes long to start.
        lock: The file of the versions that packages should have.
        runs: Folder in which the run directory would be made.
    """

    run: RunConfig
    deep: bool = False
    lock: Path = LOCK
    runs: Path = Path("runs")

    @property
    def lives_here(self) -> bool:
        """Whether actors are to live in worlds on this machine."""
        return not self.run.cluster and self.run.actors.count > 0 and not self.run.playback.recording


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a check says.

    Attributes:
        state: How it came out.
        found: What there is, in a few words; nothing secret.
        fix: What to do about it; empty where there is nothing to do.
    """

    state: State
    found: str
    fix: str = ""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing to look at.

    Attributes:
        name: A few words, told apart by them.
        look: Looks; whatever it raises is its failure.
        needed: Whether a run cannot do without; a failure of what is not needed is a warning.
        patience: Seconds that it may take.
    """

    name: str
    look: Callable[[Case], Verdict]
    needed: bool = True
    patience: float = PATIENCE


@dataclass(frozen=True, kw_only=True)
class Finding:
    """How one check came out.

    Attributes:
        name: The check.
        state: How.
        found: What there is.
        fix: What to do about it.
        needed: Whether its failure is the whole examination's.
    """

    name: str
    state: State
    found: str
    fix: str
    needed: bool


def fine(found: str) -> Verdict:
    """As it should be."""
    return Verdict(state=State.OK, found=found)


def poor(found: str, fix: str) -> Verdict:
    """Worse than it could be."""
    return Verdict(state=State.WARNING, found=found, fix=fix)


def wrong(found: str, fix: str) -> Verdict:
    """Not good enough."""
    return Verdict(state=State.FAILED, found=found, fix=fix)


def beside(why: str) -> Verdict:
    """Not asked for."""
    return Verdict(state=State.SKIPPED, found=why)
