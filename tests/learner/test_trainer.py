"""The trainer: what the replay buffer's strategies hear of the steps."""

from collections.abc import Callable
from dataclasses import replace
from typing import override

import numpy as np
import pytest
import torch
from pamiq_core.data import DataUsersDict
from pamiq_core.model import TrainingModelsDict
from pamiq_core.trainer import TrainersDict
from torch import Tensor

from common.config import Draw, Keep, MaskConfig, ModelConfig, OptimConfig, ReplayConfig
from common.ijepa.masks import Masks
from common.ijepa.model import IJepa
from common.messages import Datum
from learner.ledger import Ledger
from learner.limiter import SampleToInsertLimiter
from learner.publication import PublishedModel
from learner.replay import ReplayBuffer
from learner.step import StepReport, TrainingStep
from learner.trainer import BUFFER, MODEL, IJepaTrainer

type Make = Callable[..., Datum]

SIDE, FRAMES, BATCH, DIM = 24, 32, 8, 24
NETWORK = ModelConfig(patch_size=4, dim=DIM, depth=1, heads=2, predictor_dim=12, predictor_depth=1, predictor_heads=2)


class Reporting(TrainingStep):
    """Reports of each frame a loss and features that can be told from the frame."""

    @override
    def __call__(self, frames_BHWC: Tensor, masks: Masks | None = None) -> StepReport:
        losses_B = frames_BHWC.float().mean((1, 2, 3))
        features_BD = torch.stack([torch.cos(losses_B * (1 + width)) for width in range(DIM)], 1)
        return replace(super().__call__(frames_BHWC, masks), losses_B=losses_B, features_BD=features_BD)


def trained(make_datum: Make, step_type: type[TrainingStep], *, broken: bool = False, **fields: object) -> ReplayBuffer:
    """Fills a buffer with frames of the colour of their number and trains once, 6 batches at most."""
    config = replace(ReplayConfig(capacity=FRAMES, min_fill=FRAMES, priority_exponent=1.0), **fields)
    model = IJepa(NETWORK, (SIDE, SIDE), seed=0)
    step = step_type(model, OptimConfig(batch_size=BATCH), MaskConfig(), seed=0)
    ledger = Ledger()
    limiter = SampleToInsertLimiter(ratio=1, min_fill=FRAMES, ahead=6 * BATCH)

    def admit(datum: Datum) -> int:
        limiter.insert()
        return ledger.admit(datum, step=0, now_ns=0)

    buffer = ReplayBuffer.from_config(config, (SIDE, SIDE), dim=DIM, seed=0, admit=admit)
    for number in range(FRAMES):
        buffer.add(make_datum(data=np.full((SIDE, SIDE, 3), number, np.uint8)))
    if broken:
        with torch.no_grad():
            next(model.context_encoder.parameters()).fill_(float("nan"))
    trainer = IJepaTrainer(
        step, buffer=buffer, limiter=limiter, ledger=ledger, batch=BATCH, slice=60.0, interrupted=lambda: False
    )
    trainers = TrainersDict({"ijepa": trainer})
    trainers.attach_training_models(TrainingModelsDict({MODEL: PublishedModel(model, step.device, lambda: None)}))
    trainers.attach_data_users(DataUsersDict.from_data_buffers({BUFFER: buffer}))
    trainer.train()
    assert step.step == 6
    assert trainer.images == (0 if broken else 6 * BATCH)
    return buffer


def test_losses_reach_the_frames_that_they_are_of(make_datum: Make) -> None:
    priorities = trained(make_datum, Reporting, draw=Draw.LOSS_PRIORITISED).arrays()["draw.priorities"]
    known = np.flatnonzero(priorities)
    assert 8 <= len(known) < FRAMES
    assert priorities[known] == pytest.approx(known, abs=1e-5)


def test_features_reach_the_frames_that_they_are_of(make_datum: Make) -> None:
    arrays = trained(make_datum, Reporting, keep=Keep.MINRED).arrays()
    known = np.flatnonzero(arrays["keep.known"])
    assert 8 <= len(known) < FRAMES
    expected = np.cos(known[:, None] * (1.0 + np.arange(DIM)))
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    assert arrays["keep.features"][known] == pytest.approx(expected, abs=1e-4)


def test_steps_that_were_undone_are_not_told(make_datum: Make) -> None:
    arrays = trained(make_datum, Reporting, broken=True, draw=Draw.LOSS_PRIORITISED, keep=Keep.MINRED).arrays()
    assert not arrays["draw.priorities"].any()
    assert not arrays["keep.known"].any()


def test_who_asks_for_nothing_needs_no_report(make_datum: Make) -> None:
    buffer = trained(make_datum, TrainingStep)
    assert not buffer.wants_losses
    assert not buffer.wants_features
