"""The colours of the page, each with its value on light and on dark ground."""

from enum import StrEnum

import numpy as np
from matplotlib.colors import Colormap, LinearSegmentedColormap


class Tint(StrEnum):
    """A colour that figures may use: its light value, which a drawing carries until it becomes a CSS variable."""

    INK = "#1f2328"
    GREY = "#5c6470"
    LINE = "#d4d8dd"
    BLANK = "#e6e8eb"
    PAPER = "#ffffff"
    BLUE = "#0a66b8"
    ORANGE = "#c4530a"
    GREEN = "#0b7f5b"
    PINK = "#a83f86"
    SKY = "#3a9bd1"
    GOLD = "#9a7400"
    RED = "#b3261e"
    SAND = "#7d6a58"

    @property
    def variable(self) -> str:
        """The CSS variable that stands for it."""
        return f"var(--{self.name.lower()})"


_DARK = {
    Tint.INK: "#e6e9ed",
    Tint.GREY: "#a3abb6",
    Tint.LINE: "#3a414b",
    Tint.BLANK: "#101317",
    Tint.PAPER: "#171a1f",
    Tint.BLUE: "#62b0f5",
    Tint.ORANGE: "#f2935c",
    Tint.GREEN: "#4cc79c",
    Tint.PINK: "#e58cc6",
    Tint.SKY: "#8ed0f3",
    Tint.GOLD: "#dcb64a",
    Tint.RED: "#f28b82",
    Tint.SAND: "#c8b09a",
}

KIND_TINTS = {"exposed": Tint.BLUE, "withheld": Tint.ORANGE, "placebo": Tint.GREY}
"""Colours of the kinds of experiences."""

ENCODER_TINTS = {"trained": Tint.BLUE, "random": Tint.ORANGE, "pixels": Tint.GREY}
"""Colours of the encoders that are compared."""

_WORLDS = (Tint.BLUE, Tint.GOLD, Tint.GREEN, Tint.PINK, Tint.SKY, Tint.RED, Tint.SAND, Tint.ORANGE)


def world_tint(number: int) -> Tint:
    """Colour of a world by its number; they repeat after eight."""
    return _WORLDS[number % len(_WORLDS)]


def variables(*, dark: bool) -> str:
    """Writes all tints as CSS variables."""
    return " ".join(f"--{tint.name.lower()}: {_DARK[tint] if dark else tint.value};" for tint in Tint)


def themed(svg: str) -> str:
    """Puts CSS variables in the place of the colours of a drawing."""
    for tint in Tint:
        svg = svg.replace(tint.value, tint.variable)
    return svg


def better_or_worse(*, dark: bool) -> Colormap:
    """Colours from red (less) over the ground's own grey (equal) to blue (more); blank where there is no number."""
    light_stops = ("#a61c22", "#e58a6e", "#f6f6f4", "#76aeda", "#0b559f")
    dark_stops = ("#ff9d80", "#a2492f", "#2b3038", "#2f6da5", "#8ecbff")
    stops = dark_stops if dark else light_stops
    return LinearSegmentedColormap.from_list("better_or_worse", list(zip(np.linspace(0, 1, 5), stops, strict=True)))
