import math
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import psutil
import pytest
from PIL import Image

from actors.desktop import DesktopError, open_desktop
from actors.worlds import check_worlds, make_environment
from actors.worlds.picture import Picture
from actors.worlds.screen.capture import shrink, within
from actors.worlds.screen.world import ScreenEnvironment
from common.config.run import WorldConfig
from common.config.screen import ScreenConfig
from common.errors import ConfigError
from common.messages import Unfit
from tests.actors.screen.stage import Program, until, virtual_screen

FORWARD = np.array([1, 0, 0, 0], np.float32)
STILL = np.zeros(4, np.float32)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def config(title: str = "a GAME", **changes: object) -> WorldConfig:
    return WorldConfig(
        kind="screen",
        worlds=("test",),
        placebo_worlds=(),
        image_size=(36, 48),
        screen=replace(ScreenConfig(title=title), **changes),
    )


@pytest.fixture(scope="module")
def screen() -> Iterator[str]:
    with virtual_screen() as display:
        yield display


@pytest.fixture
def program(screen: str) -> Iterator[Program]:
    made = Program()
    yield made
    made.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def make(world: WorldConfig, clock: Clock, log: Path | None = None) -> ScreenEnvironment:
    environment = make_environment(world, fps=10, seed=0, clock=clock, sensor_log=log)
    assert isinstance(environment, ScreenEnvironment)
    return environment


@pytest.fixture
def environment(program: Program, clock: Clock) -> Iterator[ScreenEnvironment]:
    made = make(config(), clock)
    made.setup()
    yield made
    made.teardown()


def test_a_window_is_seen_in_its_colours_wherever_it_goes(
    environment: ScreenEnvironment, program: Program, clock: Clock
) -> None:
    for command, colour in (("paint ff8001", (255, 128, 1)), ("paint 102030", (16, 32, 48))):
        program.do(command)
        assert (environment.observe().frame == colour).all()
    for command in ("move 500 200", "size 333 201", "move 1200 650", "move -100 -100"):
        program.do(command)
        seen = environment.observe()
        assert seen.unfit is None
        assert seen.frame.shape == (36, 48, 3)
        assert (seen.frame == (16, 32, 48)).all(), command
        clock.now += 0.1
    assert seen.visit == 0
    assert seen.world == "test"
    assert seen.labels is None


def test_a_window_that_is_hidden_or_gone_is_a_gap_and_then_a_new_visit(
    environment: ScreenEnvironment, program: Program, clock: Clock
) -> None:
    first = environment.observe()
    assert (first.unfit, first.visit, first.visit_time) == (None, 0, 0.0)
    program.do("hide")
    clock.now += 0.1
    assert environment.observe().unfit is Unfit.MISSING
    program.do("show")
    clock.now += 5.0
    program.do("paint 00ff00")
    environment.target.take()
    second = environment.observe()
    assert (second.unfit, second.visit, second.visit_time) == (None, 1, 0.0)
    program.do("move 5000 0")
    assert environment.observe().unfit is Unfit.MISSING
    program.do("quit")
    assert environment.observe().unfit is Unfit.MISSING
    environment.affect(FORWARD)
    again = Program()
    clock.now += 5.0
    try:
        until(lambda: environment.observe().unfit is None, "the new window is found")
        assert environment.observe().visit == 2
    finally:
        again.close()


def test_black_and_frozen_pictures_are_marked(environment: ScreenEnvironment, program: Program, clock: Clock) -> None:
    program.do("paint 010101")
    assert environment.observe().unfit is Unfit.BLACK
    program.do("paint 404040")
    assert environment.observe().unfit is None
    clock.now += 4.9
    assert environment.observe().unfit is None
    clock.now += 0.2
    assert environment.observe().unfit is Unfit.FROZEN
    program.do("paint 414040")
    assert environment.observe().unfit is None


def test_actions_become_keys_and_motion(environment: ScreenEnvironment, program: Program) -> None:
    environment.observe()
    environment.affect(np.array([1, -1, 0, 1, 1, 1, 1, 1], np.float32))
    until(lambda: len(program.held()) == 3, "forward, left and use are held")
    forward = program.held()
    environment.affect(np.array([1, 0, 0, 0], np.float32))
    until(lambda: len(program.held()) == 1, "only forward is held")
    assert program.held() < forward
    before = program.turned()
    environment.affect(np.array([0, 0, 0.5, 0], np.float32))
    until(lambda: program.turned() - before == -50, "ten degrees to the left, at five pixels each")
    assert not program.held()
    environment.affect(np.array([math.nan] * 4, np.float32))
    for _ in range(10):
        environment.affect(np.array([0, 0, -0.004, 0], np.float32))
    until(lambda: program.turned() - before == -46, "parts of a pixel add up")
    environment.affect(FORWARD)
    until(lambda: bool(program.held()), "forward is held")
    environment.on_paused()
    until(lambda: not program.held(), "nothing is held in a pause")


def test_keys_that_were_down_when_the_desktop_was_lost_are_let_go(
    environment: ScreenEnvironment, program: Program, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    until(lambda: environment.observe().unfit is None, "the window is seen")
    environment.affect(FORWARD)
    until(lambda: len(program.held()) == 1, "forward is held")

    def fail(window: int) -> None:
        raise DesktopError("once")

    target = cast(Any, environment).sensor._target
    monkeypatch.setattr(target._desktop, "place", fail)
    assert environment.observe().unfit is Unfit.MISSING
    until(lambda: (environment.observe(), environment.affect(STILL), not program.held())[2], "forward is let go")


def test_no_key_goes_to_another_window(environment: ScreenEnvironment, program: Program) -> None:
    environment.observe()
    environment.affect(FORWARD)
    until(lambda: bool(program.held()), "forward is held")
    other = Program("Letters", 200, 200)
    try:
        desktop = open_desktop()
        window = desktop.find("letters")
        assert window is not None
        desktop.focus(window)
        assert environment.observe().unfit is Unfit.UNFOCUSED
        environment.affect(FORWARD)
        environment.affect(np.array([0, 0, 0, 1], np.float32))
        time.sleep(0.2)
        assert not [line for line in other.told if line.startswith("key") and line.endswith("1")]
        desktop.close()
    finally:
        other.close()


def _live(ready: str) -> None:
    environment = make(config(), Clock())
    environment.setup()
    environment.observe()
    environment.affect(FORWARD)
    Path(ready).touch()
    while True:
        environment.observe()
        environment.affect(FORWARD)
        time.sleep(0.05)


def test_keys_are_let_go_within_a_second_after_kill_9(program: Program, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    victim = multiprocessing.get_context("spawn").Process(target=_live, args=(str(ready),))
    victim.start()
    until(ready.exists, "the actor lives", 60)
    until(lambda: bool(program.held()), "forward is held")
    assert victim.pid is not None
    handles = psutil.Process(victim.pid).children()
    os.kill(victim.pid, signal.SIGKILL)
    began = time.monotonic()
    until(lambda: not program.held(), "forward is let go")
    assert time.monotonic() - began < 1.0
    victim.join()
    assert not psutil.wait_procs(handles, timeout=5)[1]


def test_keys_are_let_go_when_the_actor_hangs_and_used_again_when_it_goes_on(
    environment: ScreenEnvironment, program: Program
) -> None:
    environment.observe()
    environment.affect(FORWARD)
    until(lambda: bool(program.held()), "forward is held")
    until(lambda: not program.held(), "forward is let go", 1.5)
    environment.observe()
    environment.affect(FORWARD)
    until(lambda: bool(program.held()), "forward is held again")


def test_a_watched_screen_is_not_steered(program: Program, clock: Clock, tmp_path: Path) -> None:
    environment = make(config("", control=False, region=(0, 0, 600, 300)), clock, tmp_path / "log")
    environment.setup()
    program.do("paint 3060c0")
    assert (environment.observe().frame == (0x30, 0x60, 0xC0)).all()
    environment.affect(FORWARD)
    environment.teardown()
    assert not program.held()
    assert (tmp_path / "log").stat().st_size == 8


def test_a_server_that_dies_is_a_gap(clock: Clock) -> None:
    with virtual_screen(640, 480):
        program = Program()
        environment = make(config(), clock)
        environment.setup()
        assert environment.observe().unfit is None
        environment.affect(FORWARD)
    assert environment.observe().unfit is Unfit.MISSING
    environment.affect(FORWARD)
    environment.on_paused()
    environment.teardown()
    program.close()


def test_without_a_display_the_reason_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", ":4711")
    with pytest.raises(DesktopError, match="no X server with XTEST at DISPLAY=:4711"):
        open_desktop()
    monkeypatch.delenv("DISPLAY")
    with pytest.raises(ConfigError, match="no X11 display"):
        check_worlds(config())


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (replace(config(), worlds=("a", "b")), "world.worlds = .*one name"),
        (replace(config(), placebo_worlds=("b",)), "world.placebo_worlds = .*must be empty"),
        (config(keys=("w", "s", "a", "d", "F13")), "world.screen.keys = 'F13'"),
        (config(""), "world.screen.title = ''"),
    ],
)
def test_what_cannot_work_is_refused(changed: WorldConfig, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        check_worlds(changed)


def test_shrinking_averages_areas() -> None:
    generator = np.random.default_rng(0)
    for screen, size, most in (
        ((720, 1280), (144, 144), 0.6),
        ((1080, 1920), (144, 144), 4.0),
        ((201, 333), (36, 48), 4.0),
        ((144, 144), (144, 144), 0.0),
    ):
        coarse = generator.integers(0, 256, (screen[0] // 4, screen[1] // 4, 4), dtype=np.uint8)
        pixels = np.asarray(Image.fromarray(coarse, "RGBX").resize((screen[1], screen[0]), Image.Resampling.BICUBIC))
        exact = Picture(screen, size).frame(np.ascontiguousarray(pixels[:, :, 2::-1])).astype(float)
        assert np.sqrt(np.mean((shrink(pixels, size) - exact) ** 2)) <= most
    assert shrink(pixels[:30, :40], (96, 128)).shape == (96, 128, 3)


def test_a_region_is_cut_out_of_its_window() -> None:
    assert within((100, 50, 640, 480), (0, 0, 0, 0)) == (100, 50, 640, 480)
    assert within((100, 50, 640, 480), (10, 20, 0, 100)) == (110, 70, 630, 100)
    assert within((100, 50, 640, 480), (600, 0, 100, 0)) == (700, 50, 40, 480)


def test_the_registry_needs_no_extra() -> None:
    code = "import sys; import actors.worlds.kinds as k; k.kinds(); print({'mss', 'xcffib'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
