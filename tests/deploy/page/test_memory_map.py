"""The map of memory: right against its baseline, and bounded for ever."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deploy.page.memory_map import COLUMNS, ROOM, MemoryMap
from deploy.page.tail import Tail
from evaluator.experience import Kind

OPEN: Any = {"not_measurable": "too few"}


def head(version: int, time: float, *, world: float | None = 1.0, placebo: float | None = 0.5) -> dict[str, Any]:
    bits = {"bits": {"value": placebo, "low": None, "high": None}} if placebo is not None else {"bits": OPEN}
    return {
        "schema": 2, "row": "evaluation", "version": version, "step": version * 10, "created_ns": 0,
        "system_time": time, "health": {"trained": {}}, "learner_health": {}, "memory": {"placebo": bits},
        "worlds": {"w": {"bits": OPEN if world is None else {"value": world, "halves": [world, world]}}},
    }  # fmt: skip


def lived(version: int, name: str, bits: float | None, start: float | None, *, kind: str = "exposed") -> dict[str, Any]:
    fields = dict.fromkeys(("exposures", "admitted_step", "first_step", "last_step", "first_ns", "last_ns"))
    return {
        "schema": 2, "row": "experience", "version": version, "experience": name, "kind": kind, "visit": "v", **fields,
        "world": "w", "start": start, "end": None if start is None else start + 10,
        "measures": {"bits": OPEN if bits is None else {"value": bits, "halves": [bits, bits]}},
    }  # fmt: skip


def test_bits_are_held_against_the_world_at_the_same_version() -> None:
    memory = MemoryMap()
    memory.take([
        head(1, 20.0, world=1.0),
        lived(1, "b", 2.0, 10.0), lived(1, "a", 1.5, 0.0), lived(1, "c", 9.9, 15.0),
        lived(1, "h", 1.25, 5.0, kind="withheld"),
        head(4, 40.0, world=2.0),
        lived(4, "c", 2.5, 15.0), lived(4, "a", None, 0.0),
    ])  # fmt: skip
    found = memory.drawn()
    assert found["baseline"] == "world"
    assert [(row["name"], row["kind"]) for row in found["rows"]] == [
        ("a", "exposed"),
        ("b", "exposed"),
        ("c", "exposed"),
        ("h", "withheld"),
    ]
    # `c` was not over at version 1; what is not measured again keeps its last colour.
    np.testing.assert_allclose(found["cells"], [[0.5, 0.5], [1.0, 1.0], [math.nan, 0.5], [0.25, 0.25]])
    assert (found["times"], found["versions"], found["evaluations"]) == ([20.0, 40.0], [1, 4], 2)


def test_without_frames_of_the_world_the_placebos_are_the_baseline() -> None:
    memory = MemoryMap()
    memory.take(
        [head(1, 20.0, world=None, placebo=0.5), lived(1, "a", 2.0, 0.0), lived(1, "p", 0.6, None, kind="placebo")]
    )
    found = memory.drawn()
    assert found["baseline"] == "placebo"
    np.testing.assert_allclose(found["cells"], [[1.5], [0.1]], atol=1e-3)
    assert found["rows"][1]["start"] is not None
    assert math.isnan(found["rows"][1]["start"])


def test_malformed_rows_and_other_schemas_are_passed_over() -> None:
    memory = MemoryMap()
    broken = {**lived(1, "x", 1.0, 0.0), "kind": "unheard-of"}
    memory.take([
        lived(1, "early", 1.0, 0.0), head(1, 20.0), broken, {"schema": 1, "row": "evaluation"}, {},
        lived(1, "a", 2.0, 0.0), lived(7, "other", 2.0, 0.0),
    ])  # fmt: skip
    assert [row["name"] for row in memory.drawn()["rows"]] == ["a"]


def test_it_stays_bounded_and_spans_the_whole_run() -> None:
    memory = MemoryMap()
    for version in range(1, 1001):
        now = version * 10.0
        rows = [head(version, now + 10)]
        rows += [lived(version, f"e{at}", 3.0, at * 10.0) for at in range(max(0, version - 20), version)]
        rows += [lived(version, f"h{version}", 1.5, now - 5, kind="withheld")]
        rows += [lived(version, f"p{at}", 1.0, None, kind="placebo") for at in range(60)]
        memory.take(rows)
    found = memory.drawn()
    cells = np.asarray(found["cells"])
    kinds = [row["kind"] for row in found["rows"]]
    assert all(ROOM[kind] / 2 - 1 <= kinds.count(kind) <= ROOM[kind] for kind in Kind)
    assert cells.shape == (len(kinds), len(found["times"]))
    assert COLUMNS / 2 <= cells.shape[1] <= COLUMNS
    assert found["evaluations"] == 1000
    assert found["versions"][-1] == 1000
    assert found["times"][0] < 200
    exposed = [row["start"] for row in found["rows"] if row["kind"] == "exposed"]
    assert exposed == sorted(exposed)
    assert exposed[0] < 200
    assert exposed[-1] >= 9900
    gaps = np.diff(exposed)
    assert gaps[: len(gaps) // 4].mean() > gaps[-len(gaps) // 4 :].mean(), "the oldest stand widest apart"
    assert np.nanmax(cells) == pytest.approx(2.0)
    assert np.isfinite(cells[:, -1]).all(), "every row was measured at some time"


def test_two_evaluations_in_one_column_keep_the_later_number() -> None:
    memory = MemoryMap()
    for version in range(1, COLUMNS + 2):
        memory.take([head(version, version * 10.0), lived(version, "a", float(version), 0.0)])
        if version == 1:
            memory.take([lived(1, "b", 4.0, 0.0)])
    found = memory.drawn()
    cells = np.asarray(found["cells"])
    assert len(found["times"]) == COLUMNS // 2 + 1
    assert found["versions"][:2] == [2, 4]
    assert cells[0, :2].tolist() == [1.0, 3.0]
    assert cells[1, 0] == 3.0, "what only the earlier one measured is kept"


def test_the_file_is_read_as_it_grows(tmp_path: Path) -> None:
    path = tmp_path / "evaluations.jsonl"
    tail = Tail(path, piece=200)
    assert tail.read() == []
    assert not tail.behind
    path.write_bytes(b'{"a":1}\n[2]\nnonsense\n{"a":2}\n{"a":')
    assert tail.read() == [{"a": 1}, {"a": 2}]
    assert tail.behind
    assert tail.read() == []
    with path.open("ab") as file:
        file.write(b"3}\n" + json.dumps({"long": "x" * 500}).encode() + b"\n" + b'{"a":4}\n' * 60)
    found: list[Any] = []
    for _ in range(20):
        found += tail.read()
    assert not tail.behind
    assert found == [{"a": 3}, *[{"a": 4}] * 60], "a line longer than a piece is passed over, and nothing else"
