"""The whole world `vrchat`: a real camera stream, a log that is written meanwhile, real OSC."""

import random
import time
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from actors.desktop import open_desktop
from actors.worlds import check_worlds
from actors.worlds.kinds import Life, kinds
from actors.worlds.vrchat import VRCHAT
from actors.worlds.vrchat.camera import Camera
from actors.worlds.vrchat.eyes import Seen, paint_over
from actors.worlds.vrchat.hops import Hops, is_destination
from common.config.files import from_yaml, to_yaml
from common.config.presets import preset
from common.config.run import WorldConfig
from common.config.vrchat import Look, VRChatConfig
from common.errors import ConfigError
from common.messages import Observation, Unfit
from tests.actors.screen.stage import Program, until, virtual_screen
from tests.actors.vrchat.client import HOMES, Client
from tests.actors.vrchat.station import Station
from tests.actors.vrchat.test_controls import Listener


def world_of(**changes: object) -> WorldConfig:
    vrchat = replace(VRChatConfig(feedback_port=0, settle=0.0, frozen=1.0), **changes)  # pyright: ignore
    return WorldConfig(kind="vrchat", worlds=("anywhere",), placebo_worlds=(), image_size=(96, 96), vrchat=vrchat)


@pytest.fixture
def station() -> Generator[Station]:
    made = Station()
    yield made
    made.close()


@pytest.fixture
def vrchat() -> Generator[Listener]:
    listener = Listener()
    yield listener
    listener.close()


def life(path: Path) -> Life:
    return Life(fps=10.0, seed=0, index=0, clock=time.monotonic, sensor_log=path / "sensor")


def test_frames_are_admitted_only_where_picture_and_log_are_certain(
    station: Station, vrchat: Listener, tmp_path: Path
) -> None:
    client = Client(tmp_path, random.Random(0))
    client.start()
    world = world_of(camera=station.address, logs=str(tmp_path), osc_port=vrchat.port)
    environment = VRCHAT.make(world, life(tmp_path))
    environment.setup()

    def see(unfit: Unfit | None, what: str, world: str = "") -> Observation:
        last: list[Observation] = []

        def seen() -> bool:
            last[:] = [environment.observe()]
            environment.affect(np.array([1, 0, 0, 0], np.float32))
            return last[0].unfit is unfit and (not world or last[0].world == world)

        until(seen, what)
        return last[0]

    try:
        see(Unfit.DISCONNECTED, "the camera shows, VRChat starts")
        client.join(HOMES[0])
        see(Unfit.LOADING, "a world is being loaded")
        client.arrive()
        first = see(None, "there", HOMES[0])
        assert first.frame.shape == (96, 96, 3)
        assert first.frame.std() < 1
        until(lambda: vrchat.held.get("/input/Vertical", 0) > 0.5, "forward")
        station.stuck = True
        see(Unfit.FROZEN, "the picture stands still")
        station.stuck, station.paint = False, 0
        see(Unfit.BLACK, "the picture is black")
        station.paint = None
        client.set_out(HOMES[1])
        see(Unfit.LOADING, "on the way")
        client.leave()
        time.sleep(1.0)
        client.join(HOMES[1])
        client.arrive()
        second = see(None, "there", HOMES[1])
        assert second.visit == first.visit + 1
        client.quit()
        see(Unfit.DISCONNECTED, "VRChat is closed")
    finally:
        environment.teardown()
    until(vrchat.at_rest, "neutral at the end")
    assert (tmp_path / "sensor").stat().st_size % 8 == 0


def test_a_camera_that_is_unplugged_is_a_gap_and_found_again() -> None:
    station = Station()
    camera = Camera(station.address)
    camera.open()
    until(lambda: camera.look() is not None, "a picture")
    port = station.port
    station.close()
    until(lambda: camera.look() is None, "no picture that is younger than a second")
    again = Station(port)
    until(lambda: camera.look() is not None, "a picture again", 30)
    camera.close()
    again.close()


@pytest.mark.parametrize("name", ["obs", "77", "http://127.0.0.1:9/none.mjpg", "/dev/none"])
def test_a_camera_that_is_not_there_is_said_once(name: str, caplog: pytest.LogCaptureFixture) -> None:
    camera = Camera(name)
    camera.open()
    time.sleep(2.5)
    assert camera.look() is None
    camera.close()
    said = [record.getMessage() for record in caplog.records if record.name == "actors.worlds.vrchat.camera"]
    assert len(said) == 1
    assert name in said[0]


def test_a_camera_whose_source_was_never_started_is_not_admitted(station: Station, tmp_path: Path) -> None:
    station.stuck = True
    client = Client(tmp_path, random.Random(0))
    client.start()
    client.join(HOMES[0])
    client.arrive()
    world = world_of(camera=station.address, logs=str(tmp_path), control=False, frozen=1000.0)
    environment = VRCHAT.make(world, life(tmp_path))
    environment.setup()
    until(lambda: environment.observe().unfit is Unfit.FROZEN, "its picture never changed")
    for _ in range(10):
        assert environment.observe().unfit is Unfit.FROZEN
        time.sleep(0.05)
    station.stuck = False
    until(lambda: environment.observe().unfit is None, "now it does")
    environment.teardown()


def test_the_window_can_be_watched_instead(tmp_path: Path) -> None:
    client = Client(tmp_path, random.Random(0))
    client.start()
    client.join(HOMES[0])
    client.arrive()
    with virtual_screen():
        program = Program("VRChat")
        world = world_of(picture="window", logs=str(tmp_path), control=False, redact=((0.0, 0.5, 0.5, 0.5),))
        check_worlds(world)
        environment = VRCHAT.make(world, life(tmp_path))
        environment.setup()
        program.do("paint 3060c0")
        until(lambda: environment.observe().unfit is None, "the window is seen")
        frame = environment.observe().frame
        assert (frame[:48] == (0x30, 0x60, 0xC0)).all()
        assert (frame[48:, :48] == 128).all()
        assert (frame[48:, 48:] == (0x30, 0x60, 0xC0)).all()
        environment.teardown()
        program.close()


def test_what_may_cover_the_window_is_not_taken_for_it(tmp_path: Path) -> None:
    """Of two windows the one with just this title is meant, and what shows while another is used may be that other."""
    client = Client(tmp_path, random.Random(0))
    client.start()
    client.join(HOMES[0])
    client.arrive()
    with virtual_screen():
        browser = Program("VRChat - Wiki - Browser", 1000, 700)
        browser.do("paint 00ff00")
        program = Program("VRChat")
        environment = VRCHAT.make(world_of(picture="window", logs=str(tmp_path)), life(tmp_path))
        environment.setup()
        program.do("paint 3060c0")
        until(lambda: environment.observe().unfit is None, "the window is seen")
        assert (environment.observe().frame == (0x30, 0x60, 0xC0)).all()
        desktop = open_desktop()
        covering = desktop.find("VRChat - Wiki")
        assert covering is not None
        desktop.focus(covering)
        until(lambda: environment.observe().unfit is Unfit.UNFOCUSED, "another window has the keyboard")
        desktop.close()
        environment.teardown()
        program.close()
        browser.close()


def test_a_learner_without_a_desktop_takes_what_another_host_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    for changed in (world_of(picture="window"), world_of(look=Look.MOUSE)):
        check_worlds(changed, here=False)
        with pytest.raises(ConfigError, match="cannot be used here: no X11 display"):
            check_worlds(changed)


def test_black_stays_black_under_paint(tmp_path: Path) -> None:
    class Dark:
        def open(self) -> None: ...
        def close(self) -> None: ...
        def look(self, image_size: tuple[int, int]) -> Seen:
            return Seen(np.zeros((*image_size, 3), np.uint8), time.time_ns())

    client = Client(tmp_path, random.Random(0))
    client.start()
    client.join(HOMES[0])
    client.arrive()
    world = world_of(picture="camera", logs=str(tmp_path), control=False, redact=((0.0, 0.5, 0.5, 0.5),), settle=0.0)
    environment = VRCHAT.make(world, life(tmp_path))
    environment.sensor._eyes = Dark()  # pyright: ignore
    environment.setup()
    until(lambda: environment.observe().unfit is Unfit.BLACK, "black")
    environment.teardown()


def test_a_menu_cuts_no_visit_short() -> None:
    opened: list[str] = []
    hops = Hops(iter([HOMES[0], HOMES[1]]), 600.0, opened.append)
    hops.at("", 0.0)
    hops.at(HOMES[0], 20.0)
    hops.at("", 200.0)
    hops.at(HOMES[0], 300.0)
    assert len(opened) == 1
    hops.at("", 620.0)
    assert opened[1].endswith(HOMES[1])


def test_redaction_covers_every_pixel_that_it_touches() -> None:
    frame = np.zeros((10, 10, 3), np.uint8)
    paint_over(frame, ((0.25, 0.0, 0.5, 0.11),))
    assert (frame[:2, 2:8] == 128).all()
    assert frame.sum() == 2 * 6 * 3 * 128


def test_hops_follow_the_schedule_and_do_not_insist() -> None:
    opened: list[str] = []
    hops = Hops(iter([f"{HOMES[0]}:1~region(jp)", HOMES[1], HOMES[2], HOMES[0]]), 60.0, opened.append)
    hops.at("", 0.0)
    assert opened == [f"vrchat://launch?ref=vrchat.com&id={HOMES[0]}:1~region(jp)"]
    hops.at("", 100.0)
    hops.at(HOMES[0], 110.0)
    hops.at(HOMES[0], 169.0)
    assert len(opened) == 1
    hops.at(HOMES[0], 170.0)
    assert opened[1].endswith(HOMES[1])
    hops.at(HOMES[0], 289.0)
    assert len(opened) == 2
    hops.at("", 291.0)
    assert opened[2].endswith(HOMES[2]), "the second was never reached"


def test_a_link_that_cannot_be_opened_is_no_end(caplog: pytest.LogCaptureFixture) -> None:
    def fail(link: str) -> None:
        raise FileNotFoundError(2, "No such file or directory")

    hops = Hops(iter([HOMES[0], HOMES[1]]), 60.0, fail)
    hops.at("", 0.0)
    assert "cannot be opened" in caplog.text


def test_only_worlds_are_destinations() -> None:
    assert is_destination(HOMES[0])
    assert is_destination(HOMES[0] + ":12345~region(jp)")
    for bad in ("wrld_1", HOMES[0] + " &calc", "anywhere", HOMES[0] + ":1&x=2", "file:///etc/passwd"):
        assert not is_destination(bad)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (replace(world_of(), worlds=("somewhere",)), "world.worlds = .*anywhere"),
        (replace(world_of(), placebo_worlds=("b",)), "world.placebo_worlds"),
        (replace(world_of(), worlds=(f"{HOMES[0]}:1~private(usr_12345678)",)), "world.worlds = .*without usr_"),
    ],
)
def test_what_cannot_work_is_refused(changed: WorldConfig, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        check_worlds(changed)


def test_settings_are_checked(tmp_path: Path) -> None:
    run = preset("vrchat")
    run = replace(run, world=replace(run.world, vrchat=VRChatConfig(redact=((0.0, 0.8, 0.4, 0.2), (0.1, 0, 0.9, 0.1)))))
    (tmp_path / "run.yaml").write_text(to_yaml(run))
    assert from_yaml(tmp_path / "run.yaml") == run
    for wrong in (
        {"feedback_port": 9000},
        {"redact": ((0.5, 0.5, 0.6, 0.1),)},
        {"camera": ""},
        {"osc_port": 0},
        {"settle": -1.0},
    ):
        with pytest.raises(ConfigError, match=f"world.vrchat.{next(iter(wrong))}"):
            VRChatConfig(**wrong)  # pyright: ignore


def test_the_preset_is_pamiq_vrchats_sample() -> None:
    run = preset("vrchat")
    assert (run.actors.fps, run.world.image_size, run.world.kind) == (10.0, (144, 144), "vrchat")
    check_worlds(run.world)
    assert kinds()["vrchat"] is VRCHAT
