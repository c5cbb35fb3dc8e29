"""The whole report of a small study: files, page, and what it says; the same bytes every time."""

import csv
import json
import re
from pathlib import Path
from typing import Any, cast

import pyarrow.parquet as pq
import pytest
from matplotlib.axes import Axes

from common.errors import ConfigError
from deploy.commands import report
from deploy.studies.report.material import gather
from deploy.studies.report.plots import Drawing, Panel, inline, render
from deploy.studies.report.ranking import rank
from deploy.studies.report.scales import fits
from deploy.studies.report.tables import Table
from deploy.studies.report.writing import write
from evaluator.probes import Task
from evaluator.scaling import PowerLaw
from evaluator.scores import NotMeasurable, Score
from tests.deploy.studies.report.made import Made, sizes, study

TECHNIQUES = {"fifo": 0.1, "reservoir": 0.2, "worse": 0.05}

pytestmark = pytest.mark.timeout(400)


def techniques(folder: Path, *, name: str = "technique", salt: str = "seed-100", more: float = 0.0) -> Path:
    levels = [{"name": name, "value": None} for name in TECHNIQUES]
    axis = {"name": "keep", "label": "what is kept", "unit": "", "numeric": False, "log": False, "levels": levels}
    variants = [
        Made(name=name, levels={"keep": name}, gain=gain + more, salt=salt) for name, gain in TECHNIQUES.items()
    ]
    bound = Made(name="iid", gain=0.3, iid=True, salt=salt)
    return study(folder, [axis], [*variants, bound], name=name, reference="fifo", rehearsal=False)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A study of techniques that lacks a trial, and its report against another on another stream."""
    folder = tmp_path_factory.mktemp("studies")
    ours = techniques(folder / "ours")
    (ours / "trials" / "worse-s2" / "trial.json").unlink()
    theirs = techniques(folder / "theirs", name="other", salt="seed-7", more=0.1)
    write(ours, folder / "report", watts=8.0, against=theirs)
    return ours, folder / "report"


def test_every_figure_is_there_as_svg_and_pdf_and_every_table_as_latex(made: tuple[Path, Path]) -> None:
    _, out = made
    names = {path.stem for path in (out / "figures").glob("*.svg")}
    assert names == {path.stem for path in (out / "figures").glob("*.pdf")}
    assert names >= {
        "times-exposed-keep", "half-times-exposed-keep", "survival-exposed", "retention", "contrasts", "memory-keep",
        "continual-keep", "forgetting-worlds", "probes-keep", "health-keep", "ranking", "compute-keep", "against",
    }  # fmt: skip
    assert not any("rehearsed" in name for name in names)
    for path in (out / "tables").glob("*.tex"):
        rows = [line for line in path.read_text("utf-8").splitlines() if line.endswith(r"\\")]
        assert len({len(re.findall(r"(?<!\\)&", row)) for row in rows}) == 1, path
        assert r"\toprule" in path.read_text("utf-8")


def test_the_page_needs_nothing_else(made: tuple[Path, Path]) -> None:
    text = (made[1] / "index.html").read_text("utf-8")
    assert "<script" not in text
    assert not re.findall(r'(?:src|href)="(?!#)[^"]*"', text.replace("xlink:", ""))
    assert not re.findall(r"url\((?!#)", text)
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"', text)) <= set(ids)


def test_the_page_says_what_is_missing_and_what_is_not_shown(made: tuple[Path, Path]) -> None:
    text = (made[1] / "index.html").read_text("utf-8")
    first = text.index("Trials that tell nothing")
    assert "worse-s2</b> missing: it has begun and not ended" in text[first : first + 400]
    assert first < text.index('id="times"')
    assert "Fewer than 5 seeds" in text
    assert "All trials saw one stream" in text
    assert "no two trials share seed, checksum and salt" in text
    assert "engram report ours --watts 8" in text


def test_data_are_the_same_as_csv_and_parquet(made: tuple[Path, Path]) -> None:
    folder = made[1] / "data"
    names = {path.stem for path in folder.glob("*.csv")}
    assert names == {"trials", "levels", "events", "curves", "versions", "differences", "absent", "against"}
    for name in names:
        with (folder / f"{name}.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        table: Any = cast(Any, pq).read_table(folder / f"{name}.parquet")
        assert list(rows[0]) == table.column_names
        assert len(rows) == table.num_rows
    summary = json.loads((made[1] / "summary.json").read_text("utf-8"))
    assert summary["order"] == ["iid", "reservoir", "fifo", "worse"]
    assert summary["absent"][0]["name"] == "worse-s2"


def test_variants_are_ranked_by_gain_with_ratios_to_the_bound(made: tuple[Path, Path]) -> None:
    ranking = rank(gather(made[0], 8.0))
    by_name = {row.findings.name: row for row in ranking.rows}
    assert ranking.bound is by_name["iid"].findings
    ratio = by_name["reservoir"].ratios[Task.PLACE]
    assert isinstance(ratio, Score)
    assert ratio.value == pytest.approx(0.2 / 0.3, abs=0.08)
    assert ratio.clusters == 3
    assert isinstance(by_name["iid"].ratios[Task.PLACE], NotMeasurable)
    worse = by_name["worse"].against["gain.place"].result
    assert not isinstance(worse, NotMeasurable)
    assert worse.score.clusters == 2
    assert worse.score.value == pytest.approx(-0.05, abs=0.03)
    better = by_name["reservoir"].against["gain.place"]
    assert not isinstance(better.result, NotMeasurable)
    assert better.holm >= better.result.p


def test_no_ratio_where_the_bound_may_have_gained_nothing(tmp_path: Path) -> None:
    folder = study(tmp_path / "s", [], [Made(name="a", gain=0.1), Made(name="iid", gain=0.0, iid=True)], reference="a")
    row = rank(gather(folder, 8.0)).rows[0]
    ratio = row.ratios[Task.WORLD]
    assert isinstance(ratio, NotMeasurable)
    assert "a ratio to what may be 0 means nothing" in ratio.because


def test_the_planted_exponents_of_a_size_study_are_found(tmp_path: Path) -> None:
    axes, variants = sizes()
    material = gather(study(tmp_path / "sizes", axes, variants), 8.0)
    found = {(str(fit.what), str(fit.whom), str(fit.clock)): fit for fit in fits(material)}
    memory, halves = found["t_mem", "exposed", "seconds"].censored, found["half_rise", "exposed", "seconds"].medians
    assert isinstance(memory, PowerLaw)
    assert memory.exponent.low is not None
    assert memory.exponent.high is not None
    assert memory.exponent.low <= -0.3 <= memory.exponent.high
    assert memory.exponent.value == pytest.approx(-0.3, abs=0.15)
    assert isinstance(halves, PowerLaw)
    assert halves.exponent.value == pytest.approx(-0.3, abs=0.15)


def test_a_study_without_trials_and_one_with_one_seed_have_a_page(tmp_path: Path) -> None:
    axes, variants = sizes((1e4, 4e4))
    folder = study(tmp_path / "one", axes, variants, seeds=(0,), reference="s0")
    out = write(folder, tmp_path / "out", watts=8.0).index.read_text("utf-8")
    assert "There is one trial a condition, so there are no intervals over seeds" in out
    assert "One seed: s0, s1." in out
    for path in (folder / "trials").glob("*/trial.json"):
        path.unlink()
    empty = write(folder, tmp_path / "empty", watts=8.0).index.read_text("utf-8")
    assert "Not measurable, because no trial has ended." in empty
    assert "0 of 2 done, 2 missing" in empty


def test_figures_are_the_same_bytes_every_time() -> None:
    def paint(axes: Axes) -> None:
        axes.plot([1, 2], [3, 5])  # pyright: ignore[reportUnknownMemberType]

    drawing = Drawing(name="one", title="One", caption=["said"], panels=[Panel(title="a", paint=paint)])
    first, second = render(drawing), render(drawing)
    assert first == second
    assert b"CreationDate" not in first[1]
    assert "<text" not in first[0]
    body = inline(first[0], "one", "One", narrow=False)
    assert body.startswith('<svg class="wide" role="img" aria-label="One"')
    assert 'id="one-w-' in body


def test_latex_escapes_what_it_must() -> None:
    text = Table(name="t", caption="c", head=["a_b", "50 %"], rows=[["x & y", "−1 [θ]"]]).tex()
    assert r"a\_b & 50 \%" in text
    assert r"x \& y & $-$1 [$\theta$]" in text


def test_the_command_takes_studies_and_runs_and_refuses_mixtures(made: tuple[Path, Path], tmp_path: Path) -> None:
    ours, _ = made
    run = ours / "trials" / "fifo-s0"
    for words, said in (
        ([str(ours), str(run)], "not mixed"),
        ([str(run), "--against", str(ours)], "goes with the folder of a study"),
        ([str(ours), "--against", str(run)], "must be the folder of a study"),
        ([str(ours), "--against", str(ours)], "is the study itself"),
        ([str(ours), "--watts", "0"], "above 0"),
        ([str(ours), "--out", str(tmp_path / "page.html")], "must be a folder"),
        ([str(tmp_path)], "must be a run directory"),
    ):
        with pytest.raises(ConfigError, match=said):
            report(words)
    assert report([str(run), "--out", str(tmp_path / "run.html")]) == 0
    assert (tmp_path / "run.html").stat().st_size > 1000
