"""What a run came to, in one table: what was seen, where every frame went, and how the probes stand against baselines.

The closing sentence is chosen by rule from the intervals of the last evaluation, so it says the same of a good run and
of a bad one.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, cast

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from common.curiosity.status import tell
from common.status import ActorStatus, LearnerStatus, ReaderCounts, RunStatus
from deploy.view import ENCODERS, UNITS
from deploy.wording import NONE, clock, count, decimal

type Row = Mapping[str, Any]
"""One line of `evaluations.jsonl` or `events.jsonl`."""

PROBES = ("world", "place", "heading", "depth")
"""Probes in the order in which they are shown."""

_FATES = ("admitted", "withheld", "guard", "gated", "quarantined", "missed", "unread")
_MOST_ACTORS = 5
_ABOVE, _BELOW, _SAME = "above both", "below one", "not apart"


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """A measured number as an evaluation row holds it.

    Attributes:
        value: The number; finite.
        low: Lower end of its 95 % interval; NaN where there is none.
        high: Upper end, likewise.
    """

    value: float
    low: float = math.nan
    high: float = math.nan

    @classmethod
    def read(cls, row: Any) -> "Estimate | None":
        """Reads `{"value": …, "low": …, "high": …}`; None where the row says that it could not be measured."""
        if not isinstance(row, Mapping):
            return None
        numbers = cast("Mapping[str, Any]", row)
        value, low, high = (_number(numbers.get(name)) for name in ("value", "low", "high"))
        return cls(value=value, low=low, high=high) if math.isfinite(value) else None

    def __str__(self) -> str:
        if not math.isfinite(self.high - self.low):
            return decimal(self.value)
        return f"{decimal(self.value)}\n[{decimal(self.low)}, {decimal(self.high)}]"


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan


@dataclass(frozen=True, kw_only=True, slots=True)
class Lived:
    """One experience at one version.

    Attributes:
        name: Id of the experience.
        kind: `exposed`, `withheld` or `placebo`.
        world: Name of the world.
        visit: Id of the visit; of the walk for a placebo.
        start: System time of its first frame, seconds; NaN for a placebo.
        end: System time of its last frame, seconds; NaN for a placebo.
        age: Seconds from its end to the making of the version; NaN for a placebo.
        loss: Loss under fixed masks; NaN if it is not finite.
    """

    name: str
    kind: str
    world: str
    visit: str
    start: float
    end: float
    age: float
    loss: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluated:
    """One evaluation as `evaluations.jsonl` holds it: a row of the version and one of each experience.

    Attributes:
        version: Weights version.
        system_time: When the version was made, pamiq-core system time in seconds.
        probes: Estimate by probe and encoder; None where it could not be measured.
        gains: Score of the trained encoder − that of random-init on the same walks, by probe; None likewise.
        losses: Mean loss by kind of experience; None likewise.
        rankme: Effective number of dimensions of the features, by encoder; NaN where it could not be measured.
        lived: Every experience measured.
    """

    version: int
    system_time: float
    probes: Mapping[str, Mapping[str, Estimate | None]]
    losses: Mapping[str, Estimate | None]
    gains: Mapping[str, Estimate | None] = field(default_factory=dict[str, Estimate | None])
    rankme: Mapping[str, float] = field(default_factory=dict[str, float])
    lived: tuple[Lived, ...] = ()

    def probe(self, name: str) -> dict[str, Estimate | None]:
        """One probe, with an entry for each encoder of `ENCODERS`."""
        return {encoder: self.probes.get(name, {}).get(encoder) for encoder in ENCODERS}


def read_evaluations(rows: Iterable[Row]) -> list[Evaluated]:
    """Puts the rows of `evaluations.jsonl` together, oldest first; of a version measured twice the last one counts."""
    heads: dict[int, Row] = {}
    lived: dict[int, dict[str, Lived]] = {}
    for row in rows:
        match row.get("row"):
            case "evaluation":
                heads.pop(row["version"], None)
                heads[row["version"]] = row
            case "experience":
                lived.setdefault(row["version"], {})[row["experience"]] = Lived(
                    name=row["experience"], kind=row["kind"], world=row["world"], visit=row["visit"],
                    **{name: _number(row.get(name)) for name in ("start", "end", "age", "loss")},
                )  # fmt: skip
            case _:
                pass
    return [
        Evaluated(
            version=version,
            system_time=_number(row.get("system_time")),
            probes={probe: _estimates(scores) for probe, scores in row["probes"].items()},
            losses=_estimates(row["losses"]),
            gains=_estimates(row["gains"]),
            rankme={encoder: _number(health.get("rankme")) for encoder, health in row["health"].items()},
            lived=tuple(lived.get(version, {}).values()),
        )
        for version, row in heads.items()
    ]


def _estimates(rows: Row) -> dict[str, Estimate | None]:
    return {name: Estimate.read(row) for name, row in rows.items()}


def compare(evaluation: Evaluated, name: str) -> str:
    """Says how the trained encoder stands on a probe; only what 95 % intervals tell apart counts as a difference.

    Against random-init the interval of the paired gain decides, where there is one; otherwise, and against pixels,
    two intervals that do not overlap.

    Returns:
        `above both`, `below one` or `not apart`; empty if an interval is missing.
    """
    scores = evaluation.probe(name)
    trained, gain = scores["trained"], evaluation.gains.get(name)
    sides = [
        _side(gain, Estimate(value=0.0, low=0.0, high=0.0)) or _side(trained, scores["random"]),
        _side(trained, scores["pixels"]),
    ]
    if not all(sides):
        return ""
    if "below" in sides:
        return _BELOW
    return _ABOVE if sides == ["above", "above"] else _SAME


def _side(one: Estimate | None, other: Estimate | None) -> str:
    if one is None or other is None or not math.isfinite(one.high - one.low + other.high - other.low):
        return ""
    return "above" if one.low > other.high else "below" if one.high < other.low else "open"


def sentence(evaluation: Evaluated | None) -> str:
    """Says in one sentence what the last evaluation shows, chosen by rule.

    Args:
        evaluation: The last one, or None if there is none.
    """
    if evaluation is None:
        return "Nothing was evaluated, so nothing can be said about what was learnt."
    found: dict[str, list[str]] = {}
    for name in PROBES:
        if outcome := compare(evaluation, name):
            found.setdefault(outcome, []).append(name)
    if not found:
        return "No probe has an interval for all three encoders, so nothing can be said about what was learnt."
    texts = {
        _ABOVE: "above random-init and pixels on {}",
        _SAME: "not distinguishable from the better baseline on {}",
        _BELOW: "below a baseline on {}",
    }
    said = [text.format(_listing(found[outcome])) for outcome, text in texts.items() if outcome in found]
    return f"At v{evaluation.version} the trained encoder is {'; '.join(said)} (by 95 % intervals; one run, one seed)."


def _listing(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def summary(
    status: RunStatus,
    evaluations: Sequence[Evaluated],
    events: Sequence[Row],
    *,
    directory: Path,
    picture: Path | None = None,
) -> RenderableType:
    """Lays out the end of a run.

    Args:
        status: The last status, taken after everything was drained.
        evaluations: All evaluations, oldest first.
        events: Rows of `events.jsonl`, oldest first.
        directory: The run directory.
        picture: Where the picture lies, if one was made.
    """
    last = evaluations[-1] if evaluations else None
    parts: list[RenderableType] = [
        Text.assemble((f"engram · {clock(status.elapsed)}", "bold"), f" · {_seen(status, evaluations, events)}"),
        _accounting(status),
        _learning(status, evaluations),
    ]
    if last is not None:
        parts += [_probes(last), _losses(last)]
    parts.append(Text(sentence(last), "bold"))
    parts.append(_pairs(("run directory", str(directory)), ("picture", str(picture) if picture else NONE)))
    return Group(*chain.from_iterable((part, Text()) for part in parts[:-1]), parts[-1])


def _pairs(*pairs: tuple[str, str]) -> RenderableType:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in pairs:
        grid.add_row(name, Text(value))
    return grid


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, collapse_padding=True, pad_edge=False, show_edge=False, header_style="bold")
    for number, name in enumerate(columns):
        table.add_column(Text(name), justify="right" if number else "left", no_wrap=number == 0)
    return table


def _seen(status: RunStatus, evaluations: Sequence[Evaluated], events: Sequence[Row]) -> str:
    frames = sum(actor.counts.captured for actor in status.actors)
    lived = chain.from_iterable(evaluation.lived for evaluation in evaluations)
    stays = {(item.world, item.visit) for item in lived if item.kind != "placebo"}
    stays |= {(str(row["world"]), str(row["visit"])) for row in events if row.get("world") and row.get("visit")}
    stays |= {(actor.world, actor.visit) for actor in status.actors if actor.world and actor.visit}
    worlds = len({world for world, _ in stays})
    restarts = sum(status.restarts.values())
    return (
        f"{count(frames)} frames by {_plural(len(status.actors), 'actor')} on {_plural(len(stays), 'visit')} "
        f"to {_plural(worlds, 'world')} · {_plural(restarts, 'restart')}"
        + (f" ({', '.join(f'{part} ×{times}' for part, times in status.restarts.items())})" if restarts else "")
    )


def _plural(number: int, noun: str) -> str:
    return f"{count(number)} {noun}{'' if number == 1 else 's'}"


def _difference(whole: int, parts: int) -> Text:
    return Text("✓", "green") if whole == parts else Text(f"✗ {whole - parts:+,}".replace("-", "−"), "bold red")


def _accounting(status: RunStatus) -> Table:
    shown = status.actors[:_MOST_ACTORS]
    columns = [actor.name for actor in shown] + (["all actors"] if len(status.actors) > 1 else [])
    groups = [(actor,) for actor in shown] + ([status.actors] if len(status.actors) > 1 else [])
    table = _table("every frame accounted for", *columns)
    read = status.learner.counts

    def add(name: str, *cells: Text | str) -> None:
        table.add_row(name, *cells)

    def total(attribute: str, group: Sequence[ActorStatus]) -> int:
        return sum(getattr(read.get(actor.name, ReaderCounts()), attribute) for actor in group)

    written = [sum(actor.counts.written for actor in group) for group in groups]
    captured = [sum(actor.counts.captured for actor in group) for group in groups]
    spooled = [sum(actor.counts.spooled for actor in group) for group in groups]
    dropped = [sum(sum(actor.counts.dropped.values()) for actor in group) for group in groups]
    add("captured", *map(count, captured))
    add("= written to the stream", *map(count, written))
    for cause in sorted({cause for actor in status.actors for cause, lost in actor.counts.dropped.items() if lost}):
        add(f"+ dropped: {cause.replace('_', ' ')}",
            *(count(sum(actor.counts.dropped.get(cause, 0) for actor in group)) for group in groups))  # fmt: skip
    add("+ spooled", *map(count, spooled))
    sums = [sum(three) for three in zip(written, dropped, spooled, strict=True)]
    add("  adds up", *map(_difference, captured, sums))
    add("written to the stream", *map(count, written))
    for fate in _FATES:
        values = [total(fate, group) for group in groups]
        if any(values) or fate in ("admitted", "withheld"):
            add(f"{'=' if fate == _FATES[0] else '+'} {fate}", *map(count, values))
    fates = [sum(total(fate, group) for fate in _FATES) for group in groups]
    add("  adds up", *map(_difference, written, fates))
    table.add_section()
    add("frames/s, mean", *(decimal(sum(actor.mean_fps for actor in group), 2) for group in groups))
    add(
        "interval p99 of the last minute, ms",
        *(f"{max(actor.interval_p99 for actor in group) * 1e3:.0f}" for group in groups),
    )
    if any(actor.covered for actor in status.actors):
        add("map cells entered", *(count(sum(sum(actor.covered.values()) for actor in group)) for group in groups))
    add("late frames", *(count(sum(actor.late for actor in group)) for group in groups))
    return table


def _learning(status: RunStatus, evaluations: Sequence[Evaluated]) -> RenderableType:
    learner = status.learner
    speed = learner.images / status.elapsed if status.elapsed else math.nan
    pairs = [
        ("learner", f"{count(learner.step)} steps, {count(learner.images)} images, {decimal(speed, 1)} images/s mean"),
        ("loss", f"{decimal(learner.loss)} (alone no evidence: its target moves with the encoder)"),
        ("replay ratio", decimal(learner.replay_ratio, 2)),
        ("ledger", _plural(learner.experiences, "experience")),
        ("weights", f"{_plural(learner.version, 'version')}, {_plural(len(evaluations), 'evaluation')}"),
        ("staleness", _staleness(learner)),
    ]
    if status.trainers is not None:
        pairs.append(("curiosity", tell((actor.curiosity for actor in status.actors), status.trainers)))
    if learner.stream_resets:
        pairs.append(("stream", f"found restarted empty {_plural(learner.stream_resets, 'time')}"))
    return _pairs(*pairs)


def _staleness(learner: LearnerStatus) -> str:
    versions = _plural(round(learner.staleness_versions), "version")
    return f"{versions}, {learner.staleness_seconds:.1f} s (median of the last frames)"


def _probes(evaluation: Evaluated) -> Table:
    table = _table(f"probes of v{evaluation.version}", *ENCODERS.values(), "gain over random")
    for name in PROBES:
        estimates = [*evaluation.probe(name).values(), evaluation.gains.get(name)]
        outcome = compare(evaluation, name)
        label = Text.assemble(name, (f" {UNITS[name]}", "dim"), f"\n→ {outcome}" if outcome else "")
        table.add_row(label, *(str(estimate) if estimate else NONE for estimate in estimates))
    return table


def _losses(evaluation: Evaluated) -> RenderableType:
    pairs: list[tuple[str, str]] = []
    for kind in ("exposed", "withheld", "placebo"):
        estimate = evaluation.losses.get(kind)
        pairs.append((f"loss of {kind} experiences", str(estimate).replace("\n", " ") if estimate else NONE))
    trained, random = (decimal(evaluation.rankme.get(encoder), 1) for encoder in ("trained", "random"))
    return _pairs(*pairs, ("RankMe of the features", f"{trained} (random-init {random})"))
