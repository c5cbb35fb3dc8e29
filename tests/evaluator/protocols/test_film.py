from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from common.errors import ConfigError
from common.messages import Datum
from common.recording import Manifest, Recording, RecordingWriter
from evaluator.protocols.film import Film, Visit, folds

type Make = Callable[..., Datum]


def record(path: Path, make_datum: Make, visits: str) -> Recording:
    """A recording of frames that hold their own number, each of the visit with this letter."""
    with RecordingWriter(path, of=Manifest.new("tour")) as writer:
        for number, name in enumerate(visits):
            frame = np.full((8, 8, 3), number, np.uint8)
            writer.write(make_datum(seq=number + 1, visit=name, world=f"w{name}", data=frame))
    return Recording(path)


def test_frames_are_found_by_their_place_in_their_visit(tmp_path: Path, make_datum: Make) -> None:
    film = Film(record(tmp_path / "a.rec", make_datum, "aababb"), (8, 8))
    assert film.visits == [Visit(name="a", world="wa", frames=3), Visit(name="b", world="wb", frames=3)]
    found = [(visit, int(frame[0, 0, 0])) for visit, frame in film.frames({"a": [0, 2], "b": [1]})]
    assert found == [(0, 0), (0, 3), (1, 4)]


def test_other_buffers_are_left_out(tmp_path: Path, make_datum: Make) -> None:
    with RecordingWriter(tmp_path / "a.rec", of=Manifest.new("tour")) as writer:
        for number, buffer in enumerate(("frames", "rewards", "frames", "frames")):
            data = np.full((8, 8, 3), number, np.uint8) if buffer == "frames" else np.zeros(3, np.float32)
            writer.write(make_datum(seq=number + 1, visit="ab"[number // 2], buffer=buffer, data=data))
    film = Film(Recording(tmp_path / "a.rec"), (8, 8))
    assert [visit.frames for visit in film.visits] == [1, 2]
    assert [int(frame[0, 0, 0]) for _, frame in film.frames({"a": [0], "b": [0, 1]})] == [0, 2, 3]


def test_what_does_not_fit_is_refused(tmp_path: Path, make_datum: Make) -> None:
    recording = record(tmp_path / "a.rec", make_datum, "ab")
    with pytest.raises(ConfigError, match=r"frames of shape \(8, 8, 3\), the encoder takes \(16, 16, 3\)"):
        Film(recording, (16, 16))
    with pytest.raises(ConfigError, match="has 1 visits"):
        Film(record(tmp_path / "b.rec", make_datum, "aaa"), (8, 8))


def test_folds_part_the_visits_of_a_world() -> None:
    visits = [Visit(name=f"{number}", world="abc"[number % 3], frames=9) for number in range(9)]
    dealt = folds(visits, 3)
    assert np.bincount(dealt).tolist() == [3, 3, 3]
    assert folds(visits[:2], 4).tolist() == [0, 1]
    four = folds([Visit(name=f"{number}", world="abcdef"[number % 6], frames=9) for number in range(12)], 4)
    for world in range(6):
        assert four[world] != four[world + 6]
