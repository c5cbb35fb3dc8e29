"""Writes the rows that a run with planted times would have left in `evaluations.jsonl`.

Shapes: E experiences, V versions, X exposed experiences.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluator.calibration.plan import Noise, Plan, Planted
from evaluator.experience import Kind
from evaluator.times.rows import SCHEMA

EPOCH = 1_700_000_000.0
"""System time at which simulated runs begin, s."""
RATIO = 1.25
"""Growth of age, or of time since the last use, between two measurements of a visit."""

type Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Life:
    """Who is measured: names, kinds, visits, worlds, first frames (s), and the places of the exposed ones."""

    names: list[str]
    kinds: list[Kind]
    visits: list[str]
    worlds: list[str]
    start_E: Floats
    exposed_X: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Measured:
    """When versions were made (s), which were healthy, who was measured at them, and the bits of both halves."""

    time_V: Floats
    healthy_V: NDArray[np.bool_]
    measured_EV: NDArray[np.bool_]
    halves_EVH: Floats


def simulate(plan: Plan, noise: Noise, rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    """Simulates one run.

    Yields:
        Rows of schema 2, with the fields that times are read from.
    """
    life = _live(plan, rng)
    time_V = np.arange(plan.every, plan.duration + 1e-9, plan.every)
    visit_X = life.exposed_X // plan.blocks
    run = rng.normal(0.0, plan.spread_run, 2)
    shift = run[:, None] + rng.normal(0.0, plan.spread_visit, (2, plan.visits))
    planted = Planted.draw(plan, (shift[0, visit_X], shift[1, visit_X]), rng)
    since_XV = time_V - life.start_E[life.exposed_X, None]
    memory_EV = np.zeros((len(life.names), len(time_V)))
    memory_EV[life.exposed_X] = planted.remembered(since_XV)
    collapse = plan.duration * rng.uniform(0.6, 1.0) if rng.random() < plan.collapses else np.inf
    healthy_V = time_V < collapse
    measured = _Measured(
        time_V=time_V,
        healthy_V=healthy_V,
        measured_EV=_measured(plan, life, planted, time_V),
        halves_EVH=_scores(memory_EV, noise, healthy_V, rng),
    )
    yield from _rows(plan, life, planted, measured)


def _live(plan: Plan, rng: np.random.Generator) -> _Life:
    names: list[str] = []
    kinds: list[Kind] = []
    visits: list[str] = []
    worlds: list[str] = []
    starts: list[float] = []
    for visit in range(plan.visits):
        halves = np.array_split(np.arange(plan.blocks), 2)
        withheld = {int(rng.choice(half)) for half in halves}
        for block in range(plan.blocks):
            names.append(f"actor-0.1.{visit:04d}/{block:04d}")
            kinds.append(Kind.WITHHELD if block in withheld else Kind.EXPOSED)
            visits.append(f"actor-0.1.{visit:04d}")
            worlds.append(f"world-{visit % plan.worlds}")
            starts.append((visit * plan.blocks + block) * plan.block)
    for walk in range(plan.placebos):
        world = f"placebo-{walk % 2}"
        names.append(f"placebo/{world}/{walk}/0000")
        kinds.append(Kind.PLACEBO)
        visits.append(f"placebo/{world}/{walk}")
        worlds.append(world)
        starts.append(np.nan)
    exposed_X = np.flatnonzero([kind is Kind.EXPOSED for kind in kinds])
    return _Life(names=names, kinds=kinds, visits=visits, worlds=worlds, start_E=np.array(starts), exposed_X=exposed_X)


def _scores(memory_EV: Floats, noise: Noise, healthy_V: NDArray[np.bool_], rng: np.random.Generator) -> Floats:
    """Bits of both halves: what is known of the world, what is remembered, noise; after a collapse noise about 0."""
    experiences, versions = memory_EV.shape
    drift_V = np.linspace(0.0, 0.5, versions) + rng.normal(0.0, 0.05, versions)
    full_EV = memory_EV + drift_V + rng.normal(0.0, noise.offset, (experiences, 1))
    full_EV += rng.normal(0.0, noise.wobble, memory_EV.shape)
    apart_EV = rng.normal(0.0, noise.offset_half, (experiences, 1))
    apart_EV = apart_EV + rng.normal(0.0, noise.wobble_half, memory_EV.shape)
    halves_EVH = np.stack([full_EV + apart_EV, full_EV - apart_EV], axis=-1)
    return np.where(healthy_V[:, None], halves_EVH, rng.normal(0.0, 0.02, halves_EVH.shape))


def _measured(plan: Plan, life: _Life, planted: Planted, time_V: Floats) -> NDArray[np.bool_]:
    """When each experience is measured: placebos always, a visit when its age or time since its last use has grown."""
    measured_EV = np.ones((len(life.names), len(time_V)), bool)
    for visit in range(plan.visits):
        rows = np.arange(visit * plan.blocks, (visit + 1) * plan.blocks)
        end = (visit + 1) * plan.blocks * plan.block
        last = float((life.start_E[life.exposed_X] + planted.last)[np.isin(life.exposed_X, rows)].max())
        previous = 0.0
        for column, now in enumerate(time_V.tolist()):
            due = now < end or any(
                now - clock >= plan.block and (previous < clock or now - clock >= RATIO * (previous - clock))
                for clock in (end, last)
                if clock <= now
            )
            measured_EV[rows, column] = due
            previous = now if due else previous
        measured_EV[rows] &= time_V >= life.start_E[rows, None] + plan.block
    return measured_EV


def _rows(plan: Plan, life: _Life, planted: Planted, found: _Measured) -> Iterator[dict[str, Any]]:
    time_V = found.time_V
    absent: dict[str, Any] = dict.fromkeys(("admitted_step", "first_step", "last_step", "first_ns", "last_ns"))
    base: list[dict[str, Any]] = [
        {
            "schema": SCHEMA,
            "row": "experience",
            "experience": name,
            "actor": "" if kind is Kind.PLACEBO else "actor-0",
            "visit": visit,
            "world": world,
            "kind": str(kind),
            "start": None if kind is Kind.PLACEBO else EPOCH + start,
            "end": None if kind is Kind.PLACEBO else EPOCH + start + plan.block,
            "ledger": "none",
            "exposures": None,
            "undone": None,
            **absent,
        }
        for name, kind, visit, world, start in zip(
            life.names, life.kinds, life.visits, life.worlds, life.start_E.tolist(), strict=True
        )
    ]
    origin_X = life.start_E[life.exposed_X]
    place = {index: number for number, index in enumerate(life.exposed_X.tolist())}
    values_EVH: list[list[list[float]]] = found.halves_EVH.tolist()
    for column, now in enumerate(time_V.tolist()):
        head = {
            "version": column + 1,
            "step": round(now * plan.steps),
            "system_time": EPOCH + now,
            "created_ns": round((EPOCH + now) * 1e9),
        }
        healthy = bool(found.healthy_V[column])
        health = {"rankme": 20.0 if healthy else 1.1, "feature_std": 0.4 if healthy else 0.004}
        yield {
            "schema": SCHEMA,
            "row": "evaluation",
            **head,
            "published": healthy,
            "health": {"trained": health},
            "learner_health": health,
        }
        for index in np.flatnonzero(found.measured_EV[:, column]).tolist():
            halves = values_EVH[index][column]
            row = base[index] | head
            row["measures"] = {"bits": {"value": (halves[0] + halves[1]) / 2, "halves": halves}}
            exposed = place.get(index)
            if exposed is not None and now >= origin_X[exposed] + planted.admitted[exposed]:
                row |= _ledger(plan, planted, exposed, origin=float(origin_X[exposed]), now=now)
            yield row


def _ledger(plan: Plan, planted: Planted, index: int, *, origin: float, now: float) -> dict[str, Any]:
    """What the ledger says of an experience at a version."""
    first, last = origin + float(planted.first[index]), min(now, origin + float(planted.last[index]))
    used = now >= first
    return {
        "ledger": "known",
        "exposures": int(last - first) + 1 if used else 0,
        "undone": 0,
        "admitted_step": int((origin + float(planted.admitted[index])) * plan.steps),
        "first_step": int(first * plan.steps) if used else -1,
        "last_step": int(last * plan.steps) if used else -1,
        "first_ns": round((EPOCH + first) * 1e9) if used else -1,
        "last_ns": round((EPOCH + last) * 1e9) if used else -1,
    }
