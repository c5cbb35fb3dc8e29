from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from common.config.run import RunConfig
from common.errors import EngramError
from evaluator.probeset import ProbeSet, ProbeSpec
from tests.evaluator.walks import probe_set, spec, stays, walks


def test_every_fourth_walk_of_each_world_is_the_test_set() -> None:
    made = probe_set(spec(worlds=2, placebo=1, trajectories=9, frames=5))
    for world in range(3):
        here = made.world == world
        numbers = np.unique(made.walk[here & made.is_test]) - world * 9
        assert numbers.tolist() == [3, 7]
    assert not set(made.walk[made.is_test]) & set(made.walk[~made.is_test])


def test_labels_stay_with_their_frames() -> None:
    made = spec(worlds=2, placebo=1, trajectories=4, frames=6)
    given = list(walks(made))
    found = ProbeSet.from_walks(made, reversed(given), stays(made))
    for name, frames, labels in given:
        place = next(n for n, frame in enumerate(found.frames) if np.array_equal(frame, frames[2]))
        assert made.names[found.world[place]] == name
        assert found.x[place] == np.float32(labels[2].x)
        assert np.array_equal(found.depth[place], labels[2].depth)


def test_placebo_worlds_come_last() -> None:
    assert probe_set(spec(worlds=2, placebo=1, trajectories=4, frames=5)).placebo == (False, False, True)


def test_cells_are_squares_of_256_units_in_each_world() -> None:
    made = probe_set(spec(worlds=2, placebo=0, trajectories=4, frames=5))
    moved = replace(
        made,
        x=np.tile(np.array([0, 255, 256, -1, 0], np.float32), 8),
        y=np.tile(np.array([0, 255, 0, 0, 256], np.float32), 8),
    )
    first, second = moved.cell[:5], moved.cell[20:25]
    assert first[0] == first[1]
    assert len(set(first)) == 4
    assert not set(first) & set(second)


def test_survives_the_disk(tmp_path: Path) -> None:
    made = probe_set(spec(worlds=1, placebo=1, trajectories=4, frames=4))
    path = made.spec.cache_path(str(tmp_path / "new"))
    made.save(path)
    again = ProbeSet.load(path)
    assert again.spec == made.spec
    for item in fields(ProbeSet):
        if item.name != "spec":
            one, two = getattr(made, item.name), getattr(again, item.name)
            assert one.dtype == two.dtype
            assert np.array_equal(one, two)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_broken_file_is_refused_and_named(tmp_path: Path) -> None:
    path = tmp_path / "probes.safetensors"
    probe_set(spec(worlds=1, placebo=0, trajectories=4, frames=4)).save(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(EngramError, match=r"probes\.safetensors"):
        ProbeSet.load(path)
    path.write_bytes(b"")
    with pytest.raises(EngramError, match=r"probes\.safetensors"):
        ProbeSet.load(path)


def test_another_schema_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "probes.safetensors"
    monkeypatch.setattr("evaluator.probeset.SCHEMA", 99)
    probe_set(spec(worlds=1, placebo=0, trajectories=4, frames=4)).save(path)
    monkeypatch.undo()
    with pytest.raises(EngramError, match="schema 99"):
        ProbeSet.load(path)


def test_digest_depends_on_every_field() -> None:
    base = spec()
    others = [
        replace(base, worlds=("w0", "w1")),
        replace(base, worlds=("w0", "w1", "w2", "p0"), placebo=()),
        replace(base, trajectories=9),
        replace(base, frames=21),
        replace(base, every=0.5),
        replace(base, image_size=(24, 48)),
        replace(base, seed=6),
    ]
    assert len({item.digest() for item in [base, *others]}) == 8
    assert base.digest() == replace(base).digest()


def test_spec_of_a_run_has_all_its_worlds() -> None:
    run = RunConfig()
    made = ProbeSpec.of(run)
    assert made.names == run.world.worlds + run.world.placebo_worlds
    assert ProbeSpec.of(replace(run, seed=9)).digest() == made.digest()


@pytest.mark.parametrize("fault", ["world", "frames", "number", "labels"])
def test_walks_must_fit_the_spec(fault: str) -> None:
    made = spec(worlds=1, placebo=0, trajectories=4, frames=4)
    given = list(walks(made))
    name, frames, labels = given[0]
    given[0] = {
        "world": ("elsewhere", frames, labels),
        "frames": (name, frames[:, :-1] if isinstance(frames, np.ndarray) else frames, labels),
        "labels": (name, frames, labels[:-1]),
        "number": given[0],
    }[fault]
    with pytest.raises(ValueError, match=r"w0|elsewhere"):
        ProbeSet.from_walks(made, given[1:] if fault == "number" else given, ())


@pytest.mark.parametrize("fault", ["world", "frames", "number"])
def test_stays_must_fit_the_spec(fault: str) -> None:
    made = spec(worlds=1, placebo=1, trajectories=4, frames=4, stay_frames=6)
    given = list(stays(made))
    name, frames = given[0]
    given[0] = {"world": ("w0", frames), "frames": (name, frames[1:]), "number": given[0]}[fault]
    with pytest.raises(ValueError, match="stay"):
        ProbeSet.from_walks(made, walks(made), given[1:] if fault == "number" else given)
