"""Records a probe set: walks through all worlds that training never sees, and stays in placebo worlds."""

from functools import partial
from pathlib import Path

from actors.worlds.walks import record_walk
from evaluator.probeset import ProbeSet, ProbeSpec


def record_probe_set(spec: ProbeSpec, path: Path) -> None:
    """Walks the walks of a probe set and saves it; minutes, by the number of walks."""
    record = partial(record_walk, lead=spec.lead, image_size=spec.image_size)
    walks = (
        record(world, seed=spec.seed + number, frames=spec.frames, every=spec.every)
        for world in spec.names
        for number in range(spec.trajectories)
    )
    stays = (
        record(world, seed=spec.seed + spec.trajectories + number, frames=spec.stay_frames, every=spec.stay_every)
        for world in spec.placebo
        for number in range(spec.stays)
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    ProbeSet.from_walks(
        spec,
        ((walk.world, walk.frames, walk.labels) for walk in walks),
        ((stay.world, stay.frames) for stay in stays),
    ).save(path)
