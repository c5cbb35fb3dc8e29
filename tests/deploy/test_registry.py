from types import SimpleNamespace
from typing import Any

import pytest
import ray

from common.messages import VersionInfo
from common.weights import PayloadKind
from deploy.registry import RayWeightSink


class Offers:
    """A registry whose answers the test gives."""

    def __init__(self) -> None:
        self.answers: dict[int, Any] = {}
        self.offer = SimpleNamespace(remote=self._offer)

    def _offer(self, info: VersionInfo, kinds: Any, learner: Any) -> int:
        return info.version


def test_payloads_stay_until_answered_and_at_most_two(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = Offers()

    def wait(references: list[int], timeout: float) -> tuple[list[int], list[int]]:
        assert timeout == 0
        return [one for one in references if one in registry.answers], []

    monkeypatch.setattr(ray, "wait", wait)
    monkeypatch.setattr(ray, "get", lambda reference: registry.answers[reference])  # pyright: ignore
    monkeypatch.setattr(ray, "get_runtime_context", lambda: SimpleNamespace(current_actor=None))
    sink = RayWeightSink(registry)

    def offer(version: int) -> None:
        info = VersionInfo(version=version, step=0, created_ns=0, system_time=0.0, digest="")
        sink.offer(info, {PayloadKind.FULL: b"%d" % version})

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
