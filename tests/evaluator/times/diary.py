"""Rows of `evaluations.jsonl` written by hand: a few experiences at a few versions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from evaluator.experience import Kind
from evaluator.memory.measures import Measure
from evaluator.times.study import Gate, Rates, Run

EPOCH = 1000.0
"""Wall clock at system time 0, s."""
STEPS = 2
"""Optimiser steps a second."""

type Bits = float | tuple[float, float] | None
"""Bits of both halves alike, of each, or not measured."""


@dataclass(frozen=True, kw_only=True)
class Page:
    """One experience: its bits at each version, and what the ledger says of it at each."""

    name: str
    kind: Kind
    visit: str
    bits: Sequence[Bits]
    world: str = "home"
    start: float = 0.0
    end: float = 10.0
    first: float | None = None
    last: float | None = None
    exposures: Sequence[int | None] = ()


@dataclass(frozen=True, kw_only=True)
class Diary:
    """Versions at these system times (s), and pages."""

    times: Sequence[float]
    pages: Sequence[Page]
    unhealthy: Sequence[int] = ()
    worlds: Mapping[str, Sequence[float]] = field(default_factory=dict[str, Sequence[float]])

    def rows(self) -> list[dict[str, Any]]:
        """Writes all rows, version after version."""
        found: list[dict[str, Any]] = []
        for column, time in enumerate(self.times):
            head = {
                "schema": 2,
                "version": column + 1,
                "step": int(time * STEPS),
                "system_time": time,
                "created_ns": int((EPOCH + time) * 1e9),
            }
            health = {"rankme": 1.0 if column in self.unhealthy else 9.0, "feature_std": 0.5}
            worlds = {name: {"bits": measured(of[column])} for name, of in self.worlds.items()}
            found.append(
                head | {"row": "evaluation", "health": {"trained": health}, "learner_health": {}, "worlds": worlds}
            )
            found += [head | row(page, column, time) for page in self.pages if page.bits[column] is not None]
        return found

    def run(self, measure: Measure = Measure.BITS, *, gate: Gate | None = None) -> Run:
        """Reads the rows back; ten frames a second, batches of four."""
        return Run.read(self.rows(), measure, rates=Rates(frames_per_second=10, batch=4), gate=gate)


def measured(bits: Bits) -> dict[str, Any]:
    """Writes one measure."""
    even, odd = bits if isinstance(bits, tuple) else (bits, bits)
    assert even is not None
    assert odd is not None
    return {"value": (even + odd) / 2, "halves": [even, odd]}


def row(page: Page, column: int, time: float) -> dict[str, Any]:
    """Writes one experience at one version."""
    placebo = page.kind is Kind.PLACEBO
    uses = page.exposures[column] if page.exposures else None
    first, last = page.first, page.last
    used = bool(uses) and first is not None and last is not None
    ledger: dict[str, Any] = {"ledger": "none" if uses is None else "known", "exposures": uses, "undone": None}
    for name in ("admitted_step", "first_step", "last_step", "first_ns", "last_ns"):
        ledger[name] = None if uses is None else -1
    if uses is not None:
        ledger["admitted_step"] = int(page.start * STEPS)
    if used and first is not None and last is not None:
        now = min(last, time)
        ledger |= {
            "first_step": int(first * STEPS),
            "last_step": int(now * STEPS),
            "first_ns": int((EPOCH + first) * 1e9),
            "last_ns": int((EPOCH + now) * 1e9),
        }
    return {
        "row": "experience",
        "experience": page.name,
        "actor": "" if placebo else "actor-0",
        "visit": page.visit,
        "world": page.world,
        "kind": str(page.kind),
        "start": None if placebo else page.start,
        "end": None if placebo else page.end,
        "measures": {"bits": measured(page.bits[column])},
        **ledger,
    }
