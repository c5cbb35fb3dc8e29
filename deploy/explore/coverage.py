"""Who got farther: visits of two agents that began at the same place at the same time, compared map by map."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from scipy import stats

from deploy.explore.plan import Plan

type Rows = Mapping[tuple[str, int], Sequence[Mapping[str, Any]]]
"""Visits of each life, by agent and seed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """How many cells more one agent enters in a visit than the baseline.

    Attributes:
        cells: Mean of the agent.
        baseline: Mean of the baseline, over the same visits.
        mean: Of the differences.
        by_visits: Half of the 95 % t-interval over pairs of visits, which takes these lives as given.
        by_seeds: The same over the seeds' means: what it would be for other seeds; NaN for fewer than two.
        pairs: Pairs of visits.
        seeds: Seeds.
    """

    cells: float
    baseline: float
    mean: float
    by_visits: float
    by_seeds: float
    pairs: int
    seeds: int

    @property
    def verdict(self) -> str:
        """`more` or `fewer` where both intervals lie on one side of 0, else `open`."""
        widest = max(self.by_visits, self.by_seeds)
        if not np.isfinite(widest) or abs(self.mean) <= widest:
            return "open"
        return "more" if self.mean > 0 else "fewer"


def read(plan: Plan) -> Rows:
    """Reads the visits of all lives that are over."""
    return {
        (agent, seed): [json.loads(line) for line in plan.path(agent, seed).read_text("utf-8").splitlines()]
        for agent, seed in plan.lives()
        if plan.path(agent, seed).exists()
    }


def compare(rows: Rows, agent: str, baseline: str, *, since: float = 0.0) -> dict[str, Difference]:
    """Compares an agent with a baseline, by world and, under an empty name, over all worlds.

    Args:
        rows: Visits.
        agent: The agent.
        baseline: What it is compared with.
        since: Share of each life that is left out at its beginning.
    """
    pairs: defaultdict[str, defaultdict[int, list[tuple[int, int]]]] = defaultdict(lambda: defaultdict(list))
    for seed in sorted({seed for name, seed in rows if name == agent and (baseline, seed) in rows}):
        others = {(row["actor"], row["visit"]): row for row in rows[baseline, seed]}
        last = max(row["visit"] for row in rows[agent, seed])
        for row in rows[agent, seed]:
            other = others.get((row["actor"], row["visit"]))
            if other is None or other["world"] != row["world"] or row["visit"] < since * (last + 1):
                continue
            for world in (row["world"], ""):
                pairs[world][seed].append((row["cells"], other["cells"]))
    return {world: _difference(list(by_seed.values())) for world, by_seed in sorted(pairs.items())}


def _difference(by_seed: Sequence[Sequence[tuple[int, int]]]) -> Difference:
    both = np.array([pair for pairs in by_seed for pair in pairs], float)
    seeds = np.array([np.diff(np.array(pairs, float)[:, ::-1]).mean() for pairs in by_seed])
    return Difference(
        cells=float(both[:, 0].mean()),
        baseline=float(both[:, 1].mean()),
        mean=float((both[:, 0] - both[:, 1]).mean()),
        by_visits=_half(both[:, 0] - both[:, 1]),
        by_seeds=_half(seeds),
        pairs=len(both),
        seeds=len(seeds),
    )


def _half(values: Any) -> float:
    """Half of the 95 % t-interval of a mean."""
    if len(values) < 2:
        return float("nan")
    return float(cast(Any, stats).t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values)))


def ever_covered(rows: Rows, agent: str, world: str) -> list[int]:
    """Cells of a world that any actor of a life ever entered, by its track: one number for each seed."""
    counts: list[int] = []
    for (name, _), visits in sorted(rows.items()):
        if name == agent:
            spots = [spot for row in visits if row["world"] == world for spot in row["track"]]
            counts.append(len({(x // 64, y // 64) for x, y in spots}))
    return counts
