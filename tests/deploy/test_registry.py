"""The registry and its two ends, over a stand-in for Ray's calls."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import ray

from common.messages import VersionInfo
from common.weights import PayloadKind
from deploy.registry import RayWeightSink, RayWeightSource, WeightRegistry

LOOK = -1
"""Stands for the answer to the question which version is the newest."""


class Offers:
    """A registry whose answers the test gives, by version."""

    def __init__(self) -> None:
        self.answers: dict[int, Any] = {}
        self.offered: list[int] = []
        self.offer = SimpleNamespace(remote=self._offer)
        self.newest = SimpleNamespace(remote=lambda: LOOK)

    def _offer(self, info: VersionInfo, kinds: Any, learner: Any) -> int:
        self.offered.append(info.version)
        return info.version


def info(version: int, *, published: bool = True) -> VersionInfo:
    return VersionInfo(version=version, step=0, created_ns=0, system_time=0.0, digest="", published=published)


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Offers:
    made = Offers()

    def wait(references: list[int], timeout: float) -> tuple[list[int], list[int]]:
        assert timeout == 0
        return [one for one in references if one in made.answers], []

    def get(reference: int) -> Any:
        answer = made.answers[reference]
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(ray, "wait", wait)
    monkeypatch.setattr(ray, "get", get)
    monkeypatch.setattr(ray, "get_runtime_context", lambda: SimpleNamespace(current_actor=None))
    return made


def test_payloads_stay_until_answered_and_at_most_two(registry: Offers) -> None:
    sink = RayWeightSink(registry)

    def offer(version: int) -> None:
        sink.offer(info(version), {PayloadKind.FULL: b"%d" % version})

    offer(1)
    registry.answers[1] = True
    offer(2)
    assert (sink.acknowledged, sink.abandoned) == (1, 0)
    with pytest.raises(KeyError):
        sink.payload(1, PayloadKind.FULL)
    offer(3)
    offer(4)
    assert (sink.acknowledged, sink.abandoned) == (1, 1)
    assert sink.payload(3, PayloadKind.FULL).tobytes() == b"3"
    registry.answers |= {3: False, 4: True}
    offer(5)
    assert (sink.acknowledged, sink.abandoned) == (2, 2)


def test_an_answer_counts_as_soon_as_somebody_asks(registry: Offers) -> None:
    sink = RayWeightSink(registry)
    sink.offer(info(1), {PayloadKind.FULL: b"1"})
    assert (sink.acknowledged, sink.abandoned) == (0, 0)
    registry.answers[1] = True
    assert sink.acknowledged == 1
    sink.offer(info(2), {PayloadKind.FULL: b"2"})
    registry.answers[2] = RuntimeError("the registry died")
    assert (sink.abandoned, sink.acknowledged) == (1, 1)


def test_a_registry_that_came_back_empty_gets_the_newest_again(registry: Offers) -> None:
    sink = RayWeightSink(registry, look_every=0.0)

    def look() -> list[int]:
        """What was offered, after some questions for the counts."""
        for _ in range(5):
            assert (sink.acknowledged, sink.abandoned) == (2, 0)
        return registry.offered

    for version in (1, 2):
        sink.offer(info(version), {PayloadKind.FULL: b"%d" % version})
        registry.answers[version] = True
        assert sink.acknowledged == version
    with pytest.raises(KeyError):
        sink.payload(1, PayloadKind.FULL)
    assert look() == [1, 2], "an unanswered look is waited for by nobody"
    registry.answers[LOOK] = info(2)
    assert look() == [1, 2]
    registry.answers[LOOK] = RuntimeError("the registry is being restarted")
    assert look() == [1, 2]
    del registry.answers[2]
    registry.answers[LOOK] = None
    assert look() == [1, 2, 2], "once, while the answer is out"
    assert sink.payload(2, PayloadKind.FULL).tobytes() == b"2"
    registry.answers |= {2: True, LOOK: info(2)}
    assert look() == [1, 2, 2]


def test_looks_are_seconds_apart(registry: Offers) -> None:
    sink = RayWeightSink(registry)
    sink.offer(info(1), {PayloadKind.FULL: b"1"})
    registry.answers |= {1: True, LOOK: None}
    for _ in range(100):
        assert sink.acknowledged == 1
    assert registry.offered == [1]


def test_an_offer_after_a_look_is_not_taken_for_lost(registry: Offers) -> None:
    sink = RayWeightSink(registry, look_every=0.0)
    sink.offer(info(1), {PayloadKind.FULL: b"1"})
    registry.answers[1] = True
    assert sink.acknowledged == 1
    registry.newest.remote = lambda: LOOK - 1
    sink.offer(info(2), {PayloadKind.FULL: b"2"})
    registry.answers |= {2: True, LOOK: info(1)}
    assert (sink.acknowledged, sink.abandoned) == (2, 0)
    assert registry.offered == [1, 2]


def test_published_weights_are_held_and_offered_again_before_the_candidates(registry: Offers) -> None:
    sink = RayWeightSink(registry, look_every=0.0)
    for version in range(1, 10):
        sink.offer(info(version, published=version == 3), {PayloadKind.FULL: b"%d" % version})
        registry.answers[version] = True
        assert sink.acknowledged == version

    def held(version: int) -> bool:
        try:
            return sink.payload(version, PayloadKind.FULL).tobytes() == b"%d" % version
        except KeyError:
            return False

    assert [version for version in range(1, 10) if held(version)] == [3, 9]
    del registry.offered[:], registry.answers[3]
    registry.answers[LOOK] = None
    while not registry.offered:
        assert sink.acknowledged == 9
    registry.answers |= {3: True, LOOK: info(3)}
    while registry.offered[-1] != 9:
        assert sink.acknowledged == 9
    registry.answers[LOOK] = info(9)
    assert (sink.acknowledged, sink.abandoned) == (9, 0)
    assert set(registry.offered) == {3, 9}
    assert registry.offered[0] == 3


def test_every_offer_counts_once_while_many_threads_ask(registry: Offers) -> None:
    sink = RayWeightSink(registry, look_every=0.0)
    registry.answers[LOOK] = None
    done = threading.Event()
    failures: list[BaseException] = []

    def ask() -> None:
        try:
            while not done.is_set():
                assert sink.acknowledged >= 0
                assert sink.abandoned >= 0
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for version in range(1, 301):
        sink.offer(info(version), {PayloadKind.FULL: b"-"})
        registry.answers[version] = version % 3 != 0
    done.set()
    for thread in threads:
        thread.join()
    assert not failures
    assert sink.acknowledged + sink.abandoned == 300


class Transport:
    """Stands for Ray between the registry and a reader: calls run at once, a reference is what it stands for."""

    def __init__(self, registry: WeightRegistry) -> None:
        for name in ("pull_if_newer", "version"):
            setattr(self, name, SimpleNamespace(remote=self._call(getattr(registry, name))))

    @staticmethod
    def _call(method: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *args: asyncio.run(method(*args))


class Payload:
    """A reference to bytes."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def future(self) -> Future[bytes]:
        arrived: Future[bytes] = Future()
        arrived.set_result(self.content)
        return arrived


def test_a_reader_gets_any_version_that_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    def payload(version: int, kind: PayloadKind) -> Payload:
        return Payload(f"{kind} {version}".encode())

    def get(answer: Any, timeout: float) -> Any:
        return np.frombuffer(answer.content, np.uint8) if isinstance(answer, Payload) else answer

    monkeypatch.setattr(ray, "get", get)
    registry = WeightRegistry(keep=3)
    learner = SimpleNamespace(payload=SimpleNamespace(remote=payload))
    for version in range(1, 6):
        offer = registry.offer(info(version, published=version != 4), cast(Sequence[PayloadKind], PayloadKind), learner)
        assert asyncio.run(offer)
    source = RayWeightSource(Transport(registry))

    def pulled(version: int, kind: PayloadKind) -> str | None:
        found = source.pull(version, kind)
        assert found is None or found[0].version == version
        return None if found is None else bytes(found[1]).decode()

    full = [pulled(version, PayloadKind.FULL) for version in range(1, 7)]
    assert full == [None, None, "full 3", "full 4", "full 5", None]
    encoders = [pulled(version, PayloadKind.ENCODER) for version in range(3, 6)]
    assert encoders == ["encoder 3", None, "encoder 5"]
    newest = source.pull_if_newer(3, PayloadKind.ENCODER)
    assert newest is not None
    assert newest[0].version == 5
