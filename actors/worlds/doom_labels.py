"""Ground truth of one frame, read off the engine's buffers."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from vizdoom import Label

from actors.worlds.picture import Window
from common.messages import Labels

_FAR = 63
"""Where the depth buffer ends on the smallest screen: about 460 map units. Larger screens see farther."""
_SCALE = 4.0
_CATEGORIES = {
    "Health": "item",
    "Armor": "item",
    "Powerup": "item",
    "Key": "item",
    "Inventory": "item",
    "Item": "item",
    "Ammo": "weapon",
    "Weapon": "weapon",
    "LightSource": "light",
    "Decoration": "decoration",
    "Obstacle": "decoration",
    "Vegetation": "decoration",
    "Hazard": "decoration",
    "Gore": "corpse",
    "Monster": "corpse",
}
_OTHER = "other"
OBJECT_CATEGORIES = (*dict.fromkeys(_CATEGORIES.values()), _OTHER)
_SELF = "Self"


def depth_grid(depth_hw: NDArray[np.uint8], window: Window) -> NDArray[np.float32]:
    """Medians of the depth buffer in a 3×3 grid over the frame.

    Args:
        depth_hw: The engine's depth buffer, uint8 [h, w]: 7.3 map units in front of the eye for each step.
        window: The part of the screen that the frame shows.

    Returns:
        float32 [3, 3] from 0 to 252, the same at every screen size: linear, 1.83 map units in front of
        the eye for each step (measured); 252 means 460 units or more.
    """
    kept_hw = window.cut(depth_hw)
    height, width = kept_hw.shape
    rows, columns = [height * i // 3 for i in range(4)], [width * i // 3 for i in range(4)]
    medians = [
        [_median(kept_hw[top:bottom, left:right]) for left, right in pairwise(columns)]
        for top, bottom in pairwise(rows)
    ]
    return np.minimum(np.array(medians, np.float32), np.float32(_FAR)) * np.float32(_SCALE)


def _median(cell_hw: NDArray[np.uint8]) -> int:
    values = cell_hw.ravel()
    return int(np.partition(values, values.size // 2)[values.size // 2])


def count_objects(labels: Iterable[Label], window: Window) -> dict[str, int]:
    """Counts the objects whose middle is inside the frame, by category; the player is none of them."""
    counts: Counter[str] = Counter()
    for label in labels:
        x, y = label.x + label.width / 2 - window.left, label.y + label.height / 2 - window.top
        if label.object_category != _SELF and 0 <= x < window.width and 0 <= y < window.height:
            counts[_CATEGORIES.get(label.object_category, _OTHER)] += 1
    return dict(counts)


def heading(degrees: float) -> float:
    """Turns the engine's angle, degrees counter-clockwise from east, into radians in [-pi, pi)."""
    return (math.radians(degrees) + math.pi) % (2 * math.pi) - math.pi


def make_labels(pose: Sequence[float], depth_hw: NDArray[np.uint8], objects: Iterable[Label], window: Window) -> Labels:
    """Puts the ground truth of one frame together.

    Args:
        pose: x, y in map units, angle in degrees.
        depth_hw: Depth buffer, uint8 [h, w].
        objects: What the engine's labels buffer shows.
        window: The part of the screen that the frame shows.
    """
    x, y, angle = (float(value) for value in pose[:3])
    return Labels(
        x=x, y=y, heading=heading(angle), depth=depth_grid(depth_hw, window), objects=count_objects(objects, window)
    )
