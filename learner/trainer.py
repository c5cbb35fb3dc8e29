"""The pamiq-core trainer of I-JEPA: many steps in one `train()`, bounded in seconds, paced by the limiter."""

import time as wall
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast, override

import numpy as np
import torch
from numpy.typing import NDArray
from pamiq_core.trainer import Trainer
from torch import Tensor

from learner.device import Staging
from learner.ledger import Ledger
from learner.limiter import SampleToInsertLimiter
from learner.publication import PublishedModel
from learner.ranks import Ranks
from learner.replay import Batch, ReplayBuffer
from learner.step import StepReport, TrainingStep

MODEL = "ijepa"
"""Name of the training model."""
BUFFER = "frames"
"""Name of the data buffer, on the actors' side and here."""


class IJepaTrainer(Trainer):
    """Draws from the buffer, steps, and books what was used. With several ranks, all do a step or none does.

    Built once: pamiq-core's `TorchTrainer` makes its optimisers anew at every `run()`, which comes here every second.

    Args:
        step: The training step.
        buffer: The buffer behind the data user `frames`.
        limiter: Says when a batch may be drawn.
        ledger: Notes what was used.
        batch: Frames a step that this rank draws.
        slice: Longest time of one `train()`, seconds.
        min_new: Frames that must be admitted between two of them.
        interrupted: Asks to come back early, for a pause or a checkpoint.
        timed: Told of each step: its batch, when it was drawn and when it was done, wall clock, ns.
        ranks: Processes that train together.
    """

    def __init__(
        self,
        step: TrainingStep,
        *,
        buffer: ReplayBuffer,
        limiter: SampleToInsertLimiter,
        ledger: Ledger,
        batch: int,
        slice: float,
        min_new: int = 0,
        interrupted: Callable[[], bool],
        timed: Callable[[Batch, int, int], None] = lambda batch, drawn, done: None,
        ranks: Ranks | None = None,
    ) -> None:
        super().__init__(BUFFER)
        self._step = step
        self._buffer = buffer
        self._stage = Staging(step.device)
        self._limiter = limiter
        self._ledger = ledger
        self._batch = batch
        self._slice = slice
        self._min_new = min_new
        self._seen = -min_new
        self._interrupted = interrupted
        self._timed = timed
        self._ranks = ranks or Ranks()
        self._moments: deque[tuple[float, int]] = deque(maxlen=4096)
        self._loss = float("nan")
        self._skipped = step.skipped
        self.images = 0

    @property
    def loss(self) -> float:
        """Mean I-JEPA loss of the last slice."""
        return self._loss

    @property
    def waiting(self) -> str:
        """Why no batch may be drawn now; empty when one may."""
        if self._limiter.allows(self._batch):
            return "" if self._has_new() else "new"
        return "fill" if self._limiter.inserted < self._limiter.min_fill else "ratio"

    def resync(self) -> None:
        """Counts undone steps on from what the training step says now: it was put back to an earlier state."""
        self._skipped = self._step.skipped

    def images_per_second(self, window: float = 10.0) -> float:
        """Frames used a second over the last `window` seconds."""
        now = wall.monotonic()
        recent = [images for moment, images in list(self._moments) if now - moment <= window]
        return sum(recent) / window

    @override
    def on_training_models_attached(self) -> None:
        self._model = cast(PublishedModel, self.get_training_model(MODEL))

    @override
    def is_trainable(self) -> bool:
        self.get_data_user(BUFFER).update()
        (agreed,) = self._ranks.all(self._may_step() and self._has_new())
        return agreed

    def _may_step(self) -> bool:
        return self._limiter.allows(self._batch) and not self._interrupted()

    def _has_new(self) -> bool:
        return self._limiter.inserted - self._seen >= self._min_new

    @override
    def train(self) -> None:
        self._seen = self._limiter.inserted
        end = wall.monotonic() + self._slice
        user = self.get_data_user(BUFFER)
        done: list[_Done] = []
        while any(self._ranks.all(self._may_step() and wall.monotonic() < end)):
            done.append(self._train_batch())
            user.update()
        self._model.step = self._step.step
        if done:
            self._model.gradient_ns = done[-1].now_ns
            self._settle(done)

    def _train_batch(self) -> "_Done":
        drawn = wall.time_ns()
        batch = self._buffer.sample(self._batch)
        self._limiter.sample(self._batch)
        report = self._step(self._stage(batch.frames_BHWC))
        self._moments.append((wall.monotonic(), self._batch))
        self._timed(batch, drawn, wall.time_ns())
        return _Done(batch.rows_B, batch.slots_B, batch.serials_B, self._step.step, wall.time_ns(), report)

    def _settle(self, done: Sequence["_Done"]) -> None:
        """Books the slice's steps but for those undone; once a slice, since every read waits for the device."""
        skipped = torch.stack([one.report.skipped for one in done]).cpu().numpy()
        losses = torch.stack([one.report.loss for one in done]).cpu().numpy()
        undone = np.diff(skipped, prepend=self._skipped) > 0
        self._skipped = int(skipped[-1])
        for one, was_undone in zip(done, undone, strict=True):
            if not was_undone:
                self._ledger.expose(one.rows_B, step=one.step, now_ns=one.now_ns)
                self.images += self._batch
        if not undone.all():
            self._loss = float(losses[~undone].mean())
            self._tell([one for one, was_undone in zip(done, undone, strict=True) if not was_undone])
        self._model.health = done[-1].report.read() | {"loss": self._loss}

    def _tell(self, done: Sequence["_Done"]) -> None:
        """Tells the buffer what these steps found of its frames, where its strategies ask for it."""
        wants_losses, wants_features = self._buffer.wants_losses, self._buffer.wants_features
        if not (wants_losses or wants_features):
            return
        losses = _read([one.report.losses_B for one in done]) if wants_losses else [None] * len(done)
        features = _read([one.report.features_BD for one in done]) if wants_features else [None] * len(done)
        for one, losses_B, features_BD in zip(done, losses, features, strict=True):
            self._buffer.learned(one.slots_B, one.serials_B, losses_B=losses_B, features_BD=features_BD)


@dataclass(frozen=True, slots=True)
class _Done:
    """One step that is not booked yet."""

    rows_B: NDArray[np.int32]
    slots_B: NDArray[np.int64]
    serials_B: NDArray[np.int64]
    step: int
    now_ns: int
    report: StepReport


def _read(found: Sequence[Tensor | None]) -> list[NDArray[np.float32]]:
    """Fetches what some steps reported of each frame, in one go."""
    given = [one for one in found if one is not None]
    assert len(given) == len(found), "the training step does not report what the replay buffer's strategies want"
    return list(torch.stack(given).float().cpu().numpy())
