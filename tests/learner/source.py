"""What stands around a learner in its tests: an actor's writer on a real server, and a place for its weights."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from common.exposure import Exposure, ExposureRule
from common.messages import Datum, VersionInfo
from common.stream import CaptureJournal, StreamKeys, StreamWriter, connect
from common.weights import PayloadKind
from learner.learner import Learner

type Make = Callable[..., Datum]
STREAM = "test"
RULE = ExposureRule(salt="seed-0", block=10.0)
SIDE = 24


class Sink:
    """Keeps everything that is offered."""

    def __init__(self) -> None:
        self.offers: list[tuple[VersionInfo, Mapping[PayloadKind, bytes]]] = []
        self.abandoned = 0

    @property
    def acknowledged(self) -> int:
        return len(self.offers)

    def offer(self, info: VersionInfo, payloads: Mapping[PayloadKind, bytes]) -> None:
        self.offers.append((info, payloads))


type Launch = Callable[..., tuple[Learner, Sink]]
"""Starts a learner: checkpoint and version to go on from, and changes of `learner` in the configuration by name."""


def until(condition: Callable[[], bool], timeout: float = 20.0) -> None:
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.01)


def drained(learner: Learner, frames: int) -> bool:
    counts = learner.status().counts.get("actor-0")
    return counts is not None and counts.guard + counts.withheld + counts.admitted == frames and counts.unread == 0


def settled(learner: Learner) -> bool:
    """The ring has all that was read, all steps are booked, and the limiter allows no more.

    A snapshot takes what was read into the buffer, between two slices; no change from one to the next means no step.
    """
    before = learner.snapshot().state["limiter"]
    return learner.status().waiting == "ratio" and learner.snapshot().state["limiter"] == before


class Source:
    """Writes frames as an actor would: ten a second of visit time, as fast as possible. Each holds its number."""

    def __init__(self, url: str, folder: Path, make_datum: Make) -> None:
        self._make = make_datum
        self._generator = np.random.default_rng(3)
        self.kinds: list[Exposure] = []
        self.writer = StreamWriter(
            lambda: connect(url),
            keys=StreamKeys(STREAM),
            actor="actor-0",
            journal=CaptureJournal(folder / "actor-0.journal"),
            length=5000,
            spool=5000,
        )

    def write(self, frames: int) -> None:
        for _ in range(frames):
            number = len(self.kinds)
            moment = number / 10
            visit = "actor-0.1.0000"
            self.kinds.append(RULE.classify(visit, moment))
            frame = self._generator.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
            frame.reshape(-1)[:4] = np.array([number], "<u4").view(np.uint8)
            experience = RULE.experience(visit, moment)
            datum = self._make(visit_time=moment, visit=visit, experience=experience, data=frame, weights_version=0)
            self.writer.put(datum)
        until(lambda: self.writer.counts().spooled == 0)


def numbers(frames_NHWC: np.ndarray) -> list[int]:
    """The numbers that `Source` gave to frames."""
    return np.ascontiguousarray(frames_NHWC.reshape(len(frames_NHWC), -1)[:, :4]).view("<u4")[:, 0].tolist()
