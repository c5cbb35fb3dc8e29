"""Rows of `evaluations.jsonl` that hold chosen place accuracies and visits."""

from collections.abc import Mapping, Sequence
from typing import Any

ASKED = 10
"""Frames of each of the two test walks of a world."""


def rows(
    times: Sequence[float],
    accuracy: Mapping[str, Sequence[float]],
    random: Mapping[str, float],
    visits: Sequence[tuple[str, float]],
    *,
    actors: Sequence[str] = (),
    spread: int = 1,
) -> list[dict[str, Any]]:
    """Makes the rows of one run.

    Args:
        times: System time of each version.
        accuracy: World → its accuracy at each version, in steps of 1/20.
        random: World → that of the random-init encoder.
        visits: World and start of each visit; each lasts ten seconds.
        actors: Who made each visit; one actor for all if empty.
        spread: Frames by which the first walk of a world is better than the mean of both.
    """
    found: list[dict[str, Any]] = []
    for version, time in enumerate(times):
        trained = {world: _places(values[version], spread) for world, values in accuracy.items()}
        found.append(
            {
                "schema": 2, "row": "evaluation", "version": version, "system_time": time,
                "places": {"trained": trained, "random": {w: _places(value, 0) for w, value in random.items()}},
            }
        )  # fmt: skip
    for number, (world, start) in enumerate(visits):
        actor = actors[number] if actors else "actor"
        found.append(
            {
                "schema": 2, "row": "experience", "kind": "exposed", "visit": f"{actor}/{number}", "world": world,
                "actor": actor, "start": start, "end": start + 10.0,
            }
        )  # fmt: skip
    return found


def _places(value: float, spread: int) -> dict[str, Any]:
    right = round(value * 2 * ASKED)
    spread = min(spread, right, 2 * ASKED - right)
    first = right // 2 + spread
    assert 0 <= first <= ASKED
    assert 0 <= right - first <= ASKED
    return {"value": value, "low": None, "high": None, "frames": 20, "clusters": 2,
            "right": [first, right - first], "asked": [ASKED, ASKED]}  # fmt: skip
