"""The weight registry: a Ray actor that owns what was published, and the two ends that the parts hold.

    learner ── offer(info) ─► registry ── payload(version) ─► learner      the registry fetches, so it owns the objects
    reader ── pull_if_newer(version, wait) ─► registry                     answered when there is one; then the object

What a process puts into Ray's object store dies with it; what it returns from a call belongs to the caller. So weights
outlive the learner that made them.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# Ray's handles are untyped.

import asyncio
import logging
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
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
LOOK_EVERY = 2.0
"""Seconds between the learner's looks at what the registry has, at least."""

_log = logging.getLogger(__name__)


class WeightRegistry:
    """Keeps the newest versions; an asynchronous Ray actor.

    Args:
        keep: Versions that are kept.
    """

    def __init__(self, keep: int = 4) -> None:
        self._store = VersionStore[Any](keep)
        self._changed = asyncio.Event()

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
        kept = self._store.add(StoredVersion(info, references))
        if kept:
            self._changed.set()
            self._changed = asyncio.Event()
        return kept

    async def pull_if_newer(
        self, version: int, kind: PayloadKind, wait: float = 0.0
    ) -> tuple[VersionInfo, list[Any]] | None:
        """Finds the newest version above `version`: what is known of it, and a reference to its payload in a list.

        Args:
            version: What the reader has.
            kind: What it reads.
            wait: Seconds after which it is told that there is none.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(wait):
                while self._store.newer(version, kind) is None:
                    await self._changed.wait()
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

    The newest version and the newest published one are held for good: a registry that died and came back empty gets
    them again, the older one first, even while the learner makes no new ones. Whoever asks for a count drives this.

    Args:
        registry: Handle of the registry.
        look_every: Seconds between looks at what it has, at least.
    """

    def __init__(self, registry: Any, look_every: float = LOOK_EVERY) -> None:
        self._registry = registry
        self._look_every = look_every
        self._held: dict[int, tuple[VersionInfo, Mapping[PayloadKind, bytes]]] = {}
        self._pending: dict[int, Any] = {}
        self._acknowledged = 0
        self._abandoned = 0
        self._look: Any = None
        self._repeat: Any = None
        self._looked = time.monotonic()
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type["RayWeightSink"], tuple[Any, float]]:
        return RayWeightSink, (self._registry, self._look_every)

    def offer(self, info: VersionInfo, payloads: Mapping[PayloadKind, bytes]) -> None:
        """Announces a new version; returns at once."""
        with self._lock:
            self._settle()
            self._look = None  # it would say that this version is missing
            self._held[info.version] = info, payloads
            self._pending[info.version] = self._send(info.version)
            while len(self._pending) > HELD:
                del self._pending[min(self._pending)]
                self._abandoned += 1
            self._release()

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
        """Books what has been answered, and sees to a registry that lost versions; never waits, is called locked."""
        for version, answer in list(self._pending.items()):
            if not self._answered(answer):
                continue
            try:
                kept = bool(ray.get(answer))
            except Exception as error:  # the registry died: its successor gets the newest at a later look
                _log.warning("offer of version %d failed: %s", version, type(error).__name__)
                kept = False
            del self._pending[version]
            self._acknowledged += kept
            self._abandoned += not kept
        self._release()
        if self._repeat is not None and self._answered(self._repeat):
            self._repeat = None  # whatever it was, the next look shows
        if self._look is not None and self._answered(self._look):
            self._repeat_missing()
        idle = self._look is None and self._repeat is None and max(self._held, default=0) not in self._pending
        if self._held and idle and time.monotonic() - self._looked >= self._look_every:
            self._look = self._registry.newest.remote()
            self._looked = time.monotonic()

    def _repeat_missing(self) -> None:
        """Offers the oldest version again that the registry should have and has not; one at a time keeps their order.

        It counts neither as acknowledged nor as abandoned: that was said of its first offer.
        """
        look, self._look = self._look, None
        try:
            newest: Any = ray.get(look)
        except Exception as error:  # it is being restarted
            _log.info("the registry does not tell its newest version: %s", type(error).__name__)
            return
        known = newest.version if newest else 0
        missing = [version for version in self._held if version > known and version not in self._pending]
        if missing:
            _log.warning("the registry lost version %d: offering it again", min(missing))
            self._repeat = self._send(min(missing))

    def _send(self, version: int) -> Any:
        info, payloads = self._held[version]
        # A handle kept between offers would keep the learner alive: Ray counts an actor's handle of itself too.
        return self._registry.offer.remote(info, list(payloads), ray.get_runtime_context().current_actor)

    def _release(self) -> None:
        """Lets go of the payloads that nobody may ask for any more."""
        published = (version for version, (info, _) in self._held.items() if info.published)
        stay = {*self._pending, max(self._held, default=0), max(published, default=0)}
        self._held = {version: offer for version, offer in self._held.items() if version in stay}

    @staticmethod
    def _answered(answer: Any) -> bool:
        return bool(ray.wait([answer], timeout=0)[0])

    def payload(self, version: int, kind: PayloadKind) -> NDArray[np.uint8]:
        """The bytes of a payload that is held, uint8 [bytes].

        Raises:
            KeyError: Newer versions have taken its place.
        """
        with self._lock:
            _, payloads = self._held[version]
            return np.frombuffer(payloads[kind], np.uint8)


class RayWeightSource:
    """A reader's end.

    Args:
        registry: Handle of the registry.
    """

    def __init__(self, registry: Any) -> None:
        self._registry = registry

    def pull_if_newer(
        self, version: int, kind: PayloadKind, wait: float = 0.0
    ) -> tuple[VersionInfo, memoryview] | None:
        """Returns the newest version above `version`, or None after `wait` s; the payload is a view of Ray's store."""
        return self._fetch(self._registry.pull_if_newer.remote(version, kind, wait), PATIENCE + wait)

    def pull(self, version: int, kind: PayloadKind) -> tuple[VersionInfo, memoryview] | None:
        """Returns the version of this number while the registry keeps it; None where it is gone or not to be seen."""
        return self._fetch(self._registry.version.remote(version, kind))

    @staticmethod
    def _fetch(answer: Any, timeout: float = PATIENCE) -> tuple[VersionInfo, memoryview] | None:
        found: Any = ray.get(answer, timeout=timeout)
        if found is None:
            return None
        info, (reference,) = found
        payload: Any = ray.get(reference, timeout=PATIENCE)
        return info, payload.data
