"""Visits of a recording, as pictures to be encoded, split by visit and never by frame.

Shapes: T frames of a visit, B frames a batch, H×W pixels, V visits.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.errors import ConfigError
from common.recording import Recording

BUFFER = "frames"
"""Name of the buffer that frames are recorded for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Visit:
    """One visit of a recording.

    Attributes:
        name: Its id.
        world: Where it was.
        frames: Frames in it.
    """

    name: str
    world: str
    frames: int


class Film:
    """The visits of a recording; its frames are read when they are asked for.

    Args:
        recording: The recording.
        image_size: Height and width that its frames must have.

    Raises:
        ConfigError: Frames have another size, or there are fewer than two visits.
        RecordingError: An entry is damaged.
    """

    def __init__(self, recording: Recording, image_size: tuple[int, int]) -> None:
        self._recording = recording
        found: dict[str, Visit] = {}
        for datum in recording:
            if datum.buffer != BUFFER or not isinstance(datum.data, np.ndarray):
                continue
            if datum.data.shape != (*image_size, 3):
                raise ConfigError(
                    "recording",
                    str(recording.path),
                    f"has frames of shape {datum.data.shape}, the encoder takes {(*image_size, 3)}: "
                    f"`engram convert --image-size … --resize-positions` makes it take others",
                )
            known = found.get(datum.visit)
            count = known.frames + 1 if known else 1
            found[datum.visit] = Visit(name=datum.visit, world=datum.world, frames=count)
        self.visits = list(found.values())
        if len(self.visits) < 2:
            raise ConfigError(
                "recording", str(recording.path), f"has {len(self.visits)} visits: two at least are needed"
            )

    def frames(self, chosen: Mapping[str, Sequence[int]]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """Reads some frames of each visit, in the order of the recording.

        Args:
            chosen: By visit, the places of the frames in it.

        Yields:
            Number of the visit, and the frame, uint8 [H, W, 3].
        """
        wanted = {name: frozenset(places) for name, places in chosen.items()}
        number = {visit.name: index for index, visit in enumerate(self.visits)}
        seen = dict.fromkeys(number, 0)
        for datum in self._recording:
            if datum.buffer == BUFFER and isinstance(datum.data, np.ndarray):
                place = seen[datum.visit]
                seen[datum.visit] += 1
                if place in wanted.get(datum.visit, ()):
                    yield number[datum.visit], datum.data


def folds(visits: Sequence[Visit], count: int) -> NDArray[np.int64]:
    """Deals visits into folds: each is tested once, by what was fitted on the others.

    The visits of a world are dealt one after the other, so that they lie in different folds as far as they can, and
    what is fitted has seen the world of what is asked.

    Args:
        visits: The visits.
        count: Folds; no more than there are visits are made.

    Returns:
        Number of the fold of each visit, int64 [V].
    """
    order = sorted(range(len(visits)), key=lambda index: visits[index].world)
    fold = np.zeros(len(visits), np.int64)
    fold[order] = np.arange(len(visits)) % min(count, len(visits))
    return fold
