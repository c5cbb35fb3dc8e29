"""The comparison as Markdown: cells a visit, map by map, with differences from the baseline and their intervals."""

import math

import numpy as np

from deploy.explore.coverage import Difference, Rows, compare, ever_covered
from deploy.explore.plan import Plan

_LATER = 0.5


def table(rows: Rows, plan: Plan) -> str:
    """Writes everything that is known.

    Args:
        rows: Visits of the lives that are over.
        plan: What was compared.
    """
    baseline = plan.agents[-1]
    run = plan.run
    lines = [
        f"# Where agents get: {', '.join(plan.agents)}",
        "",
        f"Lives of {run.duration / 60:g} minutes, {run.actors.count} actors each, visits of {run.world.visit:g} s, "
        f"seeds {', '.join(map(str, plan.seeds))}, encoder {plan.encoder}. Cells of 64 × 64 map units that are "
        f"entered in a visit; each visit is paired with that of `{baseline}` begun at the same place. Half-widths "
        "of 95 % t-intervals: *visits* takes these lives as given, *seeds* asks what other seeds would bring.",
    ]
    for agent in plan.agents[:-1]:
        for since, title in ((0.0, "whole lives"), (_LATER, "second halves")):
            found = compare(rows, agent, baseline, since=since)
            if found:
                lines += ["", f"## `{agent}` against `{baseline}`, {title}", "", *_differences(found, agent, baseline)]
    lines += ["", "## Cells of each world ever entered, all actors of a life together", "", *_ever(rows, plan)]
    return "\n".join(lines) + "\n"


def _differences(found: dict[str, Difference], agent: str, baseline: str) -> list[str]:
    lines = [
        f"| world | {agent} | {baseline} | difference | ± visits | ± seeds | pairs | verdict |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for world, one in found.items():
        if world:
            lines.append(_line(world, one))
    lines.append(_line("**all**", found[""]))
    worlds = [one for world, one in found.items() if world]
    more = sum(one.verdict == "more" for one in worlds)
    fewer = sum(one.verdict == "fewer" for one in worlds)
    visits = sum(one.mean > one.by_visits for one in worlds)
    lines += [
        "",
        f"Of {len(worlds)} worlds `{agent}` enters more cells in {more} by both intervals, in {visits} by that over "
        f"visits; fewer in {fewer}.",
    ]
    return lines


def _line(world: str, one: Difference) -> str:
    seeds = "–" if math.isnan(one.by_seeds) else f"{one.by_seeds:.1f}"
    return (
        f"| {world} | {one.cells:.1f} | {one.baseline:.1f} | {one.mean:+.1f} | {one.by_visits:.1f} | {seeds} "
        f"| {one.pairs} | {one.verdict} |"
    )


def _ever(rows: Rows, plan: Plan) -> list[str]:
    lines = [f"| world | {' | '.join(plan.agents)} |", f"|---|{'---|' * len(plan.agents)}"]
    for world in plan.run.world.worlds:
        cells: list[str] = []
        for agent in plan.agents:
            counts = ever_covered(rows, agent, world)
            cells.append(f"{np.mean(counts):.0f} ({', '.join(map(str, counts))})" if counts else "–")
        lines.append(f"| {world} | {' | '.join(cells)} |")
    return lines
