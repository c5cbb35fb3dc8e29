import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from numpy.typing import NDArray
from pamiq_core import time as system_time

from actors.worlds import check_worlds, make_environment
from actors.worlds.doom import DoomEnvironment
from actors.worlds.doom_game import Doom, choose_screen
from actors.worlds.picture import Picture
from actors.worlds.sensor_log import read_sensor_log
from actors.worlds.wads import known_worlds, parse_world, standing_places
from actors.worlds.walks import record_walk
from common.config.run import WorldConfig
from common.errors import ConfigError
from common.messages import Action, Observation

FORWARD = np.array([1, 0, 0, 0], np.float32)
STILL = np.zeros(4, np.float32)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def config(*worlds: str, visit: float = 1e6, image_size: tuple[int, int] = (96, 96)) -> WorldConfig:
    return WorldConfig(worlds=worlds or ("freedoom2:map01",), placebo_worlds=(), visit=visit, image_size=image_size)


def engines(of: psutil.Process | None = None) -> list[psutil.Process]:
    children = (of or psutil.Process()).children(recursive=True)
    return [child for child in children if child.is_running() and "vizdoom" in child.name()]


def wait_until_gone(processes: list[psutil.Process], seconds: float) -> list[psutil.Process]:
    return psutil.wait_procs(processes, timeout=seconds)[1]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def environment(clock: Clock) -> Iterator[DoomEnvironment]:
    made = DoomEnvironment.from_config(config(), fps=10, seed=0, clock=clock)
    made.setup()
    yield made
    made.teardown()


class TestNames:
    def test_all_maps_of_both_files_can_be_parsed_and_entered(self) -> None:
        assert len(known_worlds()) == 68
        for world in known_worlds():
            assert ":".join(parse_world(world)) == world
            assert standing_places(world), world

    @pytest.mark.parametrize("name", ["freedoom2:map33", "freedoom3:map01", "map01", "", "freedoom1:map01"])
    def test_unknown_world_is_named(self, name: str) -> None:
        with pytest.raises(ConfigError, match="must be one of") as caught:
            parse_world(name)
        assert caught.value.value == name

    def test_check_worlds_names_the_field(self) -> None:
        check_worlds(WorldConfig())
        with pytest.raises(ConfigError) as caught:
            check_worlds(WorldConfig(placebo_worlds=("freedoom2:map99",)))
        assert caught.value.field == "world.placebo_worlds"
        with pytest.raises(ConfigError, match=r"world\.kind = 'moon': must be one of doom"):
            check_worlds(WorldConfig(kind="moon"))
        assert not engines()


class TestPicture:
    @pytest.mark.parametrize("size", [(96, 96), (144, 144), (64, 128), (200, 60), (1024, 1024), (17, 19)])
    def test_screen_is_at_least_as_large_where_one_is(self, size: tuple[int, int]) -> None:
        _, screen = choose_screen(size)
        window = Picture(screen, size).window
        assert window.width / window.height == pytest.approx(size[1] / size[0], rel=0.03)
        assert window.height >= size[0]
        assert window.width >= size[1]

    def test_scaling_keeps_brightness_and_place(self) -> None:
        screen_hwC = np.zeros((120, 160, 3), np.uint8)
        screen_hwC[:60, 80:, 1] = 200
        frame_HWC = Picture((120, 160), (96, 96)).frame(screen_hwC)
        assert frame_HWC.shape == (96, 96, 3)
        assert frame_HWC.dtype == np.uint8
        assert (frame_HWC[:47, 49:, 1] == 200).all()
        assert not frame_HWC[49:].any()
        assert not frame_HWC[..., 0].any()
        assert frame_HWC[..., 1].mean() == pytest.approx(50, abs=0.5)


class TestGame:
    @pytest.mark.parametrize("size", [(96, 96), (72, 128), (240, 100)])
    def test_frames_have_the_size_asked_for(self, size: tuple[int, int]) -> None:
        game = Doom("freedoom1:e1m1", image_size=size, seed=0)
        frame = game.look().frame
        game.close()
        assert frame.shape == (*size, 3)
        assert frame.dtype == np.uint8
        assert frame.std() > 2

    def test_depth_does_not_depend_on_the_size_of_the_screen(self) -> None:
        grids: list[NDArray[np.float32]] = []
        for size in ((96, 96), (240, 240)):
            game = Doom("freedoom2:map01", image_size=size, seed=3)
            grids.append(game.look().labels.depth)
            game.close()
        assert grids[0] == pytest.approx(grids[1], abs=16)

    def test_forward_moves_along_the_heading_and_turn_is_to_the_left(self, environment: DoomEnvironment) -> None:
        for _ in range(18):
            for _ in range(3):
                environment.affect(FORWARD)
            before = environment.observe().labels
            environment.affect(FORWARD)
            after = environment.observe().labels
            assert before is not None
            assert after is not None
            step = np.array([after.x - before.x, after.y - before.y])
            if np.hypot(*step) > 20:
                assert np.arctan2(step[1], step[0]) == pytest.approx(before.heading, abs=0.5)
                break
            environment.affect(np.array([0, 0, 1, 0], np.float32))
        else:
            pytest.fail("nowhere to walk to")
        before = environment.observe().labels
        environment.affect(np.array([0, 0, 0.5, 0], np.float32))
        after = environment.observe().labels
        assert before is not None
        assert after is not None
        turned = (after.heading - before.heading + np.pi) % (2 * np.pi) - np.pi
        assert np.degrees(turned) == pytest.approx(10, abs=0.5)

    def test_bad_numbers_do_no_harm(self, environment: DoomEnvironment) -> None:
        environment.affect(np.array([np.nan, np.inf, -np.inf, np.nan], np.float32))
        environment.affect(np.full(4, 1e9, np.float32))
        assert environment.observe().frame.shape == (96, 96, 3)

    def test_engine_that_dies_is_started_again_in_the_same_visit(self, environment: DoomEnvironment) -> None:
        before = environment.observe()
        for engine in engines():
            engine.kill()
        environment.affect(FORWARD)
        environment.affect(FORWARD)
        after = environment.observe()
        assert (after.visit, after.world) == (before.visit, before.world)
        assert environment.tour.restarts == 1

    @pytest.mark.parametrize(
        ("fps", "steps", "tics"), [(10, 10, 35), (30, 30, 35), (60, 60, 35), (7, 7, 35), (35, 5, 5)]
    )
    def test_steps_of_one_second_are_35_tics(self, fps: float, steps: int, tics: int) -> None:
        environment = DoomEnvironment.from_config(config(), fps=fps, seed=0)

        class Counting:
            total = 0

            def act(self, action: Action, tics: int) -> None:
                self.total += tics

        class Tour:
            game = Counting()

        environment.actuator._tour = Tour()  # type: ignore[attr-defined] # pyright: ignore
        for _ in range(steps):
            environment.affect(STILL)
        assert Tour.game.total == tics


class TestVisits:
    def test_moves_on_when_the_time_is_over(self, clock: Clock) -> None:
        worlds = ("freedoom2:map01", "freedoom1:e1m1")
        environment = DoomEnvironment.from_config(config(*worlds, visit=10.0), fps=10, seed=0, clock=clock)
        environment.setup()
        seen: list[Observation] = []
        for _ in range(250):
            seen.append(environment.observe())
            environment.affect(FORWARD)
            clock.now += 0.1
        environment.teardown()
        assert sorted({(o.visit, o.world) for o in seen}) == [(0, worlds[0]), (1, worlds[1]), (2, worlds[0])]
        assert all(0 <= o.visit_time <= 10.0 for o in seen)
        first = next(o for o in seen if o.visit == 1)
        assert first.visit_time == 0.0
        assert not np.array_equal(first.frame, seen[0].frame)

    def test_same_world_starts_at_another_place_in_another_visit(self, clock: Clock) -> None:
        environment = DoomEnvironment.from_config(config(visit=1.0), fps=10, seed=0, clock=clock)
        environment.setup()
        places = set[tuple[float, float]]()
        for _ in range(4):
            labels = environment.observe().labels
            assert labels is not None
            places.add((round(labels.x), round(labels.y)))
            clock.now += 1.0
        environment.teardown()
        assert len(places) >= 3

    def test_pause_stops_the_time_of_a_visit(self) -> None:
        environment = DoomEnvironment.from_config(config(visit=0.5), fps=10, seed=0)
        environment.setup()
        try:
            system_time.pause()
            environment.on_paused()
            before = environment.observe()
            time.sleep(0.7)
            after = environment.observe()
        finally:
            system_time.resume()
        environment.on_resumed()
        assert (after.visit, after.visit_time) == (before.visit, before.visit_time)
        time.sleep(0.6)
        assert environment.observe().visit == before.visit + 1
        environment.teardown()

    def test_saved_state_goes_on_with_the_next_visit(self, clock: Clock, tmp_path: Path) -> None:
        worlds = ("freedoom2:map01", "freedoom2:map03", "freedoom1:e1m1")
        first = DoomEnvironment.from_config(config(*worlds, visit=1.0), fps=10, seed=0, clock=clock)
        first.setup()
        clock.now += 1.0
        assert first.observe().visit == 1
        first.save_state(tmp_path / "state")
        first.teardown()
        for load_before_setup in (True, False):
            other = DoomEnvironment.from_config(config(*worlds, visit=1.0), fps=10, seed=0, clock=clock)
            if load_before_setup:
                other.load_state(tmp_path / "state")
                other.setup()
            else:
                other.setup()
                other.load_state(tmp_path / "state")
            observation = other.observe()
            assert (observation.visit, observation.world) == (2, worlds[2])
            other.teardown()

    def test_change_of_world_does_not_stall_the_loop(self) -> None:
        worlds = ("freedoom2:map12", "freedoom1:e1m1", "freedoom2:map10")
        environment = DoomEnvironment.from_config(config(*worlds, visit=1.5), fps=10, seed=0)
        began = time.perf_counter()
        environment.setup()
        start_of_a_game = time.perf_counter() - began
        changes: list[float] = []
        visit, end = 0, time.monotonic() + 6.5
        while time.monotonic() < end:
            start = time.perf_counter()
            observation = environment.observe()
            environment.affect(FORWARD)
            took = time.perf_counter() - start
            if observation.visit != visit:
                changes.append(took)
                visit = observation.visit
            time.sleep(max(0.1 - took, 0))
        environment.teardown()
        print(f"start of a game, s: {start_of_a_game:.2f}; change of world:", [round(took, 3) for took in changes])
        assert len(changes) >= 3
        assert sorted(changes)[len(changes) // 2] < start_of_a_game / 3, "the next game must have been started before"


class TestSensorLog:
    def test_holds_every_capture(self, clock: Clock, tmp_path: Path) -> None:
        log = tmp_path / "sensor.log"
        environment = make_environment(config(), fps=10, seed=0, sensor_log=log)
        environment.setup()
        captured = [environment.observe().captured_ns for _ in range(5)]
        assert read_sensor_log(log) == captured
        environment.teardown()
        assert sorted(captured) == captured

    def test_torn_record_is_left_out(self, tmp_path: Path) -> None:
        log = tmp_path / "sensor.log"
        log.write_bytes(bytes(range(8)) + b"\1\2\3")
        assert read_sensor_log(log) == [int.from_bytes(bytes(range(8)), "little")]


class TestProcesses:
    def test_teardown_leaves_nothing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        environment = DoomEnvironment.from_config(config(visit=0.2), fps=10, seed=0)
        environment.setup()
        for _ in range(5):
            environment.observe()
            environment.affect(FORWARD)
            time.sleep(0.1)
        running = engines()
        assert running
        threads = threading.active_count()
        environment.teardown()
        assert not wait_until_gone(running, 5)
        assert not engines()
        assert threading.active_count() < threads
        assert not list(tmp_path.iterdir())

    @pytest.mark.skipif(sys.platform != "linux", reason="the engine is tied to its owner on Linux only")
    @pytest.mark.parametrize("from_thread", [False, True])
    def test_engine_dies_with_a_killed_owner(self, *, from_thread: bool) -> None:
        program = (
            "import threading, time\n"
            "from actors.worlds.doom_game import Doom\n"
            "def play():\n"
            "    game = Doom('freedoom2:map01', image_size=(96, 96), seed=0)\n"
            "    game.look(); print('ready', flush=True)\n"
            "    games.append(game)\n"
            "games = []\n"
            + ("thread = threading.Thread(target=play); thread.start(); thread.join()\n" if from_thread else "play()\n")
            + "time.sleep(0.5); games[0].look(); print('alive', flush=True)\n"
            "time.sleep(60)\n"
        )
        owner = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=Path.cwd())
        try:
            assert owner.stdout is not None
            assert owner.stdout.readline() == b"ready\n"
            assert owner.stdout.readline() == b"alive\n"
            running = engines(psutil.Process(owner.pid))
            assert len(running) == 1
            assert running[0].pid == os.getsid(running[0].pid), "a Ctrl-C must not reach the engine"
        finally:
            owner.send_signal(signal.SIGKILL)
            owner.wait()
        assert not wait_until_gone(running, 5)


class TestWalks:
    def test_same_seed_gives_the_same_walk(self) -> None:
        walks = [
            record_walk("freedoom2:map01", seed=seed, frames=12, every=0.5, image_size=(48, 48)) for seed in (1, 1, 2)
        ]
        assert walks[0].frames.shape == (12, 48, 48, 3)
        assert len(walks[0].labels) == 12
        assert np.array_equal(walks[0].frames, walks[1].frames)
        assert [label.x for label in walks[0].labels] == [label.x for label in walks[1].labels]
        assert abs(walks[0].labels[0].x - walks[2].labels[0].x) + abs(walks[0].labels[0].y - walks[2].labels[0].y) > 16
        assert len({(round(label.x), round(label.y)) for label in walks[0].labels}) > 6

    def test_walks_from_one_place_begin_in_all_directions(self) -> None:
        walks = [
            record_walk("freedoom1:e3m1", seed=seed, frames=1, every=1.0, image_size=(48, 48)) for seed in range(8)
        ]
        first = [walk.labels[0] for walk in walks]
        assert len({(label.x, label.y) for label in first}) < len(first), "more places to start at than were expected"
        assert len({round(label.heading, 1) for label in first}) >= len(first) - 1

    def test_lead_is_walked_and_not_kept(self) -> None:
        whole = record_walk("freedoom2:map01", seed=1, frames=6, every=1.0, image_size=(48, 48))
        later = record_walk("freedoom2:map01", seed=1, frames=3, every=1.0, lead=3.0, image_size=(48, 48))
        assert np.array_equal(later.frames, whole.frames[3:])
