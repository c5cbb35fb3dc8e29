"""The live view of a run: one screen in a terminal, or a line every ten seconds where there is none.

    RunStatus ──► LiveView.update ─┬─ terminal ─► dashboard() ─► rich.live
                                   └─ pipe, log ► line()

The screen is laid out for 100×30 and still whole at 80 columns. Colour only ever underlines what a sign or a word says
already: red for loss, yellow for what deserves a look.
"""

import math
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Self

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from common.curiosity.status import tell
from common.status import (
    ActorStatus,
    EvaluatorStatus,
    LearnerStatus,
    RunStatus,
    StoreStatus,
    StudyStatus,
)
from deploy.cohort.telling import tell_member
from deploy.wording import NONE, WAITING, clock, count, decimal, size, sparkline

ENCODERS = {"trained": "trained", "random": "random-init", "pixels": "pixels"}
"""Names of the encoders behind probe scores, as a reader knows them."""

UNITS = {"world": "accuracy", "place": "accuracy", "heading": "R²", "depth": "R²"}
"""What a probe's score is."""

_PROBES = ("world", "place", "heading", "depth")
_GOOD, _LOOK, _BAD, _DIM = "green", "yellow", "bold red", "dim"
_LATE_SHARE = 0.01
_STALE_VERSIONS = 3.0
_WIDE = 96


def line(status: RunStatus) -> str:
    """Says the state of a run in one line of plain text."""
    learner = status.learner
    dropped = sum(actor.counts.lost for actor in status.actors)
    parts = [
        f"{clock(status.elapsed)}{f' of {clock(status.duration)}' if status.duration else ''} {status.phase}",
        f"{len(status.actors)} actors {sum(actor.fps for actor in status.actors):.1f} frames/s, "
        f"{count(sum(actor.late for actor in status.actors))} late, {count(dropped)} dropped",
        f"stream {count(sum(status.store.entries.values()))} entries" if status.store.up else "Redis not answering",
        f"learner step {count(learner.step)}, {learner.images_per_second:.1f} images/s, loss {decimal(learner.loss)}, "
        f"replay ratio {decimal(learner.replay_ratio, 2)}",
        f"weights v{learner.version}, {_versions(learner.staleness_versions)} and "
        f"{learner.staleness_seconds:.1f} s stale",
    ]
    if status.evaluator is not None and status.evaluator.probes:
        probe, scores = next(iter(status.evaluator.probes.items()))
        measured = ", ".join(f"{shown} {decimal(scores.get(name))}" for name, shown in ENCODERS.items())
        parts.append(f"probe {probe}: {measured}")
    if status.trainers is not None:
        parts.append(f"curiosity {tell((actor.curiosity for actor in status.actors), status.trainers)}")
    if status.restarts:
        parts.append(f"{sum(status.restarts.values())} restarts")
    parts += [f"{member.name}: {tell_member(member)}" for member in status.members]
    return " | ".join(parts)


def dashboard(status: RunStatus, *, losses: Sequence[float] = (), width: int = 100, height: int = 30) -> RenderableType:
    """Lays a run out on one screen.

    Args:
        status: The run.
        losses: Earlier losses of the learner, oldest first.
        width: Columns of the terminal.
        height: Rows of the terminal.
    """
    wide = width >= _WIDE
    evaluator = status.evaluator
    fixed = 4 + 9 + (8 if evaluator is not None else 0) + (3 if status.trainers is not None else 0)
    fixed += len(status.members) + 2 if status.members else 0
    actor_rows = max(3, height - fixed - 6)
    actors = min(len(status.actors), actor_rows) + 3
    message_rows = max(1, height - fixed - actors - 2)
    middle = (
        ("stream", _stream(status.store, status.learner)),
        ("learner", _learner(status.learner, losses)),
        ("weights", _weights(status.learner, evaluator)),
    )
    parts: list[RenderableType] = [
        _header(status, width),
        _actors(status, actor_rows, wide=wide),
        _side_by_side(*middle),
    ]
    if evaluator is not None:
        title = f"probes{f' of v{evaluator.version} (▲ above baselines)' if evaluator.version else ''}"
        parts.append(
            _side_by_side(
                (title, _probes(evaluator, wide=wide)),
                ("loss by experience, memory", _memory(evaluator, status.study, status.learner)),
            )
        )
    if status.trainers is not None:
        curiosity = Text(
            tell((actor.curiosity for actor in status.actors), status.trainers), no_wrap=True, overflow="ellipsis"
        )
        parts.append(_panel("curiosity", curiosity))
    if status.members:
        rows = (
            (member.name, Text(tell_member(member), no_wrap=True, overflow="ellipsis")) for member in status.members
        )
        parts.append(_panel(f"beside {status.member}, which acts", _pairs(*rows)))
    parts.append(_panel("messages", _messages(status.messages, message_rows)))
    return Group(*parts)


def _panel(title: str | Text, content: RenderableType, height: int | None = None) -> Panel:
    heading = Text(title, "not dim bold") if isinstance(title, str) else title
    return Panel(content, title=heading, title_align="left", border_style=_DIM, box=box.ROUNDED, height=height)


def _side_by_side(*panels: tuple[str, Table]) -> Table:
    rows = max(table.row_count + table.show_header for _, table in panels)
    grid = Table.grid(expand=True)
    for _ in panels:
        grid.add_column(ratio=1)
    grid.add_row(*(_panel(title, table, height=rows + 2) for title, table in panels))
    return grid


def _pairs(*pairs: tuple[str, str | Text]) -> Table:
    grid = Table.grid(padding=(0, 1, 0, 0), expand=True)
    grid.add_column(style=_DIM, no_wrap=True)
    grid.add_column(no_wrap=True, ratio=1)
    for name, value in pairs:
        grid.add_row(name, Text(value) if isinstance(value, str) else value)
    return grid


def _header(status: RunStatus, width: int) -> Panel:
    if status.duration:
        share = min(1.0, status.elapsed / status.duration)
        before, after = f"{clock(status.elapsed)} of {clock(status.duration)} ", f" {share:4.0%}"
        cells = width - len(before) - len(after) - 4
        first = f"{before}{'━' * round(share * cells)}{'┄' * (cells - round(share * cells))}{after}"
    else:
        first = f"{clock(status.elapsed)}, until it is stopped"
    second = Table.grid(expand=True)
    second.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    second.add_column(no_wrap=True, justify="right")
    where = f"live page {status.control_url}" if status.control_url else status.metrics_url
    second.add_row(Text(status.run_dir, _DIM), Text(where, _DIM))
    look = "" if status.phase == "running" else _LOOK
    title = Text.assemble(("engram", "not dim bold"), " · ", (status.phase, f"not dim bold {look}".strip()))
    restarts = ", ".join(f"{part} ×{times}" for part, times in status.restarts.items() if times)
    if restarts:
        title.append(f" · restarts: {restarts}", f"not dim {_LOOK}")
    return _panel(title, Group(Text(first, no_wrap=True), second))


def _actors(status: RunStatus, rows: int, *, wide: bool) -> Panel:
    table = Table(box=None, expand=True, padding=(0, 1, 0, 0), header_style=_DIM)
    for name in ("actor", "world"):
        table.add_column(name, no_wrap=True, ratio=None if name == "actor" else 1)
    names = ["frames/s", "p99 ms", *(["step ms"] if wide else []), "late", *(["captured"] if wide else [])]
    for name in (*names, "dropped", "spooled", "weights"):
        table.add_column(name, justify="right", no_wrap=True)
    newest = status.learner.version
    hidden = len(status.actors) - rows
    shown = status.actors if hidden <= 0 else status.actors[: rows - 1]
    for actor in shown:
        table.add_row(*_actor(actor, newest, wide=wide))
    if hidden > 0:
        rest = status.actors[rows - 1 :]
        late, dropped = sum(a.late for a in rest), sum(a.counts.lost for a in rest)
        table.add_row("…", f"{len(rest)} more actors", f"{sum(a.fps for a in rest):.1f}", "", *([""] if wide else []),
                      count(late), *([""] if wide else []), count(dropped), "", "")  # fmt: skip
    return _panel("actors", table)


def _actor(actor: ActorStatus, newest: int, *, wide: bool) -> list[str | Text]:
    dropped, behind = actor.counts.lost, newest - actor.weights_version
    often_late = actor.late > _LATE_SHARE * max(1, actor.frames)
    cells: list[str | Text] = [
        Text(actor.name),
        Text.assemble(
            actor.world or NONE, (f" ! {actor.unfit_now.replace('_', ' ')}" if actor.unfit_now else "", _LOOK)
        ),
        f"{actor.fps:.1f}",
        f"{actor.interval_p99 * 1e3:.0f}",
    ]
    if wide:
        cells.append(f"{actor.step_seconds * 1e3:.0f}")
    cells.append(Text(f"{'! ' if often_late else ''}{count(actor.late)}", _LOOK if often_late else ""))
    if wide:
        cells.append(count(actor.counts.captured))
    cells.append(Text(f"{'! ' if dropped else ''}{count(dropped)}", _BAD if dropped else ""))
    cells.append(Text(count(actor.counts.spooled), _LOOK if actor.counts.spooled > actor.fps else ""))
    version = f"v{actor.weights_version}" if actor.weights_version else NONE
    stale = behind > _STALE_VERSIONS
    cells.append(Text(f"{version}{f' (−{behind})' if behind > 0 else ''}", _LOOK if stale else ""))
    return cells


def _stream(store: StoreStatus, learner: LearnerStatus) -> Table:
    counts = learner.counts.values()
    lost = sum(c.missed for c in counts)
    broken = sum(c.quarantined for c in counts)
    return _pairs(
        ("Redis", f"up, {size(store.memory)}" if store.up else Text("! not answering", _BAD)),
        ("depth", f"{count(sum(store.entries.values()))} frames"),
        ("unread", f"{count(sum(c.unread for c in counts))} frames"),
        ("admitted", f"{count(sum(c.admitted for c in counts))} frames"),
        ("withheld", f"{count(sum(c.withheld for c in counts))} frames"),
        ("missed", Text(f"{'! ' if lost else ''}{count(lost)} frames", _BAD if lost else "")),
        ("broken", Text(f"{'! ' if broken else ''}{count(broken)} frames", _BAD if broken else "")),
    )


def _learner(learner: LearnerStatus, losses: Sequence[float]) -> Table:
    curve = sparkline(losses, 8)
    now = WAITING.get(learner.waiting, learner.waiting) if learner.step or learner.waiting else "starts"
    return _pairs(
        ("now", Text(now, _LOOK if learner.waiting == "paused" else "")),
        ("speed", f"{learner.images_per_second:.1f} images/s{f' of {learner.ranks} ranks' * (learner.ranks > 1)}"),
        ("step", count(learner.step)),
        ("loss", f"{decimal(learner.loss)}{f'  {curve}' if curve else ''}"),
        ("lr", f"{learner.lr:.1e}"),
        ("replay", f"{learner.replay_ratio:.2f} × admitted"),
        ("ring", f"{learner.ring / learner.capacity:.0%} of {count(learner.capacity)}" if learner.capacity else NONE),
    )


def _weights(learner: LearnerStatus, evaluator: EvaluatorStatus | None) -> Table:
    stale = learner.staleness_versions > _STALE_VERSIONS
    pairs: list[tuple[str, str | Text]] = [
        ("newest", f"v{learner.version}" if learner.version else NONE),
        ("stale", Text(_versions(learner.staleness_versions), _LOOK if stale else "")),
        ("", Text(f"{learner.staleness_seconds:.1f} s", _LOOK if stale else "")),
        ("ledger", f"{count(learner.experiences)} experiences"),
    ]
    if evaluator is not None:
        pairs += [
            ("tested", f"{evaluator.evaluations} of {evaluator.evaluations + evaluator.skipped} v."),
            ("took", f"{evaluator.seconds:.0f} s, {evaluator.core_share:.0%} CPU"),
            ("now", evaluator.activity or NONE),
        ]
    return _pairs(*pairs)


def _versions(number: float) -> str:
    return f"{number:.0f} version{'' if round(number) == 1 else 's'}"


def _probes(evaluator: EvaluatorStatus, *, wide: bool) -> Table:
    table = Table(box=None, expand=True, padding=(0, 1, 0, 0), header_style=_DIM)
    table.add_column("probe", no_wrap=True, ratio=1)
    for name in ENCODERS.values():
        table.add_column(name if wide or name != "random-init" else "random", justify="right", no_wrap=True)
    for probe in evaluator.probes or {name: dict[str, float]() for name in _PROBES}:
        scores = evaluator.probes.get(probe, {})
        trained = scores.get("trained", math.nan)
        gaps = [trained - scores.get(name, math.nan) for name in ("random", "pixels")]
        sign = "" if not all(map(math.isfinite, gaps)) else "▲ " if min(gaps) > 0 else "▼ "
        cells = [decimal(scores.get(name)) for name in ENCODERS]
        cells[0] = sign + cells[0]
        unit = f" {UNITS.get(probe, '')}" if wide else ""
        table.add_row(Text.assemble(probe, (unit, _DIM)), Text(cells[0], _GOOD if sign == "▲ " else ""), *cells[1:])
    return table


def _memory(evaluator: EvaluatorStatus, study: StudyStatus | None, learner: LearnerStatus) -> Table:
    placebo = evaluator.losses.get("placebo", math.nan)
    pairs: list[tuple[str, str | Text]] = []
    for kind in ("exposed", "withheld", "placebo"):
        loss = evaluator.losses.get(kind)
        apart = (loss / placebo - 1) if loss is not None and placebo > 0 and kind != "placebo" else math.nan
        note = f"  {apart:+.1%} to placebo" if math.isfinite(apart) else "  never visited" if kind == "placebo" else ""
        pairs.append((kind, Text.assemble(decimal(loss), (note.replace("-", "−"), _DIM))))
    if study is not None:
        pairs += [("T_mem", _median(study, "t_mem")), ("T_forget", _median(study, "t_forget"))]
    health: Mapping[str, float] = {**learner.health, **evaluator.health}
    for name in ("rankme",) if study is not None else ("rankme", "feature_std", "grad_norm"):
        if name in health:
            pairs.append((name.replace("_", " "), decimal(health[name], 1 if name == "rankme" else 3)))
    return _pairs(*pairs)


def _median(study: StudyStatus, name: str) -> Text:
    """A median time with its interval, or of how many experiences it was seen."""
    outcomes = study.outcomes.get(name, {})
    seen = (f"  {outcomes.get('event', 0)} of {sum(outcomes.values())}" if outcomes else "", _DIM)
    if (median := study.times.get(name)) is None:
        return Text.assemble(NONE, seen)
    ends = [NONE if end is None else f"{end:.0f}" for end in (median.low, median.high)]
    return Text.assemble(f"{median.value:.0f} s [{ends[0]}, {ends[1]}]", seen)


def _messages(messages: Sequence[str], rows: int) -> Table:
    grid = Table.grid(expand=True)
    grid.add_column(no_wrap=True, overflow="ellipsis")
    for message in messages[-rows:] or ("nothing to report",):
        grid.add_row(Text(message))
    return grid


class LiveView:
    """Shows a run while it goes on; use as a context manager.

    Args:
        console: Where to draw; the terminal by default.
        every: Seconds between two lines where there is no terminal.
        now: Clock of these seconds.
    """

    def __init__(
        self, console: Console | None = None, *, every: float = 10.0, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._console = console or Console()
        self._every, self._now = every, now
        self._live: Live | None = None
        self._losses: deque[float] = deque(maxlen=64)
        self._step = -1
        self._last_line = -math.inf
        self._last: RunStatus | None = None

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live = Live(console=self._console, screen=True, auto_refresh=False)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def update(self, status: RunStatus) -> None:
        """Shows the newest status; call it about twice a second."""
        if status.learner.step != self._step:
            self._step = status.learner.step
            self._losses.append(status.learner.loss)
        if self._live is not None:
            width, height = self._console.size
            self._live.update(dashboard(status, losses=self._losses, width=width, height=height), refresh=True)
        elif not self._console.is_terminal:
            self._print(status)
        self._last = status

    def _print(self, status: RunStatus) -> None:
        before = self._last.messages if self._last is not None else ()
        for message in _new(before, status.messages):
            self._say(f"{clock(status.elapsed)} {message}")
        if self._last is None and status.control_url:
            self._say(f"live page: {status.control_url}")
        changed = self._last is None or self._last.phase != status.phase
        if changed or self._now() - self._last_line >= self._every:
            self._last_line = self._now()
            self._say(line(status))

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


def _new(before: Sequence[str], after: Sequence[str]) -> Sequence[str]:
    for known in range(min(len(before), len(after)), 0, -1):
        if tuple(before[-known:]) == tuple(after[:known]):
            return after[known:]
    return after
