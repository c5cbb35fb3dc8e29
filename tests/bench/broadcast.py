"""From the offer of a version to four actors that hold its bytes, against a bare actor call that returns them.

    ours   learner ── offer ─► registry ── payload ─► learner      then four readers: pull_if_newer, get
    bare   four readers: call the maker's method, get              four objects in Ray's store
    once   one call of the maker's method; four readers: get       one object, and nobody had to ask: the floor

The goal is judged against the bare calls. The floor has three messages less than any broadcast whose readers do not
know beforehand when something comes and from whom, a difference of milliseconds that only a small payload shows.

All clocks are CLOCK_MONOTONIC of one host. The readers ask before there is anything to read, as actors do that
have taken what there was.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# Ray's handles are untyped.

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
import ray
from numpy.typing import NDArray

from common.messages import VersionInfo
from common.weights import PayloadKind
from deploy.registry import RayWeightSink, RayWeightSource, WeightRegistry
from tests.bench.cluster import private_cluster
from tests.bench.measure import Result

READERS = 4
ROUNDS = {10: 9, 100: 7, 400: 5}
"""Rounds by megabytes."""
STORE = 4 * 2**30
"""The bare calls put four copies of 400 MB into the store."""
SETTLE = 0.3
"""Seconds in which Ray frees what nobody holds any more."""


class Maker:
    """The learner's place: offers random bytes, and returns the same bytes to bare calls."""

    def __init__(self, sink: RayWeightSink) -> None:
        self._sink = sink
        self._payload = b""

    def prepare(self, size: int) -> None:
        """Makes the bytes."""
        self._payload = np.random.default_rng(size).bytes(size)

    def offer(self, version: int, *, empty: bool = False) -> float:
        """Offers a version; returns the moment, seconds."""
        info = VersionInfo(version=version, step=version, created_ns=time.time_ns(), system_time=0.0, digest="")
        began = time.monotonic()
        self._sink.offer(info, {PayloadKind.ENCODER: b"-" if empty else self._payload})
        return began

    def payload(self, version: int, kind: PayloadKind) -> NDArray[np.uint8]:
        """What the registry fetches."""
        return self._sink.payload(version, kind)

    def bare(self) -> NDArray[np.uint8]:
        """The same bytes, for whoever calls."""
        return np.frombuffer(self._payload, np.uint8)


class Reader:
    """An actor's place."""

    def __init__(self, source: RayWeightSource) -> None:
        self._source = source

    def pull(self, version: int, size: int) -> float:
        """Takes the version after `version`; returns the moment at which the bytes are there, seconds."""
        found = self._source.pull_if_newer(version, PayloadKind.ENCODER, 10.0)
        there = time.monotonic()
        assert found is not None
        assert (found[0].version, len(found[1])) == (version + 1, size)
        return there

    def bare(self, maker: Any, size: int) -> tuple[float, float]:
        """Calls the maker; returns the moments before and after, seconds."""
        began = time.monotonic()
        found: Any = ray.get(maker.bare.remote())
        there = time.monotonic()
        assert len(found) == size
        return began, there

    def get(self, references: list[Any], size: int) -> float:
        """Takes an object; returns the moment at which the bytes are there, seconds."""
        found: Any = ray.get(references[0])
        there = time.monotonic()
        assert len(found) == size
        return there


class Rig:
    """The registry, the maker and the readers."""

    def __init__(self) -> None:
        registry = ray.remote(WeightRegistry).options(num_cpus=0, max_concurrency=1000)
        self._registry: Any = registry.remote(1)
        maker: Any = ray.remote(Maker).options(num_cpus=0, max_concurrency=8)
        self._maker = maker.remote(RayWeightSink(self._registry))
        reader: Any = ray.remote(Reader).options(num_cpus=0)
        self._readers = [reader.remote(RayWeightSource(self._registry)) for _ in range(READERS)]
        self._version = 0
        self._size = 0

    def prepare(self, size: int) -> None:
        """Makes payloads of this many bytes."""
        self._size = size
        ray.get(self._maker.prepare.remote(size))

    def ours(self) -> float:
        """Seconds from the offer until the last reader holds the bytes."""
        asked = [reader.pull.remote(self._version, self._size) for reader in self._readers]
        time.sleep(SETTLE)
        began = self._offered()
        ends: Any = ray.get(asked)
        self._offered(empty=True)  # the registry keeps one version: lets go of the payload
        time.sleep(SETTLE)
        return max(ends) - began

    def bare(self) -> float:
        """Seconds from the first of four calls until the last reader holds the bytes."""
        spans: Any = ray.get([reader.bare.remote(self._maker, self._size) for reader in self._readers])
        time.sleep(SETTLE)
        return max(end for _, end in spans) - min(begin for begin, _ in spans)

    def once(self) -> float:
        """Seconds from the only call until the last reader holds the bytes."""
        began = time.monotonic()
        reference = self._maker.bare.remote()
        ends: Any = ray.get([reader.get.remote([reference], self._size) for reader in self._readers])
        del reference
        time.sleep(SETTLE)
        return max(ends) - began

    def _offered(self, *, empty: bool = False) -> float:
        """Offers the next version and waits until the registry has it; returns the moment of the offer, seconds."""
        self._version += 1
        began: Any = ray.get(self._maker.offer.remote(self._version, empty=empty))
        while True:
            newest: Any = ray.get(self._registry.newest.remote())
            if newest is not None and newest.version == self._version:
                return began
            time.sleep(0.0005)


def broadcast() -> list[Result]:
    """Publish → readable by four actors, for payloads of 10, 100 and 400 MB."""
    results: list[Result] = []
    with private_cluster(STORE):
        rig = Rig()
        for megabytes, rounds in ROUNDS.items():
            rig.prepare(megabytes * 10**6)
            ways: list[Callable[[], float]] = [rig.ours, rig.bare, rig.once]
            for way in ways:
                way()
            times = [[way() for way in ways] for _ in range(rounds)]
            ours, four, one = (median(column) * 1e3 for column in zip(*times, strict=True))
            what, shown = f"publish → readable by {READERS}, {megabytes} MB", f"{ours:.0f} ms"
            limits = ((four, 1, f"{READERS} bare calls", 1.5), (one, 2, f"one bare call, {READERS} gets", None))
            for limit, column, name, most in limits:
                ratio = median(row[0] / row[column] for row in times)
                results.append(Result(what=what, ours=shown, limit=f"{limit:.0f} ms {name}", ratio=ratio, most=most))
    return results
