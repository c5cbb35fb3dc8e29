"""A study that was done again: equal, nearly so, or not."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.errors import ConfigError
from deploy.commands import report
from deploy.studies.report import data
from deploy.studies.report.repeated import Repetition, compare, table_of
from tests.deploy.studies.report.made import Made, study

LEVELS, SEEDS = ("w32", "w64"), range(5)
SPREAD = 0.1


def rows(*, draw: int = 0, shift: float = 0.0, **more: Any) -> list[dict[str, Any]]:
    """Numbers of ten trials; `draw` chooses what the machine's rounding does to them."""
    generator = np.random.default_rng(draw)
    return [
        {
            "trial": f"{level}-s{seed}",
            "level": level,
            "seed": seed,
            "stream": "a1",
            "salt": "s",
            "seconds": float(draw),
            "compute.cpu": float(draw),
            "gain.world": float(generator.normal(0.2, SPREAD)) + shift,
            "memory.episodic": float(generator.normal(0.5, SPREAD)) + shift,
            "probe.world.pixels": 0.47,
            "half_decay.rehearsed.seconds": None,
            **more,
        }
        for level in LEVELS
        for seed in SEEDS
    ]


def held(folder: Path, ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> Repetition:
    tables: list[Path] = []
    for name, found in (("ours", ours), ("theirs", theirs)):
        (folder / name / "data").mkdir(parents=True, exist_ok=True)
        data.save(folder / name / "data", "trials", found)
        tables.append(table_of(folder / name))
    return compare(*tables)


def test_the_same_numbers_are_equal_whatever_the_machine_took(tmp_path: Path) -> None:
    found = held(tmp_path, [row | {"compute.cpu": 7.0} for row in rows()], rows())
    assert (found.trials, found.numbers, found.equal, found.outside, found.agrees) == (10, 30, 30, [], True)
    assert (
        found.text() == "10 trials, 30 numbers: 30 equal to the bit, 0 within tolerance, 0 outside; the same was found"
    )


def test_another_draw_is_within_the_tolerance_in_19_of_20_cases(tmp_path: Path) -> None:
    found = [held(tmp_path, rows(draw=2 * n + 1), rows(draw=2 * n)) for n in range(60)]
    outside = sum(len(one.outside) for one in found) / (60 * 20)
    assert 0.03 <= outside <= 0.07
    assert all(one.equal == 10 for one in found)
    assert sum(one.agrees for one in found) >= 55


def test_another_result_is_not(tmp_path: Path) -> None:
    found = held(tmp_path, rows(draw=1, shift=4 * SPREAD), rows())
    assert not found.agrees
    assert "w32-s0: gain.world 0." in found.text()


def test_what_no_seed_changes_must_be_equal_but_for_rounding(tmp_path: Path) -> None:
    nearly = [row | {"probe.world.pixels": 0.47 * (1 + 1e-8)} for row in rows()]
    assert not held(tmp_path, nearly, rows()).outside
    other = [row | {"probe.world.pixels": 0.48} for row in rows()]
    assert {one.number for one in held(tmp_path, other, rows()).outside} == {"probe.world.pixels"}


def test_what_only_one_could_measure_is_outside(tmp_path: Path) -> None:
    ours = rows()
    ours[3]["half_decay.rehearsed.seconds"] = 12.0
    (one,) = held(tmp_path, ours, rows()).outside
    assert "w32-s3: half_decay.rehearsed.seconds 12, before not measurable" in one.text()


def test_fewer_trials_are_compared_as_far_as_they_go(tmp_path: Path) -> None:
    assert held(tmp_path, rows()[:2], rows()).trials == 2


def test_another_stream_or_other_trials_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="saw another stream in w32-s0"):
        held(tmp_path, rows(stream="b2"), rows())
    with pytest.raises(ConfigError, match="has other trials"):
        held(tmp_path, rows(trial="x"), rows())
    with pytest.raises(ConfigError, match="must hold report/data/trials"):
        table_of(tmp_path)
    broken = tmp_path / "broken" / "data"
    broken.mkdir(parents=True)
    (broken / "trials.parquet").write_bytes(b"PAR1")
    with pytest.raises(ConfigError, match="must be a table of trials in Parquet"):
        compare(table_of(tmp_path / "broken"), table_of(tmp_path / "ours"))


@pytest.mark.timeout(200)
def test_a_report_says_whether_it_repeats_another(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    variants = [Made(name="fifo", gain=0.1), Made(name="reservoir", gain=0.2)]
    folder = study(tmp_path / "ours", [], variants, reference="fifo", rehearsal=False)
    assert report([str(folder)]) == 0
    assert report([str(folder), "--out", str(tmp_path / "again"), "--expect", str(folder)]) == 0
    assert "equal to the bit, 0 within tolerance, 0 outside; the same was found" in capsys.readouterr().out
