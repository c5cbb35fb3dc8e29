"""What patches look like to an encoder: the first three principal components of their features as colours.

One row a world, pairs of a frame and its map. Patches of like colour have like features; a map that shows nothing but a
gradient shows positions, one of a single colour a collapse.

Shapes: W worlds, F frames a world, H×W pixels, R×S patches, N patches of all frames, D features.
"""

# pyright: reportUnknownMemberType=false
# (matplotlib's stubs leave the keyword arguments of its drawing methods untyped)

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from common.ijepa.vit import VisionTransformer
from evaluator.probeset import ProbeSet

FRAMES = 4
"""Frames a world."""

_CLIP = (2.0, 98.0)
"""Percentiles of a component that become 0 and 1."""


@torch.no_grad()
def principal_colours(encoder: VisionTransformer, frames_BHWC: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Projects the patch features of some frames on their three main directions.

    Args:
        encoder: The encoder.
        frames_BHWC: uint8 [B, H, W, 3].

    Returns:
        float64 [B, R, S, 3] from 0 to 1; red is the first component.
    """
    device = encoder.positions_ND.device
    parts = [encoder(torch.as_tensor(part, device=device)).float().cpu() for part in np.array_split(frames_BHWC, 8)]
    tokens_ND: NDArray[np.float64] = torch.cat(parts).flatten(0, 1).double().numpy()
    centred_ND = tokens_ND - tokens_ND.mean(axis=0)
    vectors_DD = np.linalg.eigh(centred_ND.T @ centred_ND).eigenvectors
    found_N3 = centred_ND @ vectors_DD[:, :-4:-1]
    low_3, high_3 = np.percentile(found_N3, _CLIP, axis=0)
    scaled_N3 = np.clip((found_N3 - low_3) / np.maximum(high_3 - low_3, 1e-12), 0.0, 1.0)
    return scaled_N3.reshape(len(frames_BHWC), *encoder.grid, 3)


def draw(encoder: VisionTransformer, probe_set: ProbeSet, path: Path, *, title: str) -> Path:
    """Draws frames of test walks of every world beside their maps.

    Args:
        encoder: The encoder.
        probe_set: Where frames come from.
        path: PNG file to write.
        title: What stands above.

    Returns:
        `path`.
    """
    worlds = probe_set.spec.names
    chosen = [frames_of(probe_set, world) for world in range(len(worlds))]
    frames_BHWC = probe_set.frames[np.concatenate(chosen)]
    colours_BRS3 = principal_colours(encoder, frames_BHWC)
    figure = Figure(figsize=(1.25 * 2 * FRAMES + 1.5, 1.25 * len(worlds) + 0.6), dpi=110)
    FigureCanvasAgg(figure)
    axes: NDArray[np.object_] = figure.subplots(len(worlds), 2 * FRAMES, squeeze=False)
    for row, world in enumerate(worlds):
        kind = " (never visited)" if probe_set.placebo[row] else ""
        for number in range(FRAMES):
            at = row * FRAMES + number
            _show(axes[row, 2 * number], frames_BHWC[at])
            _show(axes[row, 2 * number + 1], colours_BRS3[at])
        label = world.replace(":", "\n") + kind.replace(" (", "\n(")
        axes[row, 0].set_ylabel(label, rotation=0, ha="right", va="center", fontsize=8)
    figure.suptitle(title, fontsize=10)
    figure.subplots_adjust(
        left=0.13, right=0.995, bottom=0.005, top=1 - 0.45 / (1.25 * len(worlds) + 0.6), wspace=0.03, hspace=0.03
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    return path


def frames_of(probe_set: ProbeSet, world: int, count: int = FRAMES) -> Sequence[int]:
    """Picks frames of one world from the middle of test walks that lie apart."""
    tests = np.unique(probe_set.walk[(probe_set.world == world) & probe_set.is_test])
    walks = tests[np.linspace(0, len(tests) - 1, count).round().astype(int)]
    middle = probe_set.spec.frames // 2
    return [
        int(np.flatnonzero(probe_set.walk == walk)[(middle + number) % probe_set.spec.frames])
        for number, walk in enumerate(walks)
    ]


def _show(axes: Axes, picture: NDArray[np.generic]) -> None:
    axes.imshow(picture, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
