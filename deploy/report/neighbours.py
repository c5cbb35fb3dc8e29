"""Which other pictures an encoder takes for like a given one.

Shapes: N frames of the probe set, D features, Q queries, K neighbours.
"""

from html import escape

import numpy as np
from numpy.typing import NDArray

from deploy.report import pictures
from deploy.report.blocks import Section, figure, missing
from deploy.report.seen import Seen
from deploy.view import ENCODERS
from evaluator.probeset import ProbeSet
from evaluator.scores import NotMeasurable

NEIGHBOURS = 5
"""Neighbours of each query."""

QUERIES = 6
"""Queries at most, one a world."""

TITLE = "What looks alike to it"
_CAPTION = (
    "The first picture of each block is a frame of a test walk; the rows beside it hold the five frames most like it "
    "(cosine of centred, averaged features) among all other walks of the probe set. A green edge: the same world."
)
_GOOD = (
    "Good: neighbours show the same kind of place from other places and directions, in the same world where worlds "
    "look different. Bad: neighbours share only brightness or colour, as those of the pixels do; or the same few "
    "frames are neighbours of everything (features that hardly vary)."
)
_CONTROLS = "The same search with the network before its first step, and with the bare 8×8 pixels."


def nearest(features_ND: NDArray[np.float32], probes: ProbeSet, query: int, count: int = NEIGHBOURS) -> list[int]:
    """Finds the frames of other walks whose centred features have the greatest cosine with those of a frame."""
    centred_ND = features_ND.astype(np.float64) - features_ND.mean(axis=0, dtype=np.float64)
    norm_N = np.linalg.norm(centred_ND, axis=1)
    cosine_N = centred_ND @ centred_ND[query] / np.maximum(norm_N * norm_N[query], 1e-12)
    cosine_N[probes.walk == probes.walk[query]] = -np.inf
    return [int(frame) for frame in np.argsort(-cosine_N, kind="stable")[:count] if np.isfinite(cosine_N[frame])]


def section(seen: Seen | NotMeasurable) -> Section:
    """Writes the section."""
    lead = "The nearest neighbours of a few frames, across all worlds: what the averaged features find alike."
    if isinstance(seen, NotMeasurable):
        return Section(name="neighbours", title=TITLE, lead=lead, blocks=[missing(TITLE, seen, _CAPTION)])
    features = {name: seen.features(name) for name in ENCODERS}
    broken = [name for name, of in features.items() if not np.isfinite(of).all()]
    if broken:
        reason = f"features of the {ENCODERS[broken[0]]} encoder are not finite"
        return Section(name="neighbours", title=TITLE, lead=lead, blocks=[missing(TITLE, reason, _CAPTION)])
    blocks = [_query(seen.probes, query, features) for query in queries(seen.probes)]
    made = figure(
        "Nearest neighbours across worlds", f'<div class="queries">{"".join(blocks)}</div>', _CAPTION, good=_GOOD,
        controls=_CONTROLS,
    )  # fmt: skip
    return Section(name="neighbours", title=TITLE, lead=lead, blocks=[made])


def queries(probes: ProbeSet) -> list[int]:
    """Picks the middle frame of the first test walk of each world, placebo worlds among them."""
    worlds = np.unique(np.linspace(0, len(probes.spec.names) - 1, QUERIES).round().astype(int))
    found: list[int] = []
    for world in worlds.tolist():
        frames = np.flatnonzero(probes.is_test & (probes.world == world))
        first = frames[probes.walk[frames] == probes.walk[frames[0]]]
        found.append(int(first[len(first) // 2]))
    return found


def _query(probes: ProbeSet, query: int, features: dict[str, NDArray[np.float32]]) -> str:
    world = probes.spec.names[int(probes.world[query])]
    rows: list[str] = []
    for name, features_ND in features.items():
        cells = "".join(
            _image(probes, frame, same=probes.world[frame] == probes.world[query])
            for frame in nearest(features_ND, probes, query)
        )
        rows.append(f'<div class="row"><span>{ENCODERS[name]}</span>{cells}</div>')
    return (
        f'<div class="query"><div class="asked">{_image(probes, query, same=False)}<span>{escape(world)}</span></div>'
        f'<div class="found">{"".join(rows)}</div></div>'
    )


def _image(probes: ProbeSet, frame: int, *, same: bool) -> str:
    world = escape(probes.spec.names[int(probes.world[frame])], quote=True)
    marked = ' class="same"' if same else ""
    return f'<img src="{pictures.frame(probes.frames[frame])}" alt="{world}" title="{world}"{marked}>'
