"""The encoder of a run's newest checkpoint and the frames that it is shown: what pictures on the page are made from."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.errors import EngramError
from common.ijepa.model import IJepa
from common.ijepa.vit import VisionTransformer
from deploy.report.material import Material
from deploy.starting import saved_run
from evaluator.encoders import Encoder, Pixels, batch_size, encode
from evaluator.probeset import ProbeSet, ProbeSpec
from evaluator.scores import NotMeasurable


@dataclass(frozen=True, kw_only=True, eq=False)
class Seen:
    """What pictures are made from.

    Attributes:
        trained: Target encoder of the newest checkpoint.
        random: The same network before its first step.
        probes: The probe set.
        step: Optimiser steps of the checkpoint.
    """

    trained: VisionTransformer
    random: VisionTransformer
    probes: ProbeSet
    step: int

    def features(self, name: str) -> NDArray[np.float32]:
        """Encodes all frames of the probe set by `trained`, `random` or `pixels`: float32 [N, D]."""
        encoder: Encoder = {"trained": self.trained, "random": self.random, "pixels": Pixels()}[name]
        batch = batch_size(self.trained, self.trained.grid[0] * self.trained.grid[1])
        return encode(encoder, self.probes.frames, pause=lambda: None, batch=batch)


def look(run: Material) -> Seen | NotMeasurable:
    """Loads a run's newest checkpoint and its probe set, where both are there."""
    import torch

    try:
        config, checkpoint = saved_run(run.folder)
    except EngramError as error:
        return NotMeasurable(f"there is no checkpoint that can be read ({error})")
    model = IJepa(config.learner.model, config.world.image_size, seed=config.seed)
    fresh = IJepa(config.learner.model, config.world.image_size, seed=config.seed)
    model.load_state_dict({name: torch.from_numpy(array) for name, array in checkpoint.model.items()})  # pyright: ignore[reportUnknownMemberType]
    path = ProbeSpec.of(config).cache_path(config.evaluator.cache)
    if not path.exists():
        return NotMeasurable("its probe set is no longer in the cache; `engram maps` records it again")
    return Seen(
        trained=model.target_encoder.eval(),
        random=fresh.target_encoder.eval(),
        probes=ProbeSet.load(path),
        step=checkpoint.step,
    )
