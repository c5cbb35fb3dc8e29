"""Writes logs as VRChat does, and knows for every moment which world is seen.

The lines and their order are those of real logs of 2020 to 2026; names, ids and times are made up.
"""

import random
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from common.messages import Unfit

HOMES = (
    "wrld_4432ea9b-729c-46e3-8eaf-846aa0a37fdd",
    "wrld_6041ba53-0ac0-4b5b-9ecb-890ea2b0aefa",
    "wrld_0fb88df3-2057-4c2f-8e06-e948864378fd",
)
NAMES = (
    "VRChat Home",
    "～まったり交流ラウンジ～［OpenBeta］",
    "Joining wrld_: the 2nd 🎮 (usr_x)",
    "[Behaviour] OnLeftRoom",
)
PLAYERS = (
    "~ RedZu ~",
    "ΛƧƬΛ",
    "bin¹",
    "[Behaviour] Joining wrld_00000000-0000-4000-8000-000000000000",
    "テスト利用者⁄Tester",
)
USER = "usr_4f76a584-9d4b-46f6-8209-8305eb683661"
NOISE = (
    "[IK Debug Log] Frame rate: 71.2",
    "[VRCTrackingManager] tracking lost",
    "[Video Playback] Resolving URL 'https://example.org/a.mp4'",
    "Chat: [Behaviour] OnLeftRoom",
    "[Behaviour] OnPlayerLeftRoom",
    "[Behaviour] OnPlayerEnteredRoom",
    "[Behaviour] Destination requested: wrld_x:1",
    "[Behaviour] Joining friend: somebody",
    "[Behaviour] showing disconnect reason",
    "VP QuickMenuSocial OnPageAboutToShow()",
)


STEP = 0.1
"""Seconds between two frames: what is written after one is read at the next."""


@dataclass
class Client:
    """VRChat, as far as its log goes.

    Attributes:
        folder: Where it writes.
        random: What it does.
        now: Seconds since its first start.
        settle: After an arrival.
        level: `Debug`, or `Log` in older clients.
        end: Of lines.
    """

    folder: Path
    random: random.Random
    settle: float = 5.0
    level: str = "Debug"
    end: str = "\r\n"
    now: float = 0.0
    world: str = ""
    state: Unfit | None = Unfit.UNKNOWN_WORLD
    counts_from: float = 0.0
    path: Path | None = None
    half: str = field(default="", init=False)

    def start(self) -> None:
        began = datetime(2026, 9, 11, 23, 59, 0) + timedelta(seconds=round(self.now))
        self.path = self.folder / f"output_log_{began:%Y-%m-%d_%H-%M-%S}.txt"
        self.path.touch()
        self.world, self.state = "", Unfit.UNKNOWN_WORLD
        self.say("Using server environment: Release, bf0942f7")
        # A connection that the client drops itself while it starts.
        self.say("[Behaviour] OnDisconnected: DisconnectByClientLogic")
        self.state = Unfit.DISCONNECTED

    def set_out(self, world: str) -> None:
        self.say(f"[Behaviour] Destination fetching: {world}:1")
        self.say(f"[Behaviour] Destination set: {world}:12345~private({USER})~region(jp)")
        if self.state in (None, Unfit.MENU):
            self.state = Unfit.LOADING

    def fail(self) -> None:
        self.say("[Behaviour] Could not enter room because: Instance is full", "Error")
        self.state, self.counts_from = None, self.now + STEP + self.settle

    def leave(self) -> None:
        self.say("[Behaviour] OnLeftRoom")
        for player in PLAYERS:
            self.say(f"[Behaviour] OnPlayerLeft {player} ({USER})")
        self.say("[Behaviour] Unloading scenes")
        self.world, self.state = "", Unfit.LOADING

    def join(self, world: str) -> None:
        name = self.random.choice(NAMES)
        self.say(f"[Behaviour] Entering Room: {name}")
        self.say(f"[Behaviour] Joining {world}:12345~private({USER})~region(jp)~nonce(D9298A53)")
        self.say(f"[Behaviour] Joining or Creating Room: {name}")
        self.world, self.state = world, Unfit.LOADING

    def arrive(self) -> None:
        self.say("[Behaviour] Successfully joined room")
        if self.level == "Debug":
            self.say("[Behaviour] Finished entering world.")
        for player in PLAYERS:
            self.say(f"[Behaviour] OnPlayerJoined {player} ({USER})")
        self.state, self.counts_from = None, self.now + STEP + self.settle

    def cut(self) -> None:
        self.say("[Behaviour] OnDisconnected: ClientTimeout")
        self.world, self.state = "", Unfit.DISCONNECTED

    def menu(self, shown: bool) -> None:
        self.say(f"VP MainMenuWorlds OnPageAboutTo{'Show' if shown else 'Hide'}()", "Warning")
        self.state = Unfit.MENU if shown else None

    def quit(self) -> None:
        self.say("VRCApplication: HandleApplicationQuit at 44974.6")
        self.world, self.state = "", Unfit.DISCONNECTED

    def noise(self) -> None:
        self.say(self.random.choice(NOISE), self.random.choice((self.level, "Warning", "Error")))
        if self.random.random() < 0.2:
            self.write("  at VRC.Udon.UdonBehaviour.ManagedUpdate () [0x00000]" + self.end)

    def say(self, what: str, level: str = "") -> None:
        stamp = datetime(2026, 9, 11, 23, 59, 0) + timedelta(seconds=self.now)
        self.write(f"{stamp:%Y.%m.%d %H:%M:%S} {level or self.level:<10} -  {what}{self.end}{self.end}")

    def write(self, text: str) -> None:
        assert self.path is not None
        with self.path.open("ab") as file:
            file.write(text.encode())

    def truth(self) -> tuple[str, Unfit | None]:
        """The world that a frame shows now, and why it must not be used."""
        if self.state is None and self.now < self.counts_from:
            return self.world, Unfit.LOADING
        return self.world, self.state
