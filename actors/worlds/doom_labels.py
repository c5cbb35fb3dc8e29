"""Ground truth of one frame, read off the engine's buffers."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from vizdoom import Label

from actors.worlds.picture import Window
from common.messages import Labels

UNITS_PER_DEPTH = 1.83
"""Map units in front of the eye for each step of `Labels.depth`: measured, linear, up to 255 (about 467 units)."""
_FULL_HEIGHT = 480
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
    "Explosive": "decoration",
    "Gore": "corpse",
    "Monster": "corpse",
}
_OTHER = "other"
OBJECT_CATEGORIES = (*dict.fromkeys(_CATEGORIES.values()), _OTHER)
_SELF = "Self"


def depth_grid(depth_hw: NDArray[np.uint8], window: Window) -> NDArray[np.float32]:
    """Medians of the depth buffer in a 3×3 grid over the frame.

    Args:
        depth_hw: The engine's depth buffer, uint8 [h, w]. The engine shrinks its values with the
            height of the screen (a fourth at 120 lines); this undoes it.
        window: The part of the screen that the frame shows.

    Returns:
        float32 [3, 3] in 0–255, the same scale at every screen size.
    """
    kept_hw = window.cut(depth_hw)
    rows, columns = (np.linspace(0, size, 4).astype(int) for size in kept_hw.shape)
    medians = [
        [
            np.partition(cell := kept_hw[rows[i] : rows[i + 1], columns[j] : columns[j + 1]].ravel(), cell.size // 2)[
                cell.size // 2
            ]
            for j in range(3)
        ]
        for i in range(3)
    ]
    return np.minimum(np.array(medians, np.float32) * (_FULL_HEIGHT / depth_hw.shape[0]), 255.0)


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


def make_labels(
    pose: Sequence[float], depth_hw: NDArray[np.uint8], objects: Iterable[Label], window: Window
) -> Labels:
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
