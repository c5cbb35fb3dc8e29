"""A learner on recorded frames: no stream, no threads, no clock but that of the frames.

    Datum ─► exposure rule ─► replay buffer ─► as many steps as the limiter allows ─► next datum

How many steps follow a frame is fixed by the replay ratio, never by the speed of the machine. So two runs, or one that
was interrupted and went on, end with the same weights and the same ledger, to the bit, on one kind of CPU with one
number of threads.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from common.codec import frame_shape
from common.config import RunConfig
from common.errors import CheckpointError
from common.exposure import Exposure, ExposureRule
from common.ijepa.model import IJepa
from common.messages import Datum
from learner.checkpoint import Checkpoint
from learner.device import Staging, choose_device
from learner.ledger import Ledger
from learner.limiter import SampleToInsertLimiter
from learner.replay import ReplayBuffer
from learner.step import StepReport, TrainingStep


class OfflineLearner:
    """Trains on data that are handed to it one by one.

    Args:
        run: The run's configuration; only its learner, worlds' image size, experiences and seed count.
        checkpoint: What to go on from.

    Raises:
        CheckpointError: The checkpoint does not fit the configuration.
    """

    def __init__(self, run: RunConfig, checkpoint: Checkpoint | None = None) -> None:
        config = run.learner
        self.model = IJepa(config.model, run.world.image_size, seed=run.seed)
        self._now = 0.0
        self.step = TrainingStep(
            self.model,
            config.optim,
            config.masks,
            config.plasticity,
            seed=run.seed,
            device=choose_device(config.device),
            clock=lambda: self._now,
            forget_activations=config.checkpoint_activations,
            compile=config.compile,
        )
        self._stage = Staging(self.step.device)
        self.ledger = Ledger.from_table(checkpoint.ledger) if checkpoint else Ledger()
        self.limiter = SampleToInsertLimiter.from_config(config.replay, config.optim.batch_size)
        self.buffer = ReplayBuffer.from_config(
            config.replay, run.world.image_size, dim=config.model.dim, seed=run.seed, admit=self._admit
        )
        self.counts: Counter[str] = Counter()
        """What became of the data, by `Exposure`."""
        self._rule = ExposureRule.of(run)
        self.batch = config.optim.batch_size
        """Frames of a step."""
        self._shape = (*run.world.image_size, 3)
        self._time_ns = 0
        if checkpoint is not None:
            self._restore(checkpoint)

    @property
    def images(self) -> int:
        """Frames used in gradient steps."""
        return self.limiter.sampled

    def take(self, datum: Datum) -> None:
        """Puts a datum into the buffer, if it may be trained on; trains nothing.

        Raises:
            CheckpointError: It is no frame of the configured size.
        """
        if frame_shape(datum.data) != self._shape:
            raise CheckpointError(f"recorded data of shape {frame_shape(datum.data)}, expected frames {self._shape}")
        self._now, self._time_ns = datum.system_time, datum.captured_ns
        kind = self._rule.classify(datum.visit, datum.visit_time)
        self.counts[kind] += 1
        if kind is Exposure.EXPOSED:
            self.buffer.add(datum)

    def train(self, most: int | None = None, each: Callable[[StepReport], None] = lambda report: None) -> int:
        """Does the steps that the limiter allows now.

        Args:
            most: Most steps; all that are allowed without it.
            each: Called with the report of each step.

        Returns:
            How many steps were done.
        """
        done = 0
        while (most is None or done < most) and self.limiter.allows(self.batch):
            each(self._train_batch())
            done += 1
        return done

    def _train_batch(self) -> StepReport:
        batch = self.buffer.sample(self.batch)
        self.limiter.sample(self.batch)
        report = self.step(self._stage(batch.frames_BHWC))
        undone = int(report.skipped) > self.counts["skipped"]
        self.counts["skipped"] = int(report.skipped)
        if not undone:
            self.ledger.expose(batch.rows_B, step=self.step.step, now_ns=self._time_ns)
            if self.buffer.wants_losses or self.buffer.wants_features:
                self.buffer.learned(
                    batch.slots_B,
                    batch.serials_B,
                    losses_B=_array(report.losses_B) if self.buffer.wants_losses else None,
                    features_BD=_array(report.features_BD) if self.buffer.wants_features else None,
                )
        return report

    def snapshot(self, position: int) -> Checkpoint:
        """Takes a checkpoint.

        Args:
            position: Data taken so far, to go on after.
        """
        return Checkpoint(
            step=self.step.step,
            model=_arrays(self.model.state_dict()),
            optimiser=_arrays(self.step.tensors()),
            replay=self.buffer.arrays(),
            ledger=self.ledger.table(),
            state={
                "position": position,
                "training_step": self.step.numbers(),
                "replay": self.buffer.numbers(),
                "limiter": self.limiter.state(),
                "counts": dict(self.counts),
                "now": [self._now, self._time_ns],
            },
        )

    def _restore(self, checkpoint: Checkpoint) -> None:
        state = checkpoint.state
        try:
            self.model.load_state_dict(_tensors(checkpoint.model))  # pyright: ignore[reportUnknownMemberType]
        except RuntimeError as error:
            raise CheckpointError(f"the checkpoint's model does not fit learner.model: {error}") from None
        self.step.restore(_tensors(checkpoint.optimiser), state["training_step"])
        self.buffer.restore(checkpoint.replay, state["replay"])
        self.limiter.restore(state["limiter"])
        self.counts.update(state["counts"])
        self._now, self._time_ns = state["now"]

    def _admit(self, datum: Datum) -> int:
        self.limiter.insert()
        return self.ledger.admit(datum, step=self.step.step, now_ns=datum.captured_ns)


def _array(tensor: torch.Tensor) -> NDArray[np.float32]:
    return tensor.cpu().numpy()


def _arrays(tensors: Mapping[str, torch.Tensor]) -> dict[str, NDArray[Any]]:
    return {name: tensor.detach().cpu().numpy().copy() for name, tensor in tensors.items()}


def _tensors(arrays: Mapping[str, NDArray[Any]]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(array) for name, array in arrays.items()}  # pyright: ignore[reportUnknownMemberType]
