"""`engram report OUT`: reads a study, writes its report, says where it is and what is missing."""

from math import isfinite
from pathlib import Path

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from common.errors import ConfigError
from deploy.studies.report.design import FILE, is_study
from deploy.studies.report.repeated import TABLE, compare, table_of
from deploy.studies.report.writing import write


def report_study(
    folder: Path, *, out: Path | None, against: Path | None, expect: Path | None, watts: float, mlflow: str
) -> int:
    """Writes the report of a study; returns the exit code.

    Args:
        folder: Where `study.json` is.
        out: Folder of the report; None for `report/` in the study's.
        against: Another study to compare with; None for none.
        expect: An earlier study of the same trials, or its report; None for none.
        watts: Power of one busy core.
        mlflow: Where to log trials as MLflow runs; empty for nowhere.

    Raises:
        ConfigError: Something that was asked for cannot be done.
    """
    if not isfinite(watts) or watts <= 0:
        raise ConfigError("watts", watts, "must be above 0")
    if out is not None and out.suffix == ".html":
        raise ConfigError(
            "out", str(out), "must be a folder: the report of a study is a page with figures, data and tables"
        )
    if against is not None and not is_study(against):
        raise ConfigError("against", str(against), f"must be the folder of a study, with {FILE}")
    if against is not None and against.resolve() == folder.resolve():
        raise ConfigError("against", str(against), "is the study itself")
    earlier = None if expect is None else table_of(expect)
    console = Console()
    with Progress(SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=console) as progress:
        task = progress.add_task("reading", total=None)
        written = write(
            folder,
            folder / "report" if out is None else out,
            watts=watts,
            against=against,
            told=lambda what: progress.update(task, description=what),
        )
        if mlflow:
            from deploy.studies.report.tracking import log

            counts = log(
                written.material, mlflow, written.index.parent, lambda what: progress.update(task, description=what)
            )
            progress.console.print(f"{counts[0]} trials logged to {mlflow}, {counts[1]} were there", markup=False)
    material = written.material
    for absent in material.absent:
        console.print(f"{absent.name} {absent.why}: {absent.reason}", markup=False, highlight=False)
    if material.blocks.said:
        console.print(material.blocks.said, markup=False, highlight=False)
    print(f"{len(material.trials)} of {len(material.design.trials)} trials: {written.index}")
    if earlier is None:
        return 0
    found = compare(written.index.parent / TABLE, earlier)
    print(found.text())
    return 0 if found.agrees else 1
