"""Which world a frame was seen in, by logs written after VRChat's."""

import logging
import os
import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.worlds.vrchat.lines import Event, Sign, read_line
from actors.worlds.vrchat.log import VRChatLog, log_folder
from common.messages import Unfit
from tests.actors.vrchat.client import HOMES, STEP, USER, Client


def follow(folder: Path, *, silence: float = 0.0, settle: float = 5.0) -> VRChatLog:
    return VRChatLog(folder, settle=settle, silence=silence)


class Watched:
    """A client and what follows its log, ten times a second; every frame is compared with the truth."""

    def __init__(self, folder: Path, client: Client) -> None:
        self.client = client
        self.log = follow(folder)
        self.frames = self.admitted = 0

    def live(self, seconds: float) -> None:
        for _ in range(round(seconds / STEP)):
            self.client.now += STEP
            if self.client.random.random() < 0.3:
                self.client.noise()
            assert self.log.at(self.client.now) == self.client.truth(), f"at {self.client.now:.1f} s"
            self.frames += 1
            self.admitted += self.client.truth()[1] is None

    def hop(self, world: str) -> None:
        self.client.set_out(world)
        self.live(2)
        self.client.leave()
        self.live(3)
        self.client.join(world)
        self.live(self.client.random.uniform(1, 20))
        self.client.arrive()
        self.live(10)

    def until_found(self) -> None:
        """A new file is found within a second; until then the old one counts."""
        self.client.now += 1.0


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("level", "end"), [("Debug", "\r\n"), ("Log", "\n")])
def test_every_frame_of_a_day_is_labelled_right(tmp_path: Path, seed: int, level: str, end: str) -> None:
    client = Client(tmp_path, random.Random(seed), level=level, end=end)
    watched = Watched(tmp_path, client)
    for _ in range(3):
        client.start()
        watched.until_found()
        watched.live(5)
        client.join(HOMES[0])
        watched.live(4)
        client.arrive()
        watched.live(10)
        for _ in range(6):
            match client.random.choice(("hop", "same", "full", "menu", "cut")):
                case "hop":
                    watched.hop(client.random.choice(HOMES))
                case "same":
                    watched.hop(client.world)
                case "full":
                    client.set_out(HOMES[1])
                    watched.live(3)
                    client.fail()
                    watched.live(8)
                case "menu":
                    client.menu(True)
                    watched.live(4)
                    client.menu(False)
                    watched.live(4)
                case _:
                    client.cut()
                    watched.live(4)
                    client.join(HOMES[2])
                    watched.live(4)
                    client.arrive()
                    watched.live(7)
        if client.random.random() < 0.5:
            client.quit()
            watched.live(3)
        # Otherwise it crashes: nothing more is written.
    assert watched.frames > 2000
    assert watched.admitted > 0.2 * watched.frames


def test_half_a_line_waits_for_its_rest(tmp_path: Path) -> None:
    client = Client(tmp_path, random.Random(0))
    client.start()
    log = follow(tmp_path, settle=0)
    assert log.at(1.0) == ("", Unfit.DISCONNECTED)
    line = f"2026.09.11 23:59:59 Debug      -  [Behaviour] Joining {HOMES[0]}:1~region(jp)\n".encode()
    assert client.path is not None
    for number in range(len(line)):
        with client.path.open("ab") as file:
            file.write(line[number : number + 1])
        expected = (HOMES[0], Unfit.LOADING) if number == len(line) - 1 else ("", Unfit.DISCONNECTED)
        assert log.at(1.0 + number / 100) == expected
    client.arrive()
    assert log.at(3.0) == (HOMES[0], None)


def test_a_huge_log_is_read_from_its_last_journey(tmp_path: Path) -> None:
    client = Client(tmp_path, random.Random(0))
    client.start()
    client.join(HOMES[1])
    client.arrive()
    client.leave()
    line = b"2026.09.11 23:59:59 Debug      -  [IK Debug Log] Frame rate: 71.2\n"
    assert client.path is not None
    with client.path.open("ab") as file:
        for _ in range(100):
            file.write(line * (2**20 // len(line)))
    client.join(HOMES[0])
    client.arrive()
    with client.path.open("ab") as file:
        for _ in range(10):
            file.write(line * (2**20 // len(line)))
    log = follow(tmp_path, settle=0)
    steps = 0
    while log.at(1.0 + steps / 10)[1] is Unfit.UNKNOWN_WORLD:
        steps += 1
        assert steps <= 10, "ten blocks, one at a step"
    assert log.at(10.0) == (HOMES[0], None)


def test_a_log_that_no_longer_grows_is_of_a_client_that_is_gone(tmp_path: Path) -> None:
    client = Client(tmp_path, random.Random(0))
    client.start()
    client.join(HOMES[0])
    client.arrive()
    log = follow(tmp_path, settle=0, silence=60)
    assert log.at(1000.0) == (HOMES[0], None)
    assert log.at(1059.0) == (HOMES[0], None)
    assert log.at(1062.0) == ("", Unfit.DISCONNECTED)
    client.noise()
    assert log.at(1063.0) == (HOMES[0], None)
    # The log of a client that has crashed an hour ago tells nothing of now.
    assert client.path is not None
    old = client.path.stat().st_mtime - 3600
    os.utime(client.path, (old, old))
    assert follow(tmp_path, settle=0, silence=60).at(1000.0) == ("", Unfit.DISCONNECTED)


def test_a_log_that_is_cut_short_or_removed_is_a_gap(tmp_path: Path) -> None:
    client = Client(tmp_path, random.Random(0))
    client.start()
    client.join(HOMES[0])
    client.arrive()
    log = follow(tmp_path, settle=0)
    assert log.at(1.0) == (HOMES[0], None)
    assert client.path is not None
    client.path.write_bytes(b"")
    assert log.at(2.0) == ("", Unfit.UNKNOWN_WORLD)
    client.join(HOMES[1])
    client.arrive()
    assert log.at(3.0) == (HOMES[1], None)
    client.path.unlink()
    assert log.at(5.0) == ("", Unfit.UNKNOWN_WORLD)
    log.close()
    log.close()


def test_what_is_missing_or_foreign_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log = follow(tmp_path / "none")
    for second in range(5):
        assert log.at(float(second)) == ("", Unfit.UNKNOWN_WORLD)
    (tmp_path / "none").mkdir()
    path = tmp_path / "none" / "output_log_2027-01-01_00-00-00.txt"
    path.write_text("01/01/27T00:00:00 [Behaviour] Joining wrld_x:1\n" * 500)
    for second in range(5, 10):
        assert log.at(float(second)) == ("", Unfit.UNKNOWN_WORLD)
    said = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert [line.split(":")[0] for line in said] == [
        f"no log of VRChat in {tmp_path / 'none'}",
        "VRChat's log has a form that is not known",
    ]


def test_a_log_that_may_not_be_read_is_no_end(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "output_log_2027-01-01_00-00-00.txt").mkdir()
    log = follow(tmp_path)
    assert log.at(1.0) == ("", Unfit.UNKNOWN_WORLD)
    assert log.at(3.0) == ("", Unfit.UNKNOWN_WORLD)
    assert "cannot be read" in caplog.text


def test_lines_without_end_cost_no_memory(tmp_path: Path) -> None:
    client = Client(tmp_path, random.Random(0))
    client.start()
    log = follow(tmp_path, settle=0)
    log.at(1.0)
    client.write("x" * 2**20)
    log.at(2.0)
    client.write("x" * 2**20)
    log.at(3.0)
    client.write("\n")
    client.join(HOMES[0])
    client.arrive()
    assert log.at(4.0) == (HOMES[0], None)
    assert log.passed_over == 1


def test_no_players_name_or_id_is_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    client = Client(tmp_path, random.Random(0))
    client.start()
    log = follow(tmp_path, settle=0)
    log.at(1.0)
    client.join(HOMES[0])
    client.arrive()
    world, _ = log.at(3.0)
    assert world == HOMES[0]
    assert "usr_" not in caplog.text
    assert USER not in repr(read_line(f"2026.09.11 00:57:08 Debug      -  [Behaviour] OnPlayerJoined a ({USER})"))
    assert USER not in repr(
        read_line(f"2026.09.11 00:57:08 Debug      -  [Behaviour] Joining wrld_a:1~private({USER})")
    )


@pytest.mark.parametrize(
    ("said", "event"),
    [
        ("[Behaviour] Joining wrld_ab-1:6~private(usr_x)~region(jp)", Event(Sign.JOINING, "wrld_ab-1")),
        ("[Behaviour] Joining local:5", Event(Sign.JOINING)),
        ("[Behaviour] Joining or Creating Room: wrld_a", Event(Sign.OTHER)),
        ("[Behaviour] Joining friend: wrld_a", Event(Sign.OTHER)),
        ("[Behaviour] OnLeftRoom", Event(Sign.LEFT)),
        ("[Behaviour] OnLeftRoomX", Event(Sign.OTHER)),
        ("[Behaviour] OnPlayerLeftRoom", Event(Sign.OTHER)),
        ("[Behaviour] OnPlayerJoined a: [Behaviour] OnLeftRoom (usr_x)", Event(Sign.ARRIVED)),
        ("[Behaviour] Entering Room: [Behaviour] OnLeftRoom", Event(Sign.OTHER)),
        ("VRCApplication: OnApplicationQuit at 44974.6", Event(Sign.QUIT)),
        ("VP MainMenuSocial OnPageAboutToShow()", Event(Sign.MENU_OPENED, "MainMenuSocial")),
        ("[UI] VP MainMenuSocial OnPageAboutToShow()", Event(Sign.OTHER)),
        ("", Event(Sign.OTHER)),
    ],
)
def test_lines_are_matched_from_their_beginning(said: str, event: Event) -> None:
    assert read_line(f"2026.09.11 00:57:08 Debug      -  {said}") == event
    assert read_line(f"2026.09.11 00:57:08 Log        -  {said}") == event
    assert read_line(said) is None


def test_the_folder_is_found_under_proton(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert log_folder() is None
    proton = tmp_path / ".local/share/Steam/steamapps/compatdata/438100/pfx/drive_c/users/steamuser"
    folder = proton / "AppData/LocalLow/VRChat/VRChat"
    folder.mkdir(parents=True)
    assert log_folder() == folder
    (windows := tmp_path / "AppData/LocalLow/VRChat/VRChat").mkdir(parents=True)
    assert log_folder() == windows


LINES = st.one_of(
    st.binary(max_size=200),
    st.sampled_from(
        [
            f"2026.09.11 00:57:08 Debug      -  {said}\n".encode()
            for said in (
                f"[Behaviour] Joining {HOMES[0]}:1",
                "[Behaviour] Finished entering world.",
                "[Behaviour] OnLeftRoom",
                f"[Behaviour] OnPlayerJoined [Behaviour] Joining {HOMES[1]}",
                "VRCApplication: HandleApplicationQuit at 1",
                "[Behaviour] Destination set: wrld_",
                "VP MainMenuWorlds OnPageAboutToShow()",
            )
        ]
    ),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(LINES, st.floats(0, 100)), max_size=30), st.randoms(use_true_random=False))
def test_no_bytes_crash_it_and_how_they_are_cut_makes_no_difference(
    parts: list[tuple[bytes, float]], chance: random.Random
) -> None:
    with tempfile.TemporaryDirectory() as name:
        paths: list[Path] = []
        for way in ("whole", "cut"):
            folder = Path(name, way)
            folder.mkdir()
            paths.append(folder / "output_log_2027-01-01_00-00-00.txt")
            paths[-1].touch()
        whole, cut = follow(paths[0].parent), follow(paths[1].parent)
        now = 0.0
        for data, seconds in parts:
            now += seconds
            with paths[0].open("ab") as file:
                file.write(data)
            left = data
            while left:
                size = chance.randint(1, len(left))
                with paths[1].open("ab") as file:
                    file.write(left[:size])
                left = left[size:]
                cut.at(now)
            assert whole.at(now) == cut.at(now)
        # One that comes later reads the last journey only, and knows as much.
        late = follow(paths[0].parent)
        late.at(now + 1000)
        assert late.at(now + 1100) == whole.at(now + 1100)
        late.close()
        whole.close()
        cut.close()
