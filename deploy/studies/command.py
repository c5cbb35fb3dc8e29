"""`engram sweep`: the trials of a study, all that are not done yet."""

import json
import shutil
import signal
import time
from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from math import isnan
from pathlib import Path
from typing import Any

import tyro
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from common.errors import ConfigError
from deploy.rundir import parse_row, take
from deploy.studies.files import find, load, presets
from deploy.studies.pace import Match
from deploy.studies.plan import Study, Trial
from deploy.studies.trial import check_same, result_of
from deploy.version import code_version

STUDY = "study.json"
SCHEMA = 1
_STOPPED = 130
"""Exit code of who was interrupted, as a shell has it."""
_TAIL = 65536
_FREE = 2 * 2**30
"""Bytes of disk that must be free to begin with."""


@dataclass(frozen=True)
class Sweep:
    """Do all trials of a study that are not done yet: each condition with each seed, on the same recorded streams.

    A study that was stopped or killed goes on where it was. One that comes with the program is named, or give a YAML
    file: deploy/studies/README.md. Afterwards `engram report` shows what was found.

    Examples:
      engram sweep --list
      engram sweep model_size --dry-run
      engram sweep model_size --out runs/model_size
      engram sweep study.yaml --jobs 2
      engram sweep model_size --scale large --cluster auto --out /shared/model_size
    """

    study: tyro.conf.Positional[str] = ""
    """A YAML file, or the name of a study that comes with the program."""
    scale: str = "small"
    """`small` is made for two cores, `large` for GPUs."""
    match: Match | None = None
    """What trials have in common, in place of what the study says: `steps`, or `clock` with --rate."""
    rate: float = 0.0
    """With --match clock: operations a second that an imagined machine does while the stream plays."""
    seeds: tuple[int, ...] = ()
    """Seeds in place of the study's."""
    out: Path = Path()
    """Folder of recordings, trials and report; empty for runs/ and the study's name (-clock added by --match clock)."""
    jobs: int = 0
    """Trials at a time; 0 for as many as cores, GPUs and memory allow."""
    attempts: int = 3
    """How often a trial is begun whose process dies."""
    cluster: str = ""
    """Ray cluster to join, `auto` on its head; the folder must be one that all of its hosts share."""
    expect: Path = Path()
    """Folder of earlier results of the same study: says afterwards which trials agree to the bit."""
    dry_run: bool = False
    """Only say what would be done, how long it takes, and how much disk and memory it needs."""
    list: bool = False
    """List the studies that come with the program."""


def sweep(words: Sequence[str]) -> int:
    """Runs `engram sweep` with the words after it; returns the exit code: 1 where a trial failed."""
    asked = tyro.cli(Sweep, args=list(words), prog="engram sweep", config=(tyro.conf.EnumChoicesFromValues,))
    if asked.list:
        for name, scales in presets().items():
            for scale in scales:
                print(f"{name:14} {scale:6} {load(find(name, scale)).title}")
        return 0
    if not asked.study:
        raise ConfigError("study", "", "must be a YAML file, or a name that `engram sweep --list` shows")
    for name, least in (("jobs", 0), ("attempts", 1)):
        if getattr(asked, name) < least:
            raise ConfigError(name, getattr(asked, name), f"must be at least {least}")
    study = _changed(load(find(asked.study, asked.scale)), asked)
    suffix = "-clock" if study.match is Match.CLOCK else ""
    out = Path("runs") / f"{study.name}{suffix}" if asked.out == Path() else asked.out
    trials = study.trials(out / "recordings")
    check_same(trials, out / "trials")
    console = Console()
    if asked.dry_run:
        _plan(study, trials, out, console)
        return 0
    return _sweep(asked, study, trials, out, console)


def _changed(study: Study, asked: Sweep) -> Study:
    changes: dict[str, Any] = {"seeds": asked.seeds} if asked.seeds else {}
    if asked.match is not None or asked.rate:
        match = asked.match or study.match
        changes |= {"match": match, "rate": asked.rate or (study.rate if match is Match.CLOCK else 0.0)}
    return replace(study, **changes)


def _plan(study: Study, trials: Sequence[Trial], out: Path, console: Console) -> None:
    from deploy.memory import gib
    from deploy.studies.cost import check_memory, costs, recording_bytes
    from deploy.studies.recorded import is_whole

    found = costs(trials, out / "trials")
    try:
        fits = f"memory for {check_memory(trials)} at once"
    except ConfigError as error:
        fits = f"too large for this machine: {error}"
    table = Table(
        "condition", "parameters", "steps", "TFLOP", "memory", "time", "done", title=study.title or study.name
    )
    for variant in study.conditions:
        rows = [cost for cost in found if cost.trial.variant.name == variant.name]
        first = rows[0]
        table.add_row(
            variant.name,
            f"{first.parameters:,}",
            f"{first.steps:,}",
            f"{first.flops / 1e12:.1f}",
            gib(first.memory),
            "?" if isnan(first.seconds) else f"{first.seconds / 60:.0f} min",
            f"{sum(row.done for row in rows)} of {len(rows)}",
        )
    console.print(table)
    left = [cost for cost in found if not cost.done]
    streams = {trial.recording: trial for trial in trials}
    missing = [trial for path, trial in streams.items() if not is_whole(path)]
    disk = sum(cost.disk for cost in left) + sum(map(recording_bytes, missing))
    seconds = sum(cost.seconds for cost in left)
    console.print(
        f"{len(trials)} trials, {len(left)} to do, on {len(streams)} recordings, {len(missing)} to be made; "
        f"matched by {study.match}"
    )
    hours = "a time that only its device can tell" if isnan(seconds) else f"about {seconds / 3600:.1f} h of one process"
    console.print(f"{hours}, {gib(disk)} of disk; {fits}", highlight=False)


def _sweep(asked: Sweep, study: Study, trials: Sequence[Trial], out: Path, console: Console) -> int:
    from deploy.cluster import prepare_environment
    from deploy.studies.cost import check_memory
    from deploy.studies.expected import check

    prepare_environment()
    if asked.expect != Path():
        check(trials, asked.expect)
    left = [trial for trial in trials if result_of(out / "trials" / trial.name) is None]
    if left:
        check_memory(left)
    _claim(out, study)
    with closing(take(out, "out")), _interruptible():
        try:
            return _do(asked, study, trials, out.resolve(), console)
        except KeyboardInterrupt:
            done = sum(result_of(out / "trials" / trial.name) is not None for trial in trials)
            console.print(f"stopped: {done} of {len(trials)} trials are done; the same command goes on")
            return _STOPPED


@contextmanager
def _interruptible() -> Generator[None]:
    """SIGTERM interrupts as Ctrl-C does, so that Ray and games are ended in order."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _do(asked: Sweep, study: Study, trials: Sequence[Trial], out: Path, console: Console) -> int:
    from common.config import RunConfig
    from deploy.cluster import cluster_of
    from deploy.studies.expected import compare
    from deploy.studies.schedule import Schedule, State
    from deploy.studies.streams import prepare

    if (free := shutil.disk_usage(out).free) < _FREE:
        raise ConfigError(
            "out", str(out), f"its disk has {free / 2**30:.1f} GiB left, and {_FREE / 2**30:.0f} are needed"
        )
    schedule = Schedule([], out / "trials", gpus=study.gpus, jobs=asked.jobs, attempts=asked.attempts)
    with Progress(console=console) as progress:
        digests = prepare(study, trials, out / "recordings", progress)
        schedule.trials = trials = [
            replace(trial, recording=trial.recording.resolve(), digest=digests[trial.recording.name])
            for trial in trials
        ]
        check_same(trials, out / "trials")
        for name, digest in digests.items():
            progress.console.print(f"stream {name}: {digest}", highlight=False)
        write_study(out, study, trials, digests, asked)
        whole = progress.add_task("trials", total=len(trials))
        bars = _Bars(progress, out / "trials", {trial.name: trial for trial in trials})

        def show(state: State) -> None:
            progress.update(whole, completed=len(state.ended) + len(state.failed))
            bars.show(state.running)

        ended = schedule.run(lambda: cluster_of(RunConfig(cluster=asked.cluster), 128 * 2**20), show)
    for name, reason in ended.failed.items():
        console.print(f"{name} failed: {reason}", style="red", markup=False, soft_wrap=True)
    console.print(f"{len(ended.ended)} of {len(trials)} trials are done: {out}; engram report {out}", soft_wrap=True)
    if asked.expect != Path():
        agreed = compare(trials, out / "trials", asked.expect)
        for one in agreed:
            console.print(one.text(), markup=False, highlight=False)
        return 1 if ended.failed or any(one.differs for one in agreed) else 0
    return 1 if ended.failed else 0


class _Bars:
    """A bar for each trial that is being done, by the last version that it measured."""

    def __init__(self, progress: Progress, folder: Path, trials: dict[str, Trial]) -> None:
        self._progress, self._folder, self._trials = progress, folder, trials
        self._tasks: dict[str, Any] = {}

    def show(self, running: Sequence[str]) -> None:
        """Shows these and no others."""
        for name in [name for name in self._tasks if name not in running]:
            self._progress.remove_task(self._tasks.pop(name))
        for name in running:
            config = self._trials[name].config
            total = config.duration / config.evaluator.every
            if name not in self._tasks:
                self._tasks[name] = self._progress.add_task(name, total=total)
            self._progress.update(self._tasks[name], completed=self._versions(name))

    def _versions(self, name: str) -> int:
        path = self._folder / name / "evaluations.jsonl"
        if not path.exists():
            return 0
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL))
            rows = [row for line in file if (row := parse_row(line)) is not None and "version" in row]
        return int(rows[-1]["version"]) if rows else 0


def _claim(out: Path, study: Study) -> None:
    """Makes the folder, or makes sure that it is this study's."""
    path = out / STUDY
    if path.exists():
        try:
            before: dict[str, Any] = json.loads(path.read_text("utf-8"))
            name, match, rate = before["name"], before["match"], float(before["rate"])
        except (ValueError, KeyError, TypeError):
            raise ConfigError("out", str(out), f"its {STUDY} is damaged: remove it, and sweep again") from None
        if name != study.name:
            raise ConfigError("out", str(out), f"is of the study {name}: choose another folder")
        if (match, rate) != (study.match, study.rate):
            allowed = f"has trials matched by {match}, rate {rate:g}: choose another folder"
            raise ConfigError("out", str(out), allowed)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError("out", str(out), f"cannot be made: {error.strerror}") from None


def _seeds_before(out: Path) -> list[int]:
    """Seeds of earlier sweeps of this study: what they have found belongs to it."""
    path = out / STUDY
    return list(json.loads(path.read_text("utf-8"))["seeds"]) if path.exists() else []


def _command(asked: Sweep) -> str:
    """What makes this study again."""
    words = ["engram sweep", asked.study]
    words += ["--scale", asked.scale] if asked.scale != "small" else []
    words += ["--match", str(asked.match)] if asked.match else []
    words += ["--rate", f"{asked.rate:g}"] if asked.rate else []
    words += ["--seeds", *map(str, asked.seeds)] if asked.seeds else []
    return " ".join(words)


def write_study(out: Path, study: Study, trials: Sequence[Trial], digests: dict[str, str], asked: Sweep) -> None:
    """Writes down what is compared, for the report."""
    seeds = sorted({*study.seeds, *_seeds_before(out)})
    axes: list[dict[str, Any]] = []
    for axis in study.axes:
        numbers = {
            trial.variant.levels[axis.name]: trial.numbers.get(axis.name) for trial in trials if trial.variant.levels
        }
        axes.append(
            {
                "name": axis.name,
                "label": axis.label or axis.name,
                "unit": axis.unit,
                "numeric": bool(axis.value),
                "log": axis.log,
                "levels": [{"name": level, "value": numbers[level]} for level in axis.levels],
            }
        )
    content = {
        "v": SCHEMA,
        "name": study.name,
        "title": study.title,
        "question": study.question,
        "match": str(study.match),
        "rate": study.rate,
        "preset": study.preset,
        "scale": asked.scale,
        "seeds": seeds,
        "bound": study.bound or None,
        "reference": study.reference or None,
        "axes": axes,
        "variants": [
            {"name": variant.name, "levels": dict(variant.levels), "iid": variant.iid} for variant in study.conditions
        ],
        "trials": [f"{variant.name}-s{seed}" for seed in seeds for variant in study.conditions],
        "streams": digests,
        "command": _command(asked),
        "code": code_version(),
        "written": time.strftime("%Y-%m-%d", time.gmtime()),
    }
    path = out / STUDY
    part = path.with_suffix(".part")
    part.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", "utf-8")
    part.replace(path)
