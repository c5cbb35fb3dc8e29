import json
from pathlib import Path
from typing import Any

import pytest

from deploy.ranking import Interval, rank, table
from evaluator.probes import Task


def evaluation(images: int, world: float, place: tuple[float, float], depth: float | None = 0.2) -> dict[str, Any]:
    """One of two worlds with two walks of ten frames each, so that `place` gives the accuracy in each world."""
    walks = [[10 * place[0], 0.0, 10.0, 0.0], [0.0, 10 * place[1], 0.0, 10.0]]
    return {
        "images": images,
        "probes": {
            "world": {"value": world},
            "place": {"value": sum(place) / 2},
            "depth": {"not_measurable": "x"} if depth is None else {"value": depth},
        },
        "sums": {"place": walks},
        "health": {"rankme": 30.0 + images},
    }


def save(folder: Path, variant: str, seed: int, evaluations: list[dict[str, Any]], *, iid: bool = False) -> None:
    (folder / "runs").mkdir(parents=True, exist_ok=True)
    content: dict[str, Any] = {"v": 1, "variant": variant, "seed": seed, "iid": iid, "evaluations": evaluations}
    content["pixels"] = evaluation(0, 0.3, (0.6, 0.6))
    (folder / "runs" / f"{variant}-{seed}.json").write_text(json.dumps(content))


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    for seed, more in enumerate((0.0, 0.01, 0.02)):
        start = evaluation(0, 0.4 + more, (0.2, 0.2))
        save(tmp_path, "iid", seed, [start, evaluation(9, 0.6 + more, (0.4, 0.4 + more), 0.6)], iid=True)
        save(tmp_path, "iid-worse", seed, [start, evaluation(9, 0.45, (0.2, 0.2), 0.2)], iid=True)
        forgot = [start, evaluation(5, 0.5, (0.5, 0.3)), evaluation(9, 0.5 + more, (0.3, 0.4), 0.4)]
        save(tmp_path, "fifo", seed, forgot)
    return tmp_path


def test_gains_are_paired_and_ratios_are_over_the_best_bound(sweep: Path) -> None:
    rows, bound = rank(sweep)
    assert bound == "iid"
    assert [row.variant for row in rows] == ["iid", "fifo", "iid-worse"]
    fifo = rows[1]
    assert fifo.seeds == (0, 1, 2)
    assert fifo.scores[Task.WORLD].value == pytest.approx(0.51)
    assert fifo.gains[Task.WORLD].value == pytest.approx(0.1)
    assert fifo.gains[Task.WORLD].half == pytest.approx(0.0, abs=1e-9)
    assert fifo.ratios[Task.WORLD].value == pytest.approx(0.5)
    assert fifo.ratios[Task.DEPTH].value == pytest.approx(0.5)
    assert rows[0].ratios[Task.WORLD].value == pytest.approx(1.0)


def test_forgetting_is_best_minus_last_by_world(sweep: Path) -> None:
    rows, _ = rank(sweep)
    assert rows[1].forgetting.value == pytest.approx(((0.5 - 0.3) + (0.3 - 0.4)) / 2)
    assert rows[0].forgetting.text() == "–"


def test_no_ratio_where_the_bound_itself_gains_nothing_for_sure(tmp_path: Path) -> None:
    for seed, gain in enumerate((0.2, -0.1)):
        save(tmp_path, "iid", seed, [evaluation(0, 0.4, (0.2, 0.2)), evaluation(9, 0.4 + gain, (0.3, 0.3))], iid=True)
    rows, _ = rank(tmp_path)
    assert Task.WORLD not in rows[0].ratios
    assert Task.PLACE in rows[0].ratios


def test_a_sweep_without_a_bound_has_no_ratios(tmp_path: Path) -> None:
    save(tmp_path, "fifo", 0, [evaluation(0, 0.4, (0.2, 0.2)), evaluation(9, 0.5, (0.3, 0.3))])
    rows, bound = rank(tmp_path)
    assert bound is None
    assert rows[0].ratios == {}
    assert rows[0].gains[Task.WORLD].half is None
    assert "| fifo | 1 | 0.500 (0.100)" in table(tmp_path)


def test_the_table_names_the_bound_and_is_markdown(sweep: Path) -> None:
    lines = table(sweep).splitlines()
    assert len({line.count("|") for line in lines}) == 1
    assert lines[2].startswith("| **iid** (bound) | 3 | 0.610 (0.200 ± 0.000)")
    assert lines[-2].startswith("| random-init |  | 0.410 ± 0.025")
    assert lines[-1].startswith("| 8×8 pixels |  | 0.300")


def test_intervals_are_students(tmp_path: Path) -> None:
    interval = Interval.of([1.0, 2.0, 3.0])
    assert interval.value == 2.0
    assert interval.half == pytest.approx(4.303 / 3**0.5)
    assert not interval.above_zero
    assert Interval.of([1.0]).half is None
