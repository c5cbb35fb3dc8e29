"""What VRChat is told over OSC, and what it tells, by a real OSC server and real datagrams on loopback."""

import math
import multiprocessing
import os
import signal
import socket
import struct
import threading
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pythonosc.dispatcher import Dispatcher
from pythonosc.osc_bundle_builder import IMMEDIATELY, OscBundleBuilder
from pythonosc.osc_message_builder import OscMessageBuilder
from pythonosc.osc_server import ThreadingOSCUDPServer
from pythonosc.udp_client import SimpleUDPClient

from actors.deadman.osc import AXES, BUTTONS, NEUTRAL
from actors.worlds.vrchat.feedback import Feedback
from actors.worlds.vrchat.world import VRChatActuator
from common.config.vrchat import VRChatConfig
from common.messages import Unfit
from tests.actors.screen.stage import until

AHEAD = np.array([1, 0, 0.5, 1, 0, 0, 0, 0], np.float32)
"""As the babbler's actions, longer than this world knows."""


class Listener:
    """VRChat's end: keeps each message, and what each control is at."""

    def __init__(self) -> None:
        dispatcher = Dispatcher()
        dispatcher.set_default_handler(self._take)  # pyright: ignore[reportUnknownMemberType]
        self._server = ThreadingOSCUDPServer(("127.0.0.1", 0), dispatcher)
        self.port = self._server.server_address[1]
        self.messages: list[tuple[str, Any]] = []
        self.held: dict[str, Any] = {}
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def _take(self, address: str, *values: Any) -> None:
        assert len(values) == 1
        self.messages.append((address, values[0]))
        self.held[address] = values[0]

    def at_rest(self) -> bool:
        return bool(self.held) and not any(self.held.values())

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def vrchat() -> Generator[Listener]:
    listener = Listener()
    yield listener
    listener.close()


def config(port: int) -> VRChatConfig:
    return VRChatConfig(osc_port=port, feedback_port=0)


@pytest.fixture
def actuator(vrchat: Listener) -> Generator[VRChatActuator]:
    made = VRChatActuator(config(vrchat.port), 0.1, Feedback(0))
    made.setup()
    yield made
    made.teardown()


def test_exactly_the_documented_messages_are_sent(actuator: VRChatActuator, vrchat: Listener) -> None:
    until(lambda: len(vrchat.held) == len(NEUTRAL) and vrchat.at_rest(), "all controls are neutral")
    before = len(vrchat.messages)
    for _ in range(30):
        actuator.operate(AHEAD)
    until(lambda: vrchat.held["/input/Vertical"] > 0.99, "the axis follows")
    known = {f"/input/{name}" for name in AXES + BUTTONS}
    for address, value in vrchat.messages:
        assert address in known
        if address.removeprefix("/input/") in BUTTONS:
            assert type(value) is int
            assert value in (0, 1)
        else:
            assert type(value) is float
            assert -1 <= value <= 1
    ahead = [value for address, value in vrchat.messages[before:] if address == "/input/Vertical"]
    assert ahead[:2] == sorted(ahead[:2])
    assert 0 < ahead[1] < 1, "smoothly"
    assert vrchat.held["/input/LookHorizontal"] == pytest.approx(-0.5, abs=0.01), "to the left is negative"
    assert vrchat.held["/input/Run"] == vrchat.held["/input/Jump"] == 1
    for _ in range(30):
        actuator.operate(np.array([math.nan] * 4, np.float32))
    until(lambda: not vrchat.held["/input/Run"] and abs(vrchat.held["/input/Vertical"]) < 0.01, "NaN is rest")


def test_nothing_is_held_in_a_pause_and_all_is_sent_again_after(actuator: VRChatActuator, vrchat: Listener) -> None:
    for _ in range(30):
        actuator.operate(AHEAD)
    until(lambda: vrchat.held.get("/input/Vertical", 0) > 0.99, "forward")
    actuator.on_paused()
    until(vrchat.at_rest, "neutral")
    time.sleep(0.9)
    assert vrchat.at_rest()
    actuator.on_resumed()
    for _ in range(30):
        actuator.operate(AHEAD)
    until(lambda: vrchat.held["/input/Vertical"] > 0.99, "forward again, though the action is the same")


def _live(ready: str, port: int) -> None:
    made = VRChatActuator(config(port), 0.1, Feedback(0))
    made.setup()
    Path(ready).touch()
    while True:
        made.operate(AHEAD)
        time.sleep(0.05)


def test_controls_are_neutral_within_a_second_after_kill_9(vrchat: Listener, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    victim = multiprocessing.get_context("spawn").Process(target=_live, args=(str(ready), vrchat.port))
    victim.start()
    until(ready.exists, "the actor lives", 60)
    until(lambda: vrchat.held.get("/input/Vertical", 0) > 0.9 and vrchat.held["/input/Run"] == 1, "the avatar runs")
    assert victim.pid is not None
    handles = psutil.Process(victim.pid).children()
    os.kill(victim.pid, signal.SIGKILL)
    began = time.monotonic()
    until(vrchat.at_rest, "neutral")
    assert time.monotonic() - began < 1.0
    victim.join()
    assert not psutil.wait_procs(handles, timeout=5)[1]


def test_an_actor_that_hangs_lets_go_and_takes_up_again(actuator: VRChatActuator, vrchat: Listener) -> None:
    for _ in range(30):
        actuator.operate(AHEAD)
    until(lambda: vrchat.held.get("/input/Vertical", 0) > 0.99, "forward")
    until(vrchat.at_rest, "neutral while it hangs", 1.5)
    for _ in range(30):
        actuator.operate(AHEAD)
    until(lambda: vrchat.held["/input/Vertical"] > 0.99 and vrchat.held["/input/Run"] == 1, "forward again")


def test_a_closed_port_is_no_end() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    made = VRChatActuator(config(port), 0.1, Feedback(0))
    made.setup()
    for _ in range(20):
        made.operate(AHEAD)
    made.teardown()


@pytest.fixture
def feedback() -> Generator[tuple[Feedback, SimpleUDPClient]]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    made = Feedback(port)
    made.open()
    yield made, SimpleUDPClient("127.0.0.1", port)
    made.close()


def test_away_is_noticed(feedback: tuple[Feedback, SimpleUDPClient]) -> None:
    heard, client = feedback
    assert heard.unfit(0.0) is None
    client.send_message("/avatar/parameters/AFK", True)
    until(lambda: heard.unfit(1.0) is Unfit.AFK, "away")
    client.send_message("/avatar/parameters/AFK", False)
    until(lambda: heard.unfit(2.0) is None, "back")


def test_turning_without_effect_is_a_menu(feedback: tuple[Feedback, SimpleUDPClient]) -> None:
    heard, client = feedback
    heard.asked(1.0, 0.0)
    assert heard.unfit(10.0) is None, "an avatar that never told of turning says nothing by not turning"
    client.send_message("/avatar/parameters/AngularY", 12.5)
    assert heard.unfit(20.0) is None, "it turns"
    client.send_message("/avatar/parameters/AngularY", 0.0)
    assert heard.unfit(20.1) is None, "it turns no longer, though it is told to"
    assert heard.unfit(21.9) is None
    assert heard.unfit(22.1) is Unfit.MENU
    heard.asked(0.0, 22.2)
    assert heard.unfit(22.3) is None
    heard.asked(-1.0, 23.0)
    assert heard.unfit(24.0) is None
    assert heard.unfit(25.1) is Unfit.MENU
    client.send_message("/avatar/parameters/AngularY", -3.0)
    until(lambda: heard.unfit(25.2) is None, "the menu is closed")


def test_bundles_are_read_and_forged_ones_hang_nothing(feedback: tuple[Feedback, SimpleUDPClient]) -> None:
    heard, client = feedback
    for size in (-4, 0, 2**31 - 1):
        forged = b"#bundle\0" + struct.pack(">Qi", 1, size)
        client._sock.sendto(forged, (client._address, client._port))  # pyright: ignore
    until(lambda: (heard.unfit(0.0), heard.malformed == 3)[1], "all three are counted")
    bundle = OscBundleBuilder(IMMEDIATELY)
    message = OscMessageBuilder("/avatar/parameters/AFK")
    message.add_arg(True)
    bundle.add_content(message.build())  # pyright: ignore[reportUnknownMemberType]
    client.send(bundle.build())
    until(lambda: heard.unfit(1.0) is Unfit.AFK, "away")


def test_a_port_in_use_and_silence_are_said(
    feedback: tuple[Feedback, SimpleUDPClient], caplog: pytest.LogCaptureFixture
) -> None:
    heard, _ = feedback
    second = Feedback(heard._port)  # pyright: ignore[reportPrivateUsage]
    second.open()
    assert second.unfit(0.0) is None
    second.close()
    assert "feedback_port" in caplog.text
    for now in range(0, 100, 10):
        heard.unfit(float(now))
    assert caplog.text.count("sends nothing over OSC") == 1


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(
        st.binary(max_size=300),
        st.binary(max_size=60).map(lambda rest: b"#bundle\0" + bytes(8) + rest),
        st.binary(max_size=60).map(lambda rest: b"/avatar/parameters/AFK\0\0,f\0\0" + rest),
    )
)
def test_no_datagram_crashes_it(feedback: tuple[Feedback, SimpleUDPClient], datagram: bytes) -> None:
    heard, client = feedback
    client._sock.sendto(datagram, (client._address, client._port))  # pyright: ignore
    heard.unfit(0.0)
