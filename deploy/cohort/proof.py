"""What makes a cohort's comparisons paired, proved at its end: all members have admitted the same frames."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyarrow is untyped.

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from common.status import LearnerStatus, MemberStatus, RunStatus
from deploy.wording import count, decimal

type Admitted = Mapping[str, int]
"""Frames admitted, by experience."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Agreement:
    """How the members' ledgers compare.

    Attributes:
        admitted: What each has admitted, by name.
        apart: Of those that differ from the first, how many experiences do.
    """

    admitted: Mapping[str, Admitted]
    apart: Mapping[str, int]

    @classmethod
    def of(cls, ledgers: Mapping[str, Admitted]) -> "Agreement":
        """Compares ledgers by member, the first with each of the others."""
        first = next(iter(ledgers.values()))
        apart = {name: len({one for one, _ in first.items() ^ other.items()}) for name, other in ledgers.items()}
        return cls(admitted=ledgers, apart={name: number for name, number in apart.items() if number})

    def words(self, missed: Mapping[str, int]) -> str:
        """Says it in a sentence.

        Args:
            missed: Entries gone before a member read them, by name.
        """
        first, *_ = self.admitted
        told = self._amount(first)
        if not self.apart:
            return f"{len(self.admitted)} members admitted the same {told}"
        differing = "; ".join(
            f"{name} admitted {self._amount(name)} and differs in {count(number)}{_missed(missed.get(name, 0))}"
            for name, number in self.apart.items()
        )
        return f"NOT the same frames: {first} admitted {told}{_missed(missed.get(first, 0))}; {differing}"

    def _amount(self, name: str) -> str:
        admitted = self.admitted[name]
        experiences = f"{count(len(admitted))} experience{'' if len(admitted) == 1 else 's'}"
        return f"{experiences}, {count(sum(admitted.values()))} frames"


def _missed(number: int) -> str:
    return f" (missed {count(number)})" if number else ""


def admitted(run_dir: Path) -> Admitted:
    """Reads a run's ledger as of its last checkpoint; empty where there is none."""
    path = run_dir / "ledger.parquet"
    if not path.exists():
        return {}
    table: Any = pyarrow.parquet.read_table(path, columns=["experience", "frames"])
    columns: dict[str, list[Any]] = table.to_pydict()
    return dict(zip(columns["experience"], columns["frames"], strict=True))


def agreement(folders: Mapping[str, Path]) -> Agreement:
    """Compares the ledgers of members, by name and run directory, the one that acts first."""
    return Agreement.of({name: admitted(folder) for name, folder in folders.items()})


def closing(status: RunStatus, found: Agreement) -> RenderableType:
    """Lays out the end of a cohort: a row a member, and the proof.

    Args:
        status: The last status, taken after everything was drained.
        found: How the ledgers compare.
    """
    members = [MemberStatus(name=status.member, learner=status.learner), *status.members]
    missed = {member.name: sum(one.missed for one in member.learner.counts.values()) for member in members}
    proof = Text(found.words(missed), "bold" if not found.apart else "bold red")
    return Group(members_table(members, acting=status.member), Text(), proof)


def members_table(members: Sequence[MemberStatus], *, acting: str) -> Table:
    """A row a member: what it is, and how far it has come."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("member", no_wrap=True)
    for name in ("parameters", "steps", "images", "ratio", "loss", "versions", "missed"):
        table.add_column(name, justify="right", no_wrap=True)
    for member in members:
        learner: LearnerStatus = member.learner
        table.add_row(
            Text(f"{member.name}{' acts' if member.name == acting else ''}"),
            count(learner.parameters), count(learner.step), count(learner.images), decimal(learner.replay_ratio, 2),
            decimal(learner.loss), count(learner.version), count(sum(one.missed for one in learner.counts.values())),
        )  # fmt: skip
    return table
