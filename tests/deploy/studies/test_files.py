"""Studies as files: what they become, and what is refused before anything starts."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from common.errors import ConfigError
from deploy.studies.files import find, load, presets
from deploy.studies.pace import Match
from deploy.studies.plan import encoder_parameters
from tests.deploy.studies.streams import record

NARROW = {"learner.model.dim": 24, "learner.model.heads": 2}
WIDE = {"learner.model.dim": 96, "learner.model.heads": 2}


def write(path: Path, **changes: object) -> Path:
    content: dict[str, Any] = {"v": 2, "variants": {"fifo": None, "reservoir": {"learner.replay.keep": "reservoir"}}}
    path.write_text(yaml.safe_dump({**content, **changes}, sort_keys=False))
    return path


def test_axes_are_combined_and_other_conditions_stand_beside_them(tmp_path: Path) -> None:
    axes = {
        "size": {"value": "parameters", "log": True, "levels": {"s": NARROW, "l": WIDE}},
        "buffer": {"value": "learner.replay.capacity", "levels": {"512": {"learner.replay.capacity": 512}}},
        "keep": {"levels": {"fifo": {"learner.replay.keep": "fifo"}, "all": {"learner.replay.keep": "reservoir"}}},
    }
    path = write(tmp_path / "two.yaml", axes=axes, variants={"bound": {"iid": True}}, bound="bound", seeds=2)
    study = load(path)
    assert study.name == "two"
    assert [variant.name for variant in study.conditions] == [
        "s-512-fifo", "s-512-all", "l-512-fifo", "l-512-all", "bound",
    ]  # fmt: skip
    assert [variant.iid for variant in study.conditions] == [False] * 4 + [True]
    trials = study.trials(tmp_path)
    assert [trial.name for trial in trials[:5]] == [f"{variant.name}-s0" for variant in study.conditions]
    assert len({trial.name for trial in trials}) == len(trials) == 10
    first = trials[0]
    assert first.config.learner.replay.capacity == first.numbers["buffer"] == 512
    assert first.numbers["size"] == encoder_parameters(first.config) < trials[2].numbers["size"]
    assert "keep" not in first.numbers
    assert trials[4].numbers == {}


def test_seeds_change_the_learner_and_neither_the_stream_nor_what_is_withheld(tmp_path: Path) -> None:
    study = load(write(tmp_path / "a.yaml", seeds=[3, 5], stream_seed=9))
    trials = study.trials(tmp_path / "recordings")
    assert {trial.config.seed for trial in trials} == {3, 5}
    assert {trial.config.stream.salt for trial in trials} == {"seed-9"}
    assert len({trial.recording for trial in trials}) == 1
    assert study.stream(study.conditions[0]).seed == 9


def test_each_distinct_stream_is_a_recording_of_its_own(tmp_path: Path) -> None:
    levels = {"short": {"world.visit": 30}, "long": {"world.visit": 120}}
    axes = {
        "visit": {"value": "world.visit", "unit": "s", "levels": levels},
        "size": {"levels": {"s": NARROW, "l": WIDE}},
    }
    trials = load(write(tmp_path / "a.yaml", axes=axes, variants={}, seeds=1)).trials(tmp_path)
    by_visit = {(trial.config.world.visit, trial.recording) for trial in trials}
    assert len(by_visit) == len({path for _, path in by_visit}) == 2
    other = load(write(tmp_path / "b.yaml", axes=axes, variants={}, seeds=1, stream_seed=1)).trials(tmp_path)
    assert not {trial.recording for trial in trials} & {trial.recording for trial in other}


def test_a_recording_that_is_there_decides_what_the_stream_is(tmp_path: Path) -> None:
    record(tmp_path / "places.rec", seconds=20)
    study = load(write(tmp_path / "a.yaml", recording="places.rec", base={"learner.model.patch_size": 4}))
    (trial, *_) = study.trials(tmp_path / "nowhere")
    assert trial.recording == tmp_path / "places.rec"
    assert trial.config.world.image_size == (24, 24)
    assert trial.config.stream.experience == 2.0
    assert trial.config.stream.salt == "seed-7"
    assert trial.config.duration == 20.0
    with pytest.raises(ConfigError, match=r"fifo: world\.visit.*decided by the stream"):
        load(
            write(
                tmp_path / "b.yaml",
                recording="places.rec",
                base={"learner.model.patch_size": 4},
                variants={"fifo": {"world.visit": 5}},
            )
        )


IMPOSSIBLE: list[tuple[dict[Any, Any], str]] = [
    ({"v": 1}, "must be a study of schema 2"),
    ({"colour": 1}, r"study\.colour.*unknown field"),
    ({"name": "a/b"}, r"study\.name"),
    ({"preset": "none"}, r"study\.preset"),
    ({"variants": {}}, "needs levels on its axes, or variants"),
    ({"variants": {"a": {"learner.lr": 1.0}}}, r"a: learner\.lr"),
    ({"variants": {"a": {"learner.optim.lr": -1.0}}}, r"a: learner\.optim\.lr = -1"),
    ({"variants": {"a": {"learner.ranks": 2}}}, r"a: learner\.ranks"),
    ({"variants": {"a": {"iid": "yes"}}}, r"study\.variants\.a\.iid"),
    ({"axes": {"x": {"levels": {"a": {"iid": "false"}}}}}, r"study\.axes\.x\.levels\.a\.iid"),
    ({"axes": {"x": {"value": "learner.lr", "levels": {"a": {}}}}}, r"study\.axes\.x\.value.*that is a number"),
    ({"axes": {"x": {"value": "world.kind", "levels": {"a": {}}}}}, r"study\.axes\.x\.value.*that is a number"),
    ({"axes": {"x": {"log": "no", "levels": {"a": {}}}}}, r"study\.axes\.x\.log"),
    (
        {"axes": {name: {"levels": {name: {"learner.optim.lr": 1.0}}} for name in "ab"}},
        r"study\.axes\.a = 'learner\.optim\.lr': is changed by the axis b too",
    ),
    ({"axes": {f"x{i}": {"levels": {f"{'long' * 15}{i}": {}}} for i in range(4)}}, "more than 200 letters"),
    ({"base": {"seed": 5}}, r"base: seed.*stand in `seeds`"),
    ({"variants": {True: {}}}, "put it in quotes"),
    ({"stream_seed": 1.5}, r"study\.stream_seed"),
    ({"preset": ["demo"]}, r"study\.preset.*text"),
    ({"bound": ["a"]}, r"study\.bound.*text"),
    ({"recording": ""}, r"study\.recording.*must be a path"),
    ({"rate": float("nan")}, r"study\.rate.*a number"),
    ({"variants": ["a"]}, "must be a mapping"),
    ({"base": {"duration": 0}}, r"fifo: duration.*a stream needs an end"),
    ({"base": {"learner.replay.keep": "best"}}, "must be one of fifo, reservoir"),
    ({"axes": {"size": {"levels": {}}}}, r"study\.axes\.size\.levels"),
    ({"axes": {"size": {"steps": {}}}}, r"study\.axes\.size\.steps"),
    ({"axes": {"x": {"levels": {"fifo": {}}}}}, "a name of its own"),
    ({"seeds": []}, r"study\.seeds"),
    ({"seeds": [1, 1]}, r"study\.seeds"),
    ({"seeds": [-1]}, r"study\.seeds"),
    ({"seeds": "many"}, r"study\.seeds"),
    ({"match": "luck"}, r"study\.match.*steps, clock"),
    ({"match": "clock"}, r"study\.rate"),
    ({"rate": 1e9}, r"study\.rate"),
    ({"rate": "fast"}, r"study\.rate.*a number"),
    ({"gpus": -1}, r"study\.gpus"),
    ({"bound": "nobody"}, r"study\.bound.*must be one of fifo, reservoir"),
    ({"bound": "fifo"}, "`iid: true`"),
    ({"reference": "nobody"}, r"study\.reference"),
    ({"recording": "a.rec", "videos": "films"}, r"study\.videos"),
    ({"videos": "films"}, r"study\.videos.*must be a video"),
]


@pytest.mark.parametrize(("changes", "said"), IMPOSSIBLE)
def test_what_cannot_be_is_refused_with_its_name(tmp_path: Path, changes: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load(write(tmp_path / "study.yaml", **changes))


def test_a_condition_that_stands_twice_is_refused(tmp_path: Path) -> None:
    """YAML's own reading keeps the last one."""
    (tmp_path / "twice.yaml").write_text("v: 2\nvariants:\n  a: {}\n  1: {}\n  '1': {}\n")
    with pytest.raises(ConfigError, match=r"'1' stands here twice.*line 3"):
        load(tmp_path / "twice.yaml")


def test_each_condition_of_videos_has_a_stream_of_its_own_and_so_has_each_change_of_them(tmp_path: Path) -> None:
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / "a.mkv").write_bytes(b"a")
    levels = {str(fps): {"actors.fps": fps} for fps in (5, 10)}
    path = write(tmp_path / "a.yaml", videos="films", variants=levels, seeds=1)
    first = {trial.recording for trial in load(path).trials(tmp_path)}
    assert len(first) == 2
    (tmp_path / "films" / "b.mkv").write_bytes(b"b")
    assert not first & {trial.recording for trial in load(path).trials(tmp_path)}


def test_unreadable_files_and_unknown_names_say_what_there_is(tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text("a: [")
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path / "broken.yaml")
    with pytest.raises(ConfigError, match=r"model_size \(.*small"):
        find("modelsize", "small")
    with pytest.raises(ConfigError, match="small"):
        find("model_size", "huge")


def test_every_study_of_the_program_is_possible_at_both_scales() -> None:
    assert set(presets()) == {"buffer", "model_size", "revisit", "technique", "visit_length"}
    for name, scales in presets().items():
        assert set(scales) == {"large", "small"}, name
        for scale in scales:
            study = load(find(name, scale))
            assert study.name == name
            assert study.title, name
            assert study.question, name
            assert len(study.seeds) >= 3, name
            assert study.match is Match.STEPS or study.rate > 0
            # A cycle would let a network foresee a return.
            assert {study.stream(variant).world.order for variant in study.conditions} <= {"random", "shuffle"}, name


def test_the_small_size_study_spans_what_it_promises() -> None:
    study = load(find("model_size", "small"))
    (axis,) = study.axes
    counts = [axis.number(study.config(variant, 0)) or 0 for variant in study.conditions]
    assert len(counts) >= 4
    assert max(counts) >= 16 * min(counts)
