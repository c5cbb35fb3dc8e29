"""The weight registry: a Ray actor that owns what was published, and the two ends that the parts hold.

    learner ── offer(info) ─► registry ── payload(version) ─► learner      the registry fetches, so it owns the objects
    reader ── pull_if_newer(version) ─► registry                           one call, then the object itself

What a process puts into Ray's object store dies with it; what it returns from a call belongs to the caller. So weights
outlive the learner that made them.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# Ray's handles are untyped.

import asyncio
import logging
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import ray
from numpy.typing import NDArray

from common.messages import VersionInfo
from common.weights import PayloadKind, StoredVersion, VersionStore

PATIENCE = 30.0
"""Seconds that a reader waits for the registry."""
HELD = 2
"""Offers that wait for the registry's answer at most; a newer one displaces the oldest."""

_log = logging.getLogger(__name__)


class WeightRegistry:
    """Keeps the newest versions; an asynchronous Ray actor.

    Args:
        keep: Versions that are kept.
    """

    def __init__(self, keep: int = 4) -> None:
        self._store = VersionStore[Any](keep)

    async def offer(self, info: VersionInfo, kinds: Sequence[PayloadKind], learner: Any) -> bool:
        """Fetches a new version's payloads from the learner and keeps them.

        Returns:
            False where the version is not newer than the newest, or the learner died before it was fetched.
        """
        references = {kind: learner.payload.remote(info.version, kind) for kind in kinds}
        arrived = [asyncio.wrap_future(reference.future()) for reference in references.values()]
        for outcome in await asyncio.gather(*arrived, return_exceptions=True):
            if isinstance(outcome, BaseException):
                _log.warning("version %d did not arrive: %s", info.version, type(outcome).__name__)
                return False
        return self._store.add(StoredVersion(info, references))

    async def pull_if_newer(self, version: int, kind: PayloadKind) -> tuple[VersionInfo, list[Any]] | None:
        """Finds the newest version above `version`: what is known of it, and a reference to its payload in a list."""
        found = self._store.newer(version, kind)
        return None if found is None else (found[0], [found[1]])

    async def version(self, version: int, kind: PayloadKind) -> tuple[VersionInfo, list[Any]] | None:
        """Finds the version of this number, as `pull_if_newer` does the newest."""
        found = self._store.version(version, kind)
        return None if found is None else (found[0], [found[1]])

    async def newest(self) -> VersionInfo | None:
        """The newest version, published or not."""
        return self._store.newest


class RayWeightSink:
    """The learner's end: holds what was offered until the registry has fetched it. Any thread may call it.

    Args:
        registry: Handle of the registry.
    """

    def __init__(self, registry: Any) -> None:
        self._registry = registry
        self._held: OrderedDict[int, Mapping[PayloadKind, bytes]] = OrderedDict()
        self._pending: dict[int, Any] = {}
        self._acknowledged = 0
        self._abandoned = 0
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type["RayWeightSink"], tuple[Any]]:
        return RayWeightSink, (self._registry,)

    def offer(self, info: VersionInfo, payloads: Mapping[PayloadKind, bytes]) -> None:
        """Announces a new version; returns at once."""
        learner = ray.get_runtime_context().current_actor
        with self._lock:
            self._settle()
            self._pending[info.version] = self._registry.offer.remote(info, list(payloads), learner)
            self._held[info.version] = payloads
            while len(self._held) > HELD:
                oldest, _ = self._held.popitem(last=False)
                del self._pending[oldest]
                self._abandoned += 1

    @property
    def acknowledged(self) -> int:
        """Versions that the registry has said it keeps, up to now."""
        with self._lock:
            self._settle()
            return self._acknowledged

    @property
    def abandoned(self) -> int:
        """Versions that the registry refused or failed, or that newer ones displaced before it answered, up to now."""
        with self._lock:
            self._settle()
            return self._abandoned

    def _settle(self) -> None:
        """Lets go of the payloads whose offer has been answered, without waiting; the caller holds the lock."""
        for version, answer in list(self._pending.items()):
            if not ray.wait([answer], timeout=0)[0]:
                continue
            try:
                kept = bool(ray.get(answer))
            except Exception as error:  # the registry died: its successor gets the next version
                _log.warning("offer of version %d failed: %s", version, type(error).__name__)
                kept = False
            del self._pending[version], self._held[version]
            self._acknowledged += kept
            self._abandoned += not kept

    def payload(self, version: int, kind: PayloadKind) -> NDArray[np.uint8]:
        """The bytes of a payload offered lately, uint8 [bytes].

        Raises:
            KeyError: Newer versions have taken its place.
        """
        with self._lock:
            return np.frombuffer(self._held[version][kind], np.uint8)


class RayWeightSource:
    """A reader's end.

    Args:
        registry: Handle of the registry.
    """

    def __init__(self, registry: Any) -> None:
        self._registry = registry

    def pull_if_newer(self, version: int, kind: PayloadKind) -> tuple[VersionInfo, memoryview] | None:
        """Returns the newest version above `version`, or None; the payload is a view of Ray's object store."""
        return self._fetch(self._registry.pull_if_newer.remote(version, kind))

    def pull(self, version: int, kind: PayloadKind) -> tuple[VersionInfo, memoryview] | None:
        """Returns the version of this number while the registry keeps it; None where it is gone or not to be seen."""
        return self._fetch(self._registry.version.remote(version, kind))

    @staticmethod
    def _fetch(answer: Any) -> tuple[VersionInfo, memoryview] | None:
        found: Any = ray.get(answer, timeout=PATIENCE)
        if found is None:
            return None
        info, (reference,) = found
        payload: Any = ray.get(reference, timeout=PATIENCE)
        return info, payload.data
