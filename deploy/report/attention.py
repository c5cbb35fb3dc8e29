"""What patches look like to the encoder: their three main directions as colours, beside an untrained encoder's.

Shapes: B frames, H×W pixels, R×S patches.
"""

from html import escape

import numpy as np
from numpy.typing import NDArray

from deploy.feature_maps import frames_of, principal_colours
from deploy.report.blocks import Section, figure, missing
from deploy.report.pictures import exact, frame
from deploy.report.seen import Seen
from evaluator.scores import NotMeasurable

FRAMES = 2
"""Frames of each world."""

TITLE = "What the encoder attends to"
_CAPTION = (
    "Frames of each world, each beside what its patches look like to the encoder: the three directions in which patch"
    " features differ most become red, green and blue. Patches of one colour are alike to the encoder. Colours mean "
    "nothing across the two encoders."
)
_GOOD = (
    "Good: things have colours of their own, such as floor, wall, door, sky, the same ones in other frames and "
    "worlds. Bad: the same gradient in every frame (the encoder knows positions only), one colour throughout "
    "(collapse), or a blurred copy of brightness (what the untrained one shows)."
)
_CONTROLS = "The same network before its first step, on the same frames; worlds that were never entered come last."


def section(seen: Seen | NotMeasurable) -> Section:
    """Writes the section."""
    lead = "No score says what the encoder sees. These pictures give an impression; they prove nothing."
    if isinstance(seen, NotMeasurable):
        return Section(name="attention", title=TITLE, lead=lead, blocks=[missing(TITLE, seen, _CAPTION)])
    worlds = seen.probes.spec.names
    chosen = [frames_of(seen.probes, world, FRAMES) for world in range(len(worlds))]
    frames_BHWC = seen.probes.frames[np.concatenate(chosen)]
    maps = [_bytes(principal_colours(encoder, frames_BHWC)) for encoder in (seen.trained, seen.random)]
    rows: list[str] = []
    for world, name in enumerate(worlds):
        kind = " (never entered)" if seen.probes.placebo[world] else ""
        triples: list[str] = []
        for at in range(world * FRAMES, (world + 1) * FRAMES):
            images = [_image(frame(frames_BHWC[at]), f"frame of {name}")]
            for encoder, colours in zip(("trained", "random-init"), maps, strict=True):
                images.append(_image(exact(colours[at]), f"its patches, {encoder}"))
            triples.append(f'<div class="triple">{"".join(images)}</div>')
        rows.append(f'<h4>{escape(name)}{kind}</h4><div class="triples">{"".join(triples)}</div>')
    head = '<p class="note">In each group of three: the frame, the trained encoder, the random-init encoder.</p>'
    made = figure(
        f"Main directions of patch features at step {seen.step:,}", f'{head}<div class="maps">{"".join(rows)}</div>',
        _CAPTION, good=_GOOD, controls=_CONTROLS,
    )  # fmt: skip
    return Section(name="attention", title=TITLE, lead=lead, blocks=[made])


def _bytes(colours_BRS3: NDArray[np.float64]) -> NDArray[np.uint8]:
    return (colours_BRS3 * 255).round().astype(np.uint8)


def _image(uri: str, label: str) -> str:
    return f'<img src="{uri}" alt="{escape(label, quote=True)}">'
