"""The commands that start no run; the heavy imports come after the refusals."""

from dataclasses import dataclass
from pathlib import Path

import tyro

from common.errors import ConfigError
from common.options import take_option
from deploy.starting import saved_run


@dataclass(frozen=True)
class Maps:
    """Draw the main directions of a run's patch features as colours, on frames of each world.

    Example: engram maps runs/a --out maps.png
    """

    run_dir: tyro.conf.Positional[Path]
    """The run directory; its newest checkpoint is taken."""
    out: Path = Path()
    """PNG file; empty for report/features.png in the run directory."""


@dataclass(frozen=True)
class ReportCommand:
    """Write one HTML page that shows what runs remembered, forgot and learned, and how to read it.

    The page needs nothing else: no network, no scripts. Several run directories are seeds of one study: tables show
    them side by side, times pool them, figures show the first. A folder that `engram sweep` made gives the report of
    the whole study: page, figures (SVG, PDF), data (CSV, Parquet) and tables (LaTeX) in its folder report/.

    Examples:
      engram report runs/a
      engram report runs/a-0 runs/a-1 runs/a-2 --out study.html
      engram report studies/model_size
      engram report studies/model_size --against studies/model_size-larger-buffer
    """

    run_dirs: tyro.conf.Positional[tuple[Path, ...]]
    """Run directories, of finished or live runs; or one folder of a study."""
    out: Path = Path()
    """HTML file; empty for report/report.html in the first run directory. Of a study: a folder; empty for report/."""
    against: Path = Path()
    """Another study to compare a study with, variant by variant."""
    expect: Path = Path()
    """Folder of an earlier study of the same trials, or of its report: says whether the same was found, within what
    another seed would change. Exit code 1 where not."""
    watts: float = 10.0
    """Power of one busy core, W, by which the energy of a study's trials is estimated."""
    mlflow: str = ""
    """Where to log a study's trials as MLflow runs as well: a tracking URI, or a folder. Needs the extra `mlflow`."""


def expire(words: list[str]) -> int:
    """Runs `engram expire` with the words after it; returns the exit code."""
    from deploy.retention import expire as run

    return run(words)


def explore(words: list[str]) -> int:
    """Runs `engram explore` with the words after it; returns the exit code."""
    from deploy.explore.command import explore as compare

    return compare(words)


def sweep(words: list[str]) -> int:
    """Runs `engram sweep` with the words after it; returns the exit code."""
    from deploy.studies.command import sweep as do_trials

    return do_trials(words)


def maps(words: list[str]) -> int:
    """Runs `engram maps` with the words after it; returns the exit code."""
    asked = tyro.cli(Maps, args=words, prog="engram maps")
    config, checkpoint = saved_run(asked.run_dir)
    import torch

    from common.ijepa.model import IJepa
    from deploy.feature_maps import draw
    from deploy.probe_set import record_probe_set
    from evaluator.probeset import ProbeSet, ProbeSpec

    model = IJepa(config.learner.model, config.world.image_size, seed=0)
    model.load_state_dict({name: torch.from_numpy(array) for name, array in checkpoint.model.items()})  # pyright: ignore[reportUnknownMemberType]
    spec = ProbeSpec.of(config)
    probes = spec.cache_path(config.evaluator.cache)
    if not probes.exists():
        record_probe_set(spec, probes)
    out = asked.run_dir / "report" / "features.png" if asked.out == Path() else asked.out
    title = f"{asked.run_dir.name}, step {checkpoint.step}: patch features, three main directions as red, green, blue"
    print(draw(model.target_encoder, ProbeSet.load(probes), out, title=title))
    return 0


def probe(words: list[str]) -> int:
    """Runs `engram probe` with the words after it; returns the exit code."""
    from deploy.probe.options import DESCRIPTION, Probe

    asked = tyro.cli(
        Probe,
        args=words,
        prog="engram probe",
        description=DESCRIPTION,
        config=(tyro.conf.EnumChoicesFromValues,),
    )
    asked.check()
    from rich.console import Console

    from deploy.probe.command import probe as grade

    grade(asked, Console())
    return 0


def convert(words: list[str]) -> int:
    """Runs `engram convert` with the words after it; returns the exit code."""
    from deploy.convert import DESCRIPTION, Conversion
    from deploy.convert import convert as convert_file

    asked = tyro.cli(
        Conversion,
        args=words,
        prog="engram convert",
        description=DESCRIPTION,
        config=(tyro.conf.EnumChoicesFromValues,),
    )
    print(convert_file(asked))
    return 0


def evaluate(words: list[str]) -> int:
    """Runs `engram evaluate` with the words after it; returns the exit code."""
    from deploy.evaluate import evaluate as evaluate_runs

    return evaluate_runs(words)


def report(words: list[str]) -> int:
    """Runs `engram report` with the words after it; returns the exit code."""
    asked = tyro.cli(ReportCommand, args=words, prog="engram report")
    if not asked.run_dirs:
        raise ConfigError("run_dirs", "", "must name a run directory")
    studies = [folder for folder in asked.run_dirs if (folder / "study.json").is_file()]
    if studies:
        return _report_study(asked, studies)
    for name in ("against", "expect", "mlflow"):
        if (value := getattr(asked, name)) not in (Path(), ""):
            raise ConfigError(name, str(value), "goes with the folder of a study, not with run directories")
    for folder in asked.run_dirs:
        if not (folder / "evaluations.jsonl").is_file():
            raise ConfigError("run_dirs", str(folder), "must be a run directory with evaluations.jsonl")
    from deploy.report.page import write

    print(write(asked.run_dirs, asked.run_dirs[0] / "report" / "report.html" if asked.out == Path() else asked.out))
    return 0


def _report_study(asked: ReportCommand, studies: list[Path]) -> int:
    if len(asked.run_dirs) > 1:
        raise ConfigError(
            "run_dirs",
            " ".join(map(str, asked.run_dirs)),
            "must be one folder of a study alone: a study is not mixed with run directories or another study "
            "(--against)",
        )
    from deploy.studies.report.command import report_study

    nothing = Path()
    return report_study(
        studies[0],
        out=None if asked.out == nothing else asked.out,
        against=None if asked.against == nothing else asked.against,
        expect=None if asked.expect == nothing else asked.expect,
        watts=asked.watts,
        mlflow=asked.mlflow,
    )


def worlds(words: list[str]) -> int:
    """Runs `engram worlds` with the words after it; returns the exit code."""
    if words:
        print("usage: engram worlds\n\nList the kinds of worlds, what each needs here, and the names they know.")
        return 0 if words[0] in ("-h", "--help") else 2
    from actors.worlds.kinds import kinds

    for kind in kinds().values():
        print(f"{kind.name}: {kind.what}")
        for need in kind.needs:
            missing = need.missing()
            print(f"  needs {need.what}: {f'MISSING: {missing}' if missing else 'here'}")
        for wish in kind.wishes:
            print(f"  wants {wish.what}: {wish.missing() or 'here'}")
        for world in kind.names():
            print(f"  {world}")
    return 0


def keys(words: list[str]) -> int:
    """Runs `engram keys` with the words after it; returns the exit code."""
    from deploy.keys.command import keys as make_keys

    return make_keys(words)


def bench(words: list[str]) -> int:
    """Runs `engram bench` with the words after it; returns the exit code."""
    from deploy.bench import bench as bench_part

    rest, name = take_option(words, "--preset")
    return bench_part(rest, name or "demo")


def node(words: list[str]) -> int:
    """Runs `engram node` with the words after it; returns the exit code."""
    from deploy.node import node as join

    return join(words)


def doctor(words: list[str]) -> int:
    """Runs `engram doctor` with the words after it; returns the exit code."""
    from deploy.doctor.command import doctor as examine

    return examine(words)


def status(words: list[str]) -> int:
    """Runs `engram status` with the words after it; returns the exit code."""
    from deploy.steering import status as show

    return show(words)


def stop(words: list[str]) -> int:
    """Runs `engram stop` with the words after it; returns the exit code."""
    from deploy.steering import stop as end

    return end(words)
