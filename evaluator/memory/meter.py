"""The four measures of many experiences at one version, from one forward pass each.

    calibration frames ── predict ──► readout                       (once a version)
    pool of a world ──── targets ──► gallery ──► cosines ─► β       (world after world; targets then go)
    experience ── predict, targets ──► loss, nMSE, reference, cosines ─► bits once β is known

Only one world's targets are in memory at a time.

Shapes: F frames, K frames of an experience, N frames of a pool, P patches of the grid, Q predictions of a frame, D
width.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from common.budget import no_pause
from common.config.model import MaskConfig
from common.ijepa.model import IJepa
from evaluator.cost import Cost
from evaluator.encoders import Pause, batch_size
from evaluator.experience import Experience, evenly
from evaluator.memory.bits import Floats, fit_beta, memory_bits
from evaluator.memory.forward import Predicted, all_targets, own_targets, predict
from evaluator.memory.gallery import FLOOR, Gallery
from evaluator.memory.measures import Measure, Measured, Remembered, halved
from evaluator.memory.pools import Pool
from evaluator.memory.reference import Readout, ReferenceNet
from evaluator.scores import NotMeasurable

CALIBRATION = 256
"""Frames that nobody trained on, on which readout and temperature are fitted."""

ASKED = 12
"""Predictions of a calibration frame that the temperature is fitted on, evenly chosen."""

_NOTHING_TO_FIT = NotMeasurable("there are no finite calibration frames to fit the temperature on")
_NO_READOUT = NotMeasurable("no frames are known that nobody trained on")

type Rivals = tuple[int, ...]
"""Places in a pool."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """What was measured at a version.

    Attributes:
        experiences: Scores of each experience.
        worlds: Loss, nMSE and bits on the calibration frames of each world: what is known of a place at every version,
            before it was ever visited too. The readout is fitted on them, so they have no reference loss.
        beta: Inverse temperature; None where there was nothing to fit it on.
        calibration: Calibration frames that it was fitted on.
    """

    experiences: Sequence[Remembered] = ()
    worlds: Mapping[str, Mapping[Measure, Measured]] = field(default_factory=dict[str, dict[Measure, Measured]])
    beta: float | None = None
    calibration: int = 0


@dataclass(slots=True)
class _Raw:
    """What is known of an experience before β is."""

    measures: dict[Measure, Measured]
    cosines_KQN: Floats | None = None
    no_pool: NotMeasurable | None = None


class Meter:
    """Measures experiences at one version: `calibrate`, then `measure` world after world, then `finish`.

    Args:
        model: The network; read only.
        masks: Their shape.
        reference: The frozen net.
        block: Length of an experience, s.
        cost: Where CPU seconds are counted.
        pause: Called after each slice of work.
    """

    def __init__(
        self,
        model: IJepa,
        masks: MaskConfig,
        reference: ReferenceNet,
        *,
        block: float,
        cost: Cost | None = None,
        pause: Pause = no_pause,
    ) -> None:
        self._model, self._masks, self._reference, self._block = model, masks, reference, block
        self._cost, self._pause = cost or Cost(time.thread_time), pause
        self._device = model.context_encoder.positions_ND.device
        self._batch = batch_size(model, model.grid[0] * model.grid[1])
        self._calibration: dict[str, tuple[list[int], Predicted]] = {}
        self._readout: Readout | None = None
        self._worlds: dict[str, tuple[dict[Measure, Measured], list[Floats]]] = {}
        self._raw: dict[Experience, _Raw] = {}

    def calibrate(self, pools: Iterable[Pool]) -> None:
        """Predicts the calibration frames, evenly chosen from pools, and fits the readout."""
        chosen = _calibration(list(pools))
        references: list[Tensor] = []
        for pool, places in chosen:
            parts: list[Predicted] = []
            for start in range(0, len(places), self._batch):
                part = places[start : start + self._batch]
                with self._cost.of("calibration"):
                    frames = self._frames(pool.frames[part])
                    parts.append(predict(self._model, self._masks, frames, pool.seeds(part)))
                    references.append(self._reference(frames))
                self._pause()
            predictions = Predicted(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))
            self._calibration[pool.world] = (places, predictions)
        if not references:
            return
        with self._cost.of("calibration"):
            predicted = [found for _, found in self._calibration.values()]
            everything = Predicted(*(torch.cat(tensors) for tensors in zip(*predicted, strict=True)))
            self._readout = Readout(torch.cat(references), everything.predictions_FQD, everything.positions_FQ)
        self._pause()

    def wants(self, pool: Pool) -> bool:
        """Whether `measure` needs this pool even where no experience of its world is measured: it calibrates."""
        return pool.world in self._calibration

    def targets(self, pool: Pool) -> Tensor:
        """Encodes a pool that no probe has encoded: float32 [N, P, D]."""
        parts: list[Tensor] = []
        for start in range(0, len(pool), self._batch):
            with self._cost.of("pools"):
                parts.append(all_targets(self._model, pool.frames[start : start + self._batch]))
            self._pause()
        return torch.cat(parts)

    def measure(
        self, experiences: Sequence[Experience], pool: Pool | NotMeasurable, targets_NPD: Tensor | None = None
    ) -> None:
        """Measures experiences of one world.

        Args:
            experiences: What to measure; may be empty.
            pool: The world's pool, or why there is none.
            targets_NPD: Layer-normed targets of the pool's frames; needed with a pool.
        """
        gallery: Gallery | None = None
        if isinstance(pool, Pool):
            assert targets_NPD is not None, "a pool comes with its targets"
            with self._cost.of("bits"):
                gallery = Gallery(targets_NPD)
            self._pause()
            self._calibrate_bits(pool, gallery)
        against = [pool if isinstance(pool, NotMeasurable) else pool.rivals(one, self._block) for one in experiences]
        size = max(1, self._batch // max((len(item.frames) for item in experiences), default=1))
        for start in range(0, len(experiences), size):
            rows = slice(start, start + size)
            self._measure(experiences[rows], against[rows], gallery)

    def finish(self) -> Found:
        """Fits the temperature and scores everything that was measured, in that order."""
        calibration = [frame for _, frames in self._worlds.values() for frame in frames]
        beta: float | None = None
        if calibration:
            with self._cost.of("bits"):
                asked = evenly(calibration[0].shape[0], min(ASKED, calibration[0].shape[0]))
                beta = fit_beta([frame[None, asked] for frame in calibration])
            self._pause()
        found: list[Remembered] = []
        for item, raw in self._raw.items():
            with self._cost.of("bits"):
                bits = self._bits(raw, beta)
            negatives = 0 if raw.cosines_KQN is None else raw.cosines_KQN.shape[-1] - 1
            found.append(Remembered(experience=item, measures=raw.measures | {Measure.BITS: bits}, negatives=negatives))
        return Found(experiences=found, worlds=self._of_worlds(beta), beta=beta, calibration=len(calibration))

    def _of_worlds(self, beta: float | None) -> dict[str, dict[Measure, Measured]]:
        worlds: dict[str, dict[Measure, Measured]] = {}
        for world, (measures, frames) in self._worlds.items():
            bits: Measured = _NOTHING_TO_FIT
            if beta is not None and len(frames) > 1:
                with self._cost.of("bits"):
                    bits = halved(np.concatenate([memory_bits(frame[None], beta) for frame in frames]))
            worlds[world] = measures | {Measure.BITS: bits}
        return worlds

    def _bits(self, raw: _Raw, beta: float | None) -> Measured:
        if raw.cosines_KQN is None:
            assert raw.no_pool is not None, "an experience without a pool says why"
            return raw.no_pool
        if beta is None:
            return _NOTHING_TO_FIT
        return halved(memory_bits(raw.cosines_KQN, beta))

    def _calibrate_bits(self, pool: Pool, gallery: Gallery) -> None:
        """Compares this world's calibration frames with its pool."""
        if pool.world not in self._calibration:
            return
        places, predicted = self._calibration[pool.world]
        with self._cost.of("calibration"):
            own_FQD = own_targets(gallery.targets_NPD[places], predicted)
            measures = {
                Measure.LOSS: halved(_numbers(_losses(predicted, own_FQD))),
                Measure.NMSE: nmse(predicted, own_FQD, gallery.baseline(range(len(pool)))),
            }
            cosines_FQN = _host(gallery.cosines(predicted.predictions_FQD, own_FQD, predicted.positions_FQ))
            frames: list[Floats] = []
            for place, cosines_QN in zip(places, cosines_FQN, strict=True):
                rivals = pool.rivals_of(place, self._block)
                if not isinstance(rivals, NotMeasurable) and np.isfinite(cosines_QN).all():
                    frames.append(_among(cosines_QN, rivals))
        self._worlds[pool.world] = (measures, frames)
        self._pause()

    def _measure(
        self, items: Sequence[Experience], against: Sequence[Rivals | NotMeasurable], gallery: Gallery | None
    ) -> None:
        frames = self._frames(np.concatenate([item.frames for item in items]))
        with self._cost.of("forward"):
            predicted = predict(self._model, self._masks, frames, [seed for item in items for seed in item.seeds])
            own_FQD = own_targets(all_targets(self._model, frames), predicted)
        self._pause()
        with self._cost.of("loss"):
            losses_F = _losses(predicted, own_FQD)
        errors_F: Tensor | None = None
        if self._readout is not None:
            with self._cost.of("reference"):
                errors_F = self._readout.errors(self._reference(frames), *predicted)
            self._pause()
        cosines_FQN: Floats | None = None
        if gallery is not None:
            with self._cost.of("bits"):
                cosines_FQN = _host(gallery.cosines(predicted.predictions_FQD, own_FQD, predicted.positions_FQ))
        end = 0
        for item, rivals in zip(items, against, strict=True):
            rows = slice(end, end := end + len(item.frames))
            raw = self._raw[item] = _Raw({Measure.LOSS: halved(_numbers(losses_F[rows]))})
            raw.measures[Measure.REFERENCE] = _NO_READOUT if errors_F is None else halved(_numbers(errors_F[rows]))
            if isinstance(rivals, NotMeasurable):
                raw.no_pool = raw.measures[Measure.NMSE] = rivals
                continue
            assert gallery is not None, "rivals come from a pool"
            assert cosines_FQN is not None, "a gallery gives cosines"
            raw.cosines_KQN = np.stack([_among(cosines_QN, rivals) for cosines_QN in cosines_FQN[rows]])
            with self._cost.of("nmse"):
                some = Predicted(predicted.predictions_FQD[rows], predicted.positions_FQ[rows])
                raw.measures[Measure.NMSE] = nmse(some, own_FQD[rows], gallery.baseline(rivals))
        self._pause()

    def _frames(self, frames: NDArray[np.uint8]) -> Tensor:
        return torch.as_tensor(frames, device=self._device)


def nmse(predicted: Predicted, targets_KQD: Tensor, baseline_PD: Tensor) -> Measured:
    """Squared error of the predictions ÷ that of each position's mean target.

    Args:
        predicted: Predictions of an experience's frames.
        targets_KQD: Their targets.
        baseline_PD: Mean target of each position over a pool.
    """
    error_K = _numbers((predicted.predictions_FQD - targets_KQD).square().mean((1, 2)))
    spread_K = _numbers((baseline_PD[predicted.positions_FQ] - targets_KQD).square().mean((1, 2)))
    for part in (spread_K[0::2], spread_K[1::2]):
        if np.isfinite(part).all() and part.mean() < FLOOR:
            return NotMeasurable(f"the targets' variance is {part.mean():.1e}, below {FLOOR:g}: they have collapsed")
    return halved(error_K, spread_K)


def _calibration(pools: Sequence[Pool]) -> list[tuple[Pool, list[int]]]:
    """Chooses frames evenly over the probe set; without one, over the first pool that was gathered."""
    probes = [pool for pool in pools if pool.probes is not None] or list(pools[:1])
    total = sum(map(len, probes))
    chosen = evenly(total, min(CALIBRATION, total))
    found: list[tuple[Pool, list[int]]] = []
    first = 0
    for pool in probes:
        found.append((pool, [place - first for place in chosen if first <= place < first + len(pool)]))
        first += len(pool)
    return [(pool, places) for pool, places in found if places]


def _losses(predicted: Predicted, targets_FQD: Tensor) -> Tensor:
    """Training loss of each frame: smooth L1 (β = 1), float32 [F]."""
    return functional.smooth_l1_loss(predicted.predictions_FQD, targets_FQD, reduction="none").mean((1, 2))


def _among(cosines_QN: Floats, rivals: Rivals) -> Floats:
    """Keeps the cosines to the own target and to the rivals."""
    return cosines_QN[:, [0, *(1 + place for place in rivals)]]


def _host(cosines_FQN: Tensor) -> Floats:
    return cosines_FQN.cpu().numpy()


def _numbers(of_K: Tensor) -> NDArray[np.float64]:
    return of_K.double().cpu().numpy()
