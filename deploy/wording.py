"""How numbers are written for people: counts, times, sizes, what a learner waits for."""

import math
from collections.abc import Sequence

NONE = "–"
"""Stands for what has not been measured."""

WAITING = {
    "": "training",
    "fill": "waits for data",
    "ratio": "waits for ratio",
    "new": "waits for new",
    "paused": "paused",
}
"""What a learner does, by the reason why it does not train."""

_BARS = "▁▂▃▄▅▆▇█"


def count(number: float) -> str:
    """Writes a count with separators: `12,345`, and from ten million on `12.3 M`."""
    return f"{number:,.0f}" if number < 1e7 else f"{number / 1e6:,.1f} M"


def clock(seconds: float) -> str:
    """Writes a time as `3:42` or `12:03:42`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def size(count_bytes: float) -> str:
    """Writes a byte count in MiB or GiB."""
    return f"{count_bytes / 2**20:,.0f} MiB" if count_bytes < 2**33 else f"{count_bytes / 2**30:,.1f} GiB"


def decimal(value: float | None, digits: int = 3) -> str:
    """Writes a number with fixed digits, or a dash where there is none."""
    return NONE if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def sparkline(values: Sequence[float], width: int) -> str:
    """Draws the last `width` finite values, scaled to their own range."""
    shown = [value for value in values if math.isfinite(value)][-width:]
    if len(shown) < 2:
        return ""
    low, span = min(shown), max(shown) - min(shown)
    return "".join(_BARS[round((value - low) / span * (len(_BARS) - 1)) if span else 0] for value in shown)
