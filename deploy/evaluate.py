"""`engram evaluate`: how long runs take to memorise and to forget, and whether the method finds what was planted."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import tyro
from rich.console import Console, Group
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from common.config.files import from_yaml
from common.config.replay import Draw
from common.errors import ConfigError, RunError
from common.exposure import is_rehearsed
from deploy.rundir import read_rows, to_json
from evaluator.calibration.check import Calibration, Trial, agreement, trials
from evaluator.calibration.plan import LEVELS, Noise, Plan
from evaluator.memory.measures import Measure
from evaluator.scores import NotMeasurable, Score
from evaluator.times.analysis import Analysis
from evaluator.times.retention import Laws
from evaluator.times.rows import RowError
from evaluator.times.study import Clock, Gate, Rates, Run, Study
from evaluator.times.summary import Part, Summary, summarise
from evaluator.times.telling import TimeSummary

MEASURED = "measured"
"""Name of the noise level that a run's placebos give."""

_CHUNK = 20
_NAMES = {
    "false_memories": "placebos called memorised, by the θ of others",
    "episodic": "episodic contrast D at the last version",
    "assigned": "the same, whether sampled or not",
    "world": "world contrast at the last version",
    "t_mem": "T_mem",
    "t_mem_assigned": "T_mem, whether sampled or not",
    "half_peak": "time to half of the peak",
    "latency_admission": "capture to admission",
    "latency_first_use": "admission to first gradient",
    "latency_learning": "first gradient to memory",
    "t_forget": "T_forget",
    "margin": "D at the last exposure ÷ θ",
    "rememorised": "forgotten to memory again",
    "saving": "relearning saving",
    "retention_area": "retention area",
    "forgetting_law": "forgetting curve",
    "t_mem_rehearsed": "T_mem of what was rehearsed on purpose",
    "t_forget_rehearsed": "T_forget of what was rehearsed on purpose",
}


@dataclass(frozen=True)
class Evaluate:
    """How long until an experience is memorised and until it is forgotten: from the rows of finished or live runs.

    Several run directories are seeds of one study: its intervals are over runs. With `--calibrate` runs are simulated
    with known times and taken through the same chain.

    Examples:
      engram evaluate runs/a
      engram evaluate runs/a-0 runs/a-1 runs/a-2 --out a.json
      engram evaluate --calibrate --studies 2000 --jobs 2
      engram evaluate runs/a --calibrate --runs 5
    """

    run_dirs: tyro.conf.Positional[tuple[Path, ...]] = ()
    """Run directories. With --calibrate, one whose placebos give a fourth noise level."""
    measure: Measure = Measure.BITS
    """Which measure of memory the times are of."""
    consecutive: int = 2
    """m: measurements in a row of which a statement must hold."""
    out: Path = Path()
    """JSON file; empty for report/times.json in the first run directory (--calibrate: calibration.json here)."""
    calibrate: bool = False
    """Simulate studies with planted times, and print what was recovered."""
    studies: int = 2000
    """Simulated studies at each noise level."""
    runs: int = 1
    """Runs of each simulated study."""
    jobs: int = 1
    """Processes that simulate."""


def evaluate(words: list[str]) -> int:
    """Runs `engram evaluate` with the words after it; returns the exit code."""
    asked = tyro.cli(Evaluate, args=words, prog="engram evaluate", config=(tyro.conf.EnumChoicesFromValues,))
    for name in ("consecutive", "studies", "runs", "jobs"):
        if getattr(asked, name) < 1:
            raise ConfigError(name, getattr(asked, name), "must be at least 1")
    if asked.calibrate:
        return _calibrate(asked)
    if not asked.run_dirs:
        raise ConfigError("run_dirs", "", "must name a run directory, or --calibrate")
    summary = summarise(Analysis(study=study_of(asked.run_dirs, asked.measure), m=asked.consecutive))
    out = asked.run_dirs[0] / "report" / "times.json" if asked.out == Path() else asked.out
    _write(out, summary.row())
    Console().print(table(summary))
    print(f"written to {out}")
    return 0


def study_of(run_dirs: Sequence[Path], measure: Measure = Measure.BITS) -> Study:
    """Reads the evaluations of run directories.

    Raises:
        ConfigError: A directory holds no evaluations.
        RunError: A row is damaged.
    """
    return Study(runs=[_read(folder, measure) for folder in run_dirs])


def table(summary: Summary) -> Group:
    """Shows a summary, one line a measure, and below it the reasons for what is not measurable."""
    counts = ", ".join(f"{count} {name}" for name, count in summary.counts.items() if count)
    reasons: list[str] = []
    shown = Table("what", "seconds", "steps", "of")
    theta = summary.theta
    if isinstance(theta, NotMeasurable):
        shown.add_row("θ", _words(theta, reasons))
    else:
        shown.add_row("θ", f"{theta.theta:.3g} {_unit(summary)}", "", f"{theta.placebos} placebos")
    for name, part in summary.parts.items():
        shown.add_row(_NAMES[name], *_cells(part, reasons))
    notes = [Text(f"({number}) not measurable, because {reason}") for number, reason in enumerate(reasons, 1)]
    return Group(Text(f"{summary.measure}: {counts}"), shown, *notes)


def _cells(part: "Part | NotMeasurable", reasons: list[str]) -> tuple[str, ...]:
    match part:
        case TimeSummary():
            ended = ", ".join(f"{count} {name}" for name, count in part.counts.items() if count)
            return *(_words(part.medians[clock], reasons) for clock in (Clock.SECONDS, Clock.STEPS)), ended
        case Laws():
            return f"{part.better}", f"AIC {part.exponential.aic:.1f} : {part.power.aic:.1f}", "exponential : power"
        case Score():
            return _words(part, reasons), "", f"{part.frames} in {part.clusters} clusters"
        case _:
            return (_words(part, reasons),)


def _words(result: Score | NotMeasurable, reasons: list[str]) -> str:
    """Writes a number with its interval, or the number of the reason why there is none."""
    if isinstance(result, NotMeasurable):
        if result.because not in reasons:
            reasons.append(result.because)
        return f"({reasons.index(result.because) + 1})"
    if result.low is None and result.high is None:
        return f"{result.value:.3g}"
    low = "–" if result.low is None else f"{result.low:.3g}"
    high = "…" if result.high is None else f"{result.high:.3g}"
    return f"{result.value:.3g} [{low}, {high}]"


def _unit(summary: Summary) -> str:
    return "bits" if summary.measure == Measure.BITS else f"of {summary.measure}"


def run_of(folder: Path, rows: Iterable[Mapping[str, Any]], measure: Measure = Measure.BITS) -> Run:
    """Puts the rows of a run directory together, with what its configuration says of them.

    Raises:
        RunError: A row is damaged.
    """
    rates, gate, share = Rates(), Gate(), 0.0
    if (folder / "config.yaml").exists():
        config = from_yaml(folder / "config.yaml")
        guardrail = config.learner.guardrail
        rates = Rates(frames_per_second=config.actors.fps * config.actors.count, batch=config.learner.optim.batch_size)
        replay = config.learner.replay
        share = replay.rehearsed if replay.draw is Draw.REHEARSAL else 0.0
        gate = Gate(min_rankme=guardrail.min_rankme, min_feature_std=guardrail.min_feature_std)
    try:
        return Run.read(rows, measure, rates=rates, gate=gate, rehearsed=partial(is_rehearsed, share=share))
    except RowError as error:
        raise RunError(f"{folder / 'evaluations.jsonl'}: {error}") from None


def _read(folder: Path, measure: Measure) -> Run:
    path = folder / "evaluations.jsonl"
    if not path.exists():
        raise ConfigError("run_dirs", str(folder), "must be a run directory with evaluations.jsonl")
    return run_of(folder, read_rows(path), measure)


def _calibrate(asked: Evaluate) -> int:
    levels = dict(LEVELS)
    if len(asked.run_dirs) > 1:
        raise ConfigError("run_dirs", len(asked.run_dirs), "must be at most one run directory with --calibrate")
    for folder in asked.run_dirs:
        try:
            levels[MEASURED] = Noise.of(_read(folder, Measure.BITS))
        except ValueError as error:
            raise ConfigError("run_dirs", str(folder), str(error)) from None
    with Progress() as progress:
        task = progress.add_task("studies", total=asked.studies * len(levels))
        found: dict[str, Calibration] = {}
        for name, noise in levels.items():
            done: list[Trial] = []
            for some in _simulated(noise, asked):
                done += some
                progress.advance(task, len(some))
            found[name] = agreement(done, asked.runs)
    out = Path("calibration.json") if asked.out == Path() else asked.out
    _write(out, {name: of_level.row() for name, of_level in found.items()})
    Console(width=max(110, Console().width)).print(calibration_table(found))
    print(f"written to {out}")
    return 0


def calibration_table(found: Mapping[str, Calibration]) -> Group:
    """Shows planted and recovered medians, and how often intervals held what was planted."""
    shown = Table("noise", "time", "planted", "found", "covered", "percentile", "censored", "missing")
    for name, of_level in found.items():
        for time, agreed in of_level.times.items():
            shown.add_row(
                name, str(time), f"{agreed.planted:.0f} s", f"× {agreed.ratio:.3f}",
                f"{agreed.coverage:.1%} ± {1.96 * agreed.error:.1%}", f"{agreed.coverage_percentile:.1%}",
                f"{agreed.censored:.0%}", f"{agreed.not_measurable} of {of_level.studies}",
            )  # fmt: skip
    return Group(
        shown,
        Text(
            "found: median over studies of estimate ÷ planted; covered: by 95 % intervals; percentile: by those of the"
        ),
        Text("percentile bootstrap, for comparison; missing: studies in which there was no median"),
        *(
            Text(
                f"{name}: of {of.judged[0]} placebos {_percent(of.false_placebos)} were called memorised, "
                f"of {of.judged[1]} experiences that nothing was learned of {_percent(of.false_memories)}"
            )
            for name, of in found.items()
        ),
    )


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}"


def _simulated(noise: Noise, asked: Evaluate) -> Iterator[list[Trial]]:
    chunks = [range(start, min(start + _CHUNK, asked.studies)) for start in range(0, asked.studies, _CHUNK)]
    if asked.jobs == 1:
        yield from (_chunk(noise, asked.runs, chunk, asked.consecutive) for chunk in chunks)
        return
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before the children load numpy
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with ProcessPoolExecutor(asked.jobs, mp_context=get_context("spawn")) as pool:
        waiting: list[Future[list[Trial]]] = [
            pool.submit(_chunk, noise, asked.runs, chunk, asked.consecutive) for chunk in chunks
        ]
        yield from (future.result() for future in as_completed(waiting))


def _chunk(noise: Noise, runs: int, numbers: range, m: int) -> list[Trial]:
    return list(trials(Plan(), noise, runs, numbers, m))


def _write(path: Path, row: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(json.loads(to_json(row)), indent=1, ensure_ascii=False) + "\n", "utf-8")
