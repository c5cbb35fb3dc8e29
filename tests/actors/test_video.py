"""The world `video`, on real files."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from actors.worlds import check_worlds, make_environment
from actors.worlds.film import Film, find_films
from actors.worlds.kinds import WorldEnded
from common.config import VisitOrder, WorldConfig
from common.errors import ConfigError, ImageError, RunError
from common.messages import Observation
from tests.actors.films import film, picture


def world(*paths: Path, **changes: object) -> WorldConfig:
    base = WorldConfig(kind="video", worlds=tuple(map(str, paths)), placebo_worlds=(), image_size=(16, 16), loop=False)
    return replace(base, **changes)  # pyright: ignore[reportArgumentType]


def watch(config: WorldConfig, *, fps: float = 10.0, steps: int = 1000) -> list[Observation]:
    now = 0.0
    environment = make_environment(config, fps=fps, seed=0, clock=lambda: now)
    environment.setup()
    seen: list[Observation] = []
    try:
        for step in range(steps):
            now = step / fps
            seen.append(environment.observe())
            environment.affect(np.zeros(2, np.float32))
    except WorldEnded:
        pass
    finally:
        environment.teardown()
    return seen


def values(seen: list[Observation]) -> list[int]:
    return [round(float(one.frame.mean())) for one in seen]


def test_a_variable_rate_is_played_by_its_time_stamps(tmp_path: Path) -> None:
    moments = [0.0, 0.04, 0.08, 0.5, 0.52, 0.9, 1.0]
    path = film(tmp_path / "a.mkv", [(moment, picture(10 * number)) for number, moment in enumerate(moments)])
    assert values(watch(world(path))) == [0, 20, 20, 20, 20, 30, 40, 40, 40, 50, 60]


def test_faster_and_slower_films_take_their_own_time(tmp_path: Path) -> None:
    fast = film(
        tmp_path / "fast.mp4", [(number / 30, picture(60 + number)) for number in range(60)], "mpeg4", "yuv420p"
    )
    slow = film(
        tmp_path / "slow.mkv", [(number / 2, picture(100 + number)) for number in range(4)], "libx264", "yuv444p"
    )
    seen = watch(world(fast, slow))
    assert [one.world for one in seen] == ["fast"] * 20 + ["slow"] * 20
    assert [one.visit for one in seen] == [0] * 20 + [1] * 20
    assert [round(one.visit_time, 3) for one in seen] == [number / 10 for number in range(20)] * 2
    assert np.abs(np.array(values(seen)[:20]) - (60 + 3 * np.arange(20))).max() < 6
    assert np.abs(np.array(values(seen)[20:]) - (100 + np.arange(20) // 5)).max() <= 2


def test_a_change_of_resolution_is_cut_and_scaled_anew(tmp_path: Path) -> None:
    sizes = ((48, 64), (96, 64), (16, 16))
    parts = [
        film(tmp_path / f"{n}.ts", [(i / 10, picture(50 * n, size)) for i in range(5)], "libx264", "yuv420p")
        for n, size in enumerate(sizes)
    ]
    joined = tmp_path / "joined.ts"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    seen = watch(world(joined))
    assert {one.frame.shape for one in seen} == {(16, 16, 3)}
    shown = np.array(values(seen))
    assert [int(np.abs(shown - 50 * n).min()) <= 3 for n in range(3)] == [True] * 3


def test_films_fade_into_each_other_and_are_shown_again(tmp_path: Path) -> None:
    for name, value in (("a", 0), ("b", 200)):
        film(tmp_path / f"{name}.mkv", [(number / 10, picture(value)) for number in range(10)])
    seen = watch(world(tmp_path, fade=0.4, loop=True), steps=25)
    assert values(seen)[9:15] == [0, 0, 50, 100, 150, 200]
    assert [one.world for one in seen] == ["a"] * 12 + ["b"] * 10 + ["a"] * 3
    assert [one.visit for one in seen] == [0] * 12 + [1] * 10 + [2] * 3
    assert round(seen[11].visit_time, 3) == 1.1


def test_labels_come_from_the_table_beside_the_film(tmp_path: Path) -> None:
    film(tmp_path / "a.mkv", [(number / 10, picture(number)) for number in range(30)])
    columns = ["time", "x", "y", "heading", *(f"depth{n}" for n in range(9)), "n_door", "world"]
    rows = [
        [0.0, 1.5, -2, 0.5, *range(9), 2, "hall"],
        [0.1, 2.5, -2, 0.5, *range(9), 0, "hall"],
        [2.0, 3.5, -2, 0.5, *range(9), 1, "cellar"],
    ]
    table = "\n".join(",".join(map(str, row)) for row in (columns, *rows))
    (tmp_path / "a.labels.csv").write_text(table)
    seen = watch(world(tmp_path / "a.mkv"))
    assert [one.labels.x if one.labels else None for one in seen] == [1.5] + [2.5] * 11 + [None] * 8 + [3.5] * 10
    assert [one.world for one in seen] == ["hall"] * 20 + ["cellar"] * 10
    assert (seen[20].visit, round(seen[20].visit_time, 3)) == (1, 0.0)
    assert seen[0].labels is not None
    assert seen[0].labels.objects == {"door": 2}
    assert seen[0].labels.depth.tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]


def test_labels_follow_the_films_own_stamps_over_a_gap(tmp_path: Path) -> None:
    """A recorder that was asleep for a minute and a half: the gap is not waited for, and shifts no label."""
    moments = [*(number / 10 for number in range(10)), *(90 + number / 10 for number in range(10))]
    film(tmp_path / "a.mkv", [(moment, picture(number)) for number, moment in enumerate(moments)])
    (tmp_path / "a.labels.csv").write_text("time,world\n0,one\n60,lobby\n90,two\n")
    seen = [one.world for one in watch(world(tmp_path / "a.mkv"))]
    assert seen == ["one"] * seen.count("one") + ["two"] * seen.count("two")
    assert 9 <= seen.count("one") <= 10 <= seen.count("two") + 1


def test_stamps_that_begin_anew_end_the_labels(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    parts = [
        film(tmp_path / f"{n}.ts", [(i / 10, picture(100)) for i in range(10)], "libx264", "yuv420p") for n in (0, 1)
    ]
    (tmp_path / "a.ts").write_bytes(b"".join(part.read_bytes() for part in parts))
    (tmp_path / "a.labels.csv").write_text("time,world\n0,one\n")
    seen = [one.world for one in watch(world(tmp_path / "a.ts"))]
    assert "one" in seen
    assert seen[-1] == "a"
    assert "from there on it has no labels" in caplog.text


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("x,y\n1,2", "must have a column time"),
        ("time,x\n0,1", "must have all of x, y, heading"),
        ("time,world\n0,a\n0,b", "row 1: time = 0 must be above 0"),
        ("time,world\n0,\n", "world = None must be a printable name"),
        ("time,n_door\n0,nan\n", "n_door = None is no finite number"),
        ("", "cannot be read"),
    ],
)
def test_a_table_that_cannot_be_is_refused_before_anything_starts(tmp_path: Path, table: str, said: str) -> None:
    path = film(tmp_path / "a.mkv", [(number / 10, picture(number)) for number in range(3)])
    (tmp_path / "a.labels.csv").write_text(table)
    with pytest.raises(ConfigError, match=said):
        check_worlds(world(path))


def test_folders_of_pictures_are_films_too(tmp_path: Path) -> None:
    (tmp_path / "stills").mkdir()
    for number in range(4):
        Image.fromarray(picture(40 * number)).save(tmp_path / "stills" / f"{number}.png")
    (tmp_path / "stills" / "2.png").write_bytes(b"no picture")
    check_worlds(world(tmp_path / "stills"))
    assert values(watch(world(tmp_path / "stills"))) == [0, 40, 40, 120, 120]


def test_what_is_no_film_is_refused_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mkv").write_text("no video")
    for name, said in (
        ("empty.mp4", "cannot be read at all"),
        ("text.mkv", "cannot be read at all"),
        ("gone", "must be"),
    ):
        with pytest.raises(ConfigError, match=said) as error:
            check_worlds(world(tmp_path / name))
        assert "\n" not in str(error.value)
    (tmp_path / "a").mkdir()
    for path in (tmp_path / "x.mkv", tmp_path / "a" / "x.mkv"):
        film(path, [(0.0, picture(1)), (0.1, picture(2))])
    with pytest.raises(ConfigError, match="names two films"):
        find_films([str(tmp_path / "x.mkv"), str(tmp_path / "a" / "x.mkv")])
    (tmp_path / "empty.mp4").unlink()
    (tmp_path / "text.mkv").unlink()
    assert [found.name for found in find_films([str(tmp_path)])] == ["a/x", "x"]


def test_a_film_that_breaks_off_gives_way_to_the_next(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 48, 64, 3), dtype=np.uint8)
    broken = film(tmp_path / "a.mkv", [(number / 10, noise[number]) for number in range(40)])
    broken.write_bytes(broken.read_bytes()[: broken.stat().st_size // 2])
    film(tmp_path / "b.mkv", [(number / 10, picture(7)) for number in range(10)])
    seen = watch(world(tmp_path))
    assert [one.world for one in seen][-10:] == ["b"] * 10
    assert 15 <= [one.world for one in seen].count("a") <= 21


def test_flipped_bits_end_nothing_and_what_the_decoder_marks_is_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (20, 48, 64, 3), dtype=np.uint8)
    path = film(tmp_path / "a.mkv", [(number / 10, noise[number]) for number in range(20)], "libx264", "yuv444p")
    whole = path.read_bytes()
    for place in range(2000, len(whole) - 2000, len(whole) // 20):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 16]) + whole[place + 1 :])
        seen = watch(world(path))
        assert 15 <= len(seen) <= 20
        assert [round(one.visit_time, 3) for one in seen] == [number / 10 for number in range(len(seen))]
    assert "frames are damaged and were left out" in caplog.text


def test_films_that_vanish_end_the_actor_with_a_line(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mkv", [(number / 10, picture(3)) for number in range(5)])
    now = 0.0
    environment = make_environment(world(path, loop=True, order=VisitOrder.RANDOM), fps=10.0, seed=0, clock=lambda: now)
    environment.setup()
    environment.observe()
    path.unlink()
    now = 1.0
    with pytest.raises(RunError, match="none of 1 films can be read"):
        environment.observe()
    environment.teardown()
    with pytest.raises(ImageError, match="cannot be read at all"):
        next(iter(Film("a", path).frames(10.0)))
