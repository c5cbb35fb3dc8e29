"""The loss of experiences under fixed masks, at any weights version, next to controls at the same version.

The JEPA loss alone is not evidence: its target is a moving average of the encoder itself, a collapsing representation
lowers it, and it usually falls, then rises, while features get better. Only differences between exposed, withheld and
placebo experiences *at one version* say something, and only while the health measures hold.

Shapes: J frames of all experiences, B frames a batch.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray

from common.codec import frame_shape
from common.config.model import MaskConfig
from common.exposure import Exposure
from common.ijepa.masks import fixed_masks
from common.ijepa.model import IJepa
from common.messages import Datum
from evaluator.budget import no_pause
from evaluator.encoders import Pause, batch_size
from evaluator.experience import Experience, Kind, evenly, placebo_experiences
from evaluator.probeset import ProbeSet
from evaluator.thinning import most_redundant

MIN_SPAN = 0.5
"""Smallest part of its block that an experience must cover, so that all are alike in length."""

PLACEBO_PART = 4
"""Placebo experiences take up at most one of so many places."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ExperienceLoss:
    """Loss of one experience at one version.

    Attributes:
        experience: What was measured.
        version: Weights version.
        loss: Training loss (smooth L1 to layer-normed targets), mean over its frames; None if it is not finite.
    """

    experience: Experience
    version: int
    loss: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class ArchiveCounts:
    """What became of the experiences.

    Attributes:
        followed: Live experiences that are measured now.
        placebo: Placebo experiences that are measured.
        short: Experiences left out because they were seen for less than half of their length or in too few frames.
        thinned: Experiences given up for newer ones.
        refused: Frames of another size or type than the run's, or seen before.
    """

    followed: int
    placebo: int
    short: int
    thinned: int
    refused: int


class _Open:
    """An experience that is still going on: a bounded, evenly spaced choice of its frames."""

    def __init__(self, first: Datum, frames: int) -> None:
        self.first = self.last = first
        self.kind: Kind | None = None
        self._limit, self._stride, self._count = 4 * frames, 1, 0
        self.kept: list[Datum] = []

    def add(self, datum: Datum) -> None:
        if self._count % self._stride == 0:
            self.kept.append(datum)
        self._count += 1
        self.last = datum
        if len(self.kept) > self._limit:
            self.kept = self.kept[::2]
            self._stride *= 2


class ExperienceArchive:
    """Follows a bounded number of experiences of the stream, and placebos beside them.

    `observe` may run in another thread than `measure`, or in the pauses of the same thread.

    Args:
        frames: Frames by which an experience is measured (K).
        limit: Most experiences, placebos included.
        block: Length of an experience, seconds.
        image_size: Height and width of the frames, pixels.
        probe_set: Where the placebo walks are taken from, if there is one.
    """

    def __init__(
        self, *, frames: int, limit: int, block: float, image_size: tuple[int, int], probe_set: ProbeSet | None
    ) -> None:
        self._frames, self._block, self._shape = frames, block, (*image_size, 3)
        placebos = placebo_experiences(probe_set, frames, block) if probe_set is not None else []
        room = min(len(placebos), limit // PLACEBO_PART)
        self._placebos = [placebos[place] for place in evenly(len(placebos), room)]
        self._limit = limit - room
        self._open: dict[str, _Open] = {}
        self._closed: list[Experience] = []
        self._last_seq: dict[str, int] = {}
        self._counts = Counter[str]()
        self._now = 0.0
        self._lock = Lock()

    def observe(self, datum: Datum, kind: str) -> None:
        """Takes in the next frame of the stream, each actor's in their order.

        Args:
            datum: A frame.
            kind: `exposed`, `withheld` or `guard` (`common.exposure.Exposure`).

        Raises:
            ValueError: No such kind, or an experience is of two kinds.
        """
        exposure = Exposure(kind)
        with self._lock:
            if datum.seq <= self._last_seq.get(datum.actor, -1):
                self._counts["refused"] += 1
                return
            if frame_shape(datum.data) != self._shape:
                self._counts["refused"] += 1
                return
            self._last_seq[datum.actor] = datum.seq
            self._now = max(self._now, datum.system_time)
            current = self._open.get(datum.actor)
            if current is None or current.first.experience != datum.experience:
                if current is not None:
                    self._close(current)
                current = self._open[datum.actor] = _Open(datum, self._frames)
            if exposure is Exposure.GUARD:
                return
            if current.kind not in (None, Kind(exposure)):
                raise ValueError(f"experience {datum.experience} is both {current.kind} and {kind}")
            current.kind = Kind(exposure)
            current.add(datum)

    @property
    def counts(self) -> ArchiveCounts:
        """What became of the experiences so far."""
        with self._lock:
            return ArchiveCounts(
                followed=len(self._closed),
                placebo=len(self._placebos),
                short=self._counts["short"],
                thinned=self._counts["thinned"],
                refused=self._counts["refused"],
            )

    @property
    def followed(self) -> tuple[Experience, ...]:
        """All experiences that are measured, the placebos last."""
        with self._lock:
            return (*self._closed, *self._placebos)

    def measure(
        self, model: IJepa, mask_config: MaskConfig, version: int, *, pause: Pause = no_pause
    ) -> list[ExperienceLoss]:
        """Measures the loss of all followed experiences at one version; costs one forward pass a frame."""
        experiences = self.followed
        jobs = [(frame, seed) for item in experiences for frame, seed in zip(item.frames, item.seeds, strict=True)]
        batch = batch_size(model, model.grid[0] * model.grid[1])
        losses_J = np.empty(len(jobs))
        device = model.context_encoder.positions_ND.device
        for start in range(0, len(jobs), batch):
            frames, seeds = zip(*jobs[start : start + batch], strict=True)
            drawn = fixed_masks(mask_config, model.grid, seeds).to(device)
            with torch.inference_mode():
                losses_B = model.sample_losses(torch.as_tensor(np.stack(frames), device=device), drawn)
            losses_J[start : start + len(seeds)] = losses_B.double().cpu().numpy()
            pause()
        return _by_experience(experiences, losses_J, version)

    def _close(self, done: _Open) -> None:
        span = done.last.system_time - done.first.system_time
        if done.kind is None or len(done.kept) < self._frames or span < MIN_SPAN * self._block:
            self._counts["short"] += 1
            return
        chosen = [done.kept[place] for place in evenly(len(done.kept), self._frames)]
        self._closed.append(
            Experience(
                name=done.first.experience,
                actor=done.first.actor,
                visit=done.first.visit,
                world=done.first.world,
                kind=done.kind,
                frames=np.stack([cast(NDArray[np.uint8], datum.data) for datum in chosen]),
                numbers=tuple(datum.seq for datum in chosen),
                start=done.first.system_time,
                end=done.last.system_time,
                ended_ns=done.last.captured_ns,
            )
        )
        if len(self._closed) > self._limit:
            del self._closed[most_redundant(self._closed, self._now, self._block)]
            self._counts["thinned"] += 1


def _by_experience(
    experiences: Sequence[Experience], losses_J: NDArray[np.float64], version: int
) -> list[ExperienceLoss]:
    measured: list[ExperienceLoss] = []
    ends = np.cumsum([len(item.frames) for item in experiences], dtype=np.int64)
    for item, end in zip(experiences, ends, strict=True):
        loss = float(losses_J[end - len(item.frames) : end].mean())
        measured.append(ExperienceLoss(experience=item, version=version, loss=loss if np.isfinite(loss) else None))
    return measured
