"""Where models meet: a Ray actor that has the newest state of each, and the two ends that the hosts hold."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# Ray's handles are untyped.

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np
import ray
from numpy.typing import NDArray

PATIENCE = 60.0
"""Seconds that the board may take to answer."""

type Found = Mapping[str, tuple[int, NDArray[np.uint8]]]


class ModelBoard:
    """Keeps the newest version of each model; an asynchronous Ray actor."""

    def __init__(self) -> None:
        self._states: dict[str, tuple[int, NDArray[np.uint8]]] = {}
        self._changed = asyncio.Event()

    async def publish(self, name: str, version: int, state: NDArray[np.uint8]) -> None:
        """Takes a state, uint8 [bytes]; an older one than is here is let go."""
        if version > self._states.get(name, (0, None))[0]:
            self._states[name] = version, state
            self._changed.set()
            self._changed = asyncio.Event()

    async def newer(self, versions: Mapping[str, int], wait: float) -> Found:
        """Gives what is newer than these versions, at once or as soon as there is something, within `wait` seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(wait):
                while not self._newer(versions):
                    await self._changed.wait()
        return self._newer(versions)

    def _newer(self, versions: Mapping[str, int]) -> Found:
        known = ((name, self._states.get(name)) for name in versions)
        return {name: state for name, state in known if state is not None and state[0] > versions[name]}


class BoardSink:
    """The trainers' end.

    Args:
        board: Handle of the board.
    """

    def __init__(self, board: Any) -> None:
        self._board = board

    def publish(self, name: str, version: int, state: bytes) -> None:
        """Returns once actors can have it, as pamiq-core's `sync` does."""
        ray.get(self._board.publish.remote(name, version, np.frombuffer(state, np.uint8)), timeout=PATIENCE)


class BoardSource:
    """An actor's end.

    Args:
        board: Handle of the board.
    """

    def __init__(self, board: Any) -> None:
        self._board = board

    def newer(self, versions: Mapping[str, int], wait: float) -> Mapping[str, tuple[int, bytes]]:
        """Gives the newest version and state of each model that has a newer one than named."""
        found: Found = ray.get(self._board.newer.remote(dict(versions), wait), timeout=PATIENCE + wait)
        return {name: (version, state.tobytes()) for name, (version, state) in found.items()}
