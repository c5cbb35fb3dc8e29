"""What a study's folder may hold: trials that are done, missing, given up, damaged, or on another stream."""

import json
from pathlib import Path
from typing import Any

import pytest

from common.errors import ConfigError
from deploy.studies.report.design import read_design
from deploy.studies.report.material import gather
from evaluator.scores import NotMeasurable, Score
from tests.deploy.studies.report.made import SMALL, Made, sizes, study, trial

WATTS = 10.0


@pytest.fixture
def small(tmp_path: Path) -> Path:
    axes, variants = sizes((1e4, 4e4))
    return study(tmp_path / "study", axes, variants, seeds=(0, 1), reference="s0")


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | changes), "utf-8")


def reasons(folder: Path) -> dict[str, tuple[str, str]]:
    return {one.name: (one.why, one.reason) for one in gather(folder, WATTS).absent}


def test_a_whole_study_is_read(small: Path) -> None:
    material = gather(small, WATTS)
    assert [trial.name for trial in material.trials] == ["s0-s0", "s0-s1", "s1-s0", "s1-s1"]
    assert not material.absent
    assert material.blocks.count == 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"v": 2}, "version 2"),
        ({"seeds": "all"}, "seeds = 'all'"),
        ({"axes": [{"name": "size"}]}, "levels"),
        ({"reference": "s9"}, "none of the variants"),
        ({"variants": None}, "variants"),
    ],
)
def test_a_damaged_study_is_refused_in_words(small: Path, changes: dict[str, Any], said: str) -> None:
    edit(small / "study.json", **changes)
    with pytest.raises(ConfigError, match=said):
        read_design(small)


def test_a_study_that_is_no_json_is_refused(small: Path) -> None:
    (small / "study.json").write_text("{", "utf-8")
    with pytest.raises(ConfigError, match="must be JSON"):
        read_design(small)


def test_what_tells_nothing_is_named_with_its_reason(small: Path) -> None:
    trials = small / "trials"
    (trials / "s0-s0" / "trial.json").write_text('{"v":1,', "utf-8")
    edit(trials / "s0-s1" / "trial.json", variant="s9")
    (trials / "s1-s0" / "trial.json").unlink()
    (trials / "s1-s0" / "failed.json").write_text('{"v":1,"error":"no memory","attempts":2}', "utf-8")
    (trials / "s1-s1" / "trial.json").unlink()
    found = reasons(small)
    assert {name: why for name, (why, _) in found.items()} == {
        "s0-s0": "damaged", "s0-s1": "damaged", "s1-s0": "failed", "s1-s1": "missing"
    }  # fmt: skip
    assert "'s9' is none of the study's" in found["s0-s1"][1]
    assert found["s1-s0"][1] == "given up after 2 attempts: no memory"
    assert found["s1-s1"][1] == "it has begun and not ended"


def test_rows_of_another_schema_or_damaged_ones_take_only_their_trial_out(small: Path) -> None:
    path = small / "trials" / "s0-s0" / "evaluations.jsonl"
    path.write_text(path.read_text("utf-8").replace('"schema":2', '"schema":3'), "utf-8")
    other = small / "trials" / "s1-s0" / "evaluations.jsonl"
    lines = other.read_text("utf-8").splitlines()
    other.write_text("\n".join([lines[0], "no row", *lines[1:]]) + "\n", "utf-8")
    found = reasons(small)
    assert "schema 3; this code reads 2" in found["s0-s0"][1]
    assert "line 2: not a JSON object" in found["s1-s0"][1]
    assert [one.condition.seeds for one in gather(small, WATTS).findings] == [[1], [1]]


def test_numbers_that_are_none_stay_out(small: Path) -> None:
    path = small / "trials" / "s0-s0" / "trial.json"
    path.write_text(path.read_text("utf-8").replace('"cpu_seconds": 115.0', '"cpu_seconds": NaN'), "utf-8")
    assert "NaN" in path.read_text("utf-8")
    one = gather(small, WATTS).findings[0]
    assert isinstance(one.scores["compute.cpu"][0], NotMeasurable)
    assert isinstance(one.scores["compute.cpu"][1], Score)


def test_a_trial_that_the_study_does_not_name_is_told_of(small: Path) -> None:
    trial(small / "trials" / "s7-s0", Made(name="s7"), 0, plan=SMALL,
          study_name="made")  # fmt: skip
    assert reasons(small) == {"s7-s0": ("damaged", "study.json does not name it")}


def test_streams_that_differ_between_variants_come_into_blocks(tmp_path: Path) -> None:
    axes, variants = sizes((1e4, 4e4, 1.6e5))
    odd = [*variants[:2], Made(name="s2", levels={"size": "s2"}, salt="other")]
    material = gather(study(tmp_path / "study", axes, odd, seeds=(0, 1)), WATTS)
    conditions = material.blocks.conditions
    assert [one.block for one in conditions] == [0, 0, 1]
    assert material.blocks.paired(conditions[0], conditions[1]) == [(0, 0), (1, 1)]
    assert material.blocks.paired(conditions[0], conditions[2]) == []
    assert "paired differences between these groups are refused" in material.blocks.said


def test_a_variant_on_mixed_streams_is_split(small: Path) -> None:
    axes, variants = sizes((1e4, 4e4))
    assert axes
    trial(small / "trials" / "s0-s2", Made(name="s0", levels={"size": "s0"}, salt="b"), 2, study_name="made",
          plan=SMALL)  # fmt: skip
    trial(small / "trials" / "s1-s2", variants[1], 2, study_name="made",
          plan=SMALL)  # fmt: skip
    names = [f"{name}-s{seed}" for seed in (0, 1, 2) for name in ("s0", "s1")]
    edit(small / "study.json", trials=names, seeds=[0, 1, 2])
    found = [(one.name, one.seeds) for one in gather(small, WATTS).blocks.conditions]
    assert found == [("s0 on 255a92/seed-100", [0, 1]), ("s0 on 255a92/b", [2]), ("s1", [0, 1, 2])]


def test_a_stream_of_its_own_for_every_seed_is_pooled(small: Path) -> None:
    for seed in (0, 1):
        for name in ("s0", "s1"):
            path = small / "trials" / f"{name}-s{seed}" / "trial.json"
            stream = json.loads(path.read_text("utf-8"))["stream"]
            edit(path, stream=stream | {"salt": f"seed-{seed}"})
    blocks = gather(small, WATTS).blocks
    assert [one.seeds for one in blocks.conditions] == [[0, 1], [0, 1]]
    assert (blocks.count, blocks.said, len(blocks.streams)) == (1, "", 2)
