"""The gate before publication: what it says of made-up numbers, and of real runs that are driven into ruin."""

import json
import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from common.config import LearnerConfig, MaskConfig, ModelConfig, OptimConfig, Regulariser
from common.config.learner import GuardMode, GuardrailConfig
from common.config.presets import preset
from common.errors import GuardrailError
from common.findings import Reason
from common.ijepa.model import IJepa
from common.messages import Datum
from learner import checkpoint as checkpoints
from learner.candidates import Candidates, examine
from learner.guardrail import Action, Guardrail, LastHealthy
from learner.ledger import Ledger
from learner.publication import Publisher
from learner.step import TrainingStep
from tests.learner.source import Launch, Sink, Source, settled, until

SMALL = ModelConfig(patch_size=6, dim=32, depth=2, heads=2, predictor_dim=16, predictor_depth=1, predictor_heads=2)
SIZE = (48, 48)
RUIN = OptimConfig(batch_size=8, lr=1e-2, ema=0.0, warmup_steps=8, regulariser=Regulariser.NONE)
"""A target that is the context encoder itself, nothing against collapse, and steps far too long."""
HEALTHY = {"rankme": 10.0, "feature_std": 0.2}
COLLAPSED = {"rankme": 1.1, "feature_std": 0.2}

type Make = Callable[..., Datum]


def config(mode: GuardMode, **changes: Any) -> GuardrailConfig:
    return replace(GuardrailConfig(mode=mode, patience=3, rollbacks=2, frames=32), **changes)


class TestVerdicts:
    @pytest.mark.parametrize("mode", GuardMode)
    def test_healthy_candidates_are_published(self, mode: GuardMode) -> None:
        guardrail = Guardrail(config(mode))
        assert all(guardrail.judge(HEALTHY, finite=True).action is Action.PUBLISH for _ in range(9))
        assert guardrail.judge({}, finite=True).published, "what was not measured is not judged"
        assert not guardrail.held

    @pytest.mark.parametrize(
        ("health", "reason", "value"),
        [
            (COLLAPSED, Reason.RANKME, 1.1),
            ({"rankme": 10.0, "feature_std": 0.001}, Reason.FEATURE_STD, 0.001),
        ],
    )
    def test_each_limit_has_its_reason(self, health: dict[str, float], reason: Reason, value: float) -> None:
        verdict = Guardrail(config(GuardMode.HOLD)).judge(health, finite=True)
        assert (verdict.action, verdict.reason) == (Action.HOLD, reason)
        assert verdict.value == pytest.approx(value, nan_ok=True)
        assert str(verdict.limit) in str(verdict)

    @pytest.mark.parametrize("mode", GuardMode)
    def test_features_that_are_not_finite_reach_nobody(self, mode: GuardMode) -> None:
        verdict = Guardrail(config(mode)).judge(HEALTHY | {"feature_std": math.nan}, finite=True)
        assert (verdict.published, verdict.reason) == (False, Reason.NOT_FINITE)

    def test_observe_publishes_what_is_collapsed_and_holds_what_is_not_finite(self) -> None:
        guardrail = Guardrail(config(GuardMode.OBSERVE))
        assert guardrail.judge(COLLAPSED, finite=True).action is Action.OBSERVE
        assert guardrail.judge(HEALTHY, finite=True, stuck=True).action is Action.OBSERVE
        assert guardrail.judge({}, finite=False).action is Action.HOLD
        assert guardrail.held == {Reason.NOT_FINITE: 1}

    def test_a_rollback_comes_after_patience_in_a_row_and_so_many_times(self) -> None:
        guardrail = Guardrail(config(GuardMode.ROLLBACK))
        told = [COLLAPSED, COLLAPSED, HEALTHY] + 3 * [COLLAPSED] + [HEALTHY] + 6 * [COLLAPSED]
        actions = [guardrail.judge(health, finite=True).action for health in told]
        hold, roll = Action.HOLD, Action.ROLLBACK
        expected = [hold, hold, Action.PUBLISH, hold, hold, roll, Action.PUBLISH, hold, hold, roll]
        assert actions == [*expected, hold, hold, Action.STOP]
        assert guardrail.rollbacks == {Reason.RANKME: 2}
        assert guardrail.held == {Reason.RANKME: 11}

    def test_what_no_training_can_cure_waits_for_no_more_candidates(self) -> None:
        guardrail = Guardrail(config(GuardMode.ROLLBACK))
        assert guardrail.judge({}, finite=False).action is Action.ROLLBACK
        assert guardrail.judge(HEALTHY, finite=True, stuck=True).action is Action.ROLLBACK
        assert guardrail.judge({}, finite=False).action is Action.STOP

    def test_a_restart_earns_no_new_rollbacks(self) -> None:
        guardrail, again = Guardrail(config(GuardMode.ROLLBACK)), Guardrail(config(GuardMode.ROLLBACK))
        for _ in range(2):
            guardrail.judge({}, finite=False)
        again.restore(json.loads(json.dumps(guardrail.state())))
        assert again.judge({}, finite=False).action is Action.STOP


def frames(generator: np.random.Generator, batch: int = 8) -> Tensor:
    coarse = torch.tensor(generator.uniform(0, 255, (batch, 3, 4, 4)))
    return (
        torch.nn.functional.interpolate(coarse, SIZE, mode="bilinear").permute(0, 2, 3, 1).to(torch.uint8).contiguous()
    )


class Run:
    """A learner's inside without threads: steps, books them, and makes a version every four steps."""

    def __init__(self, optim: OptimConfig, guardrail: GuardrailConfig, make_datum: Make) -> None:
        self.step = TrainingStep(IJepa(SMALL, SIZE, seed=0), optim, MaskConfig(), seed=0)
        self.sink, self.ledger = Sink(), Ledger()
        self.row = self.ledger.admit(make_datum(), step=0, now_ns=0)
        publisher = Publisher(self.sink, every=0.0)
        self.candidates = Candidates(publisher, guardrail, self.step, self.ledger, seed=0)
        self.healthy: dict[str, Tensor] = {}
        self.used = 0
        self._generator = np.random.default_rng(0)

    def version(self, steps: int = 4) -> None:
        health: dict[str, float] = {}
        for _ in range(steps):
            batch = frames(self._generator)
            self.candidates.note_batch(batch.numpy())
            health = self.step(batch).read()
            self.used += len(batch)
            self.ledger.expose(np.full(len(batch), self.row, np.int32), step=self.step.step, now_ns=1)
        before = {name: value.clone() for name, value in self.state().items()}
        self.candidates.make(health, gradient_ns=0)
        if self.sink.offers[-1][0].published:
            self.healthy = before

    def state(self) -> dict[str, Tensor]:
        """All that training goes on from: parameters, moments, draws of masks."""
        return self.step.model.state_dict() | {f"step/{name}": value for name, value in self.step.tensors().items()}

    def poison(self) -> None:
        with torch.no_grad():
            next(self.step.model.context_encoder.parameters())[0, 0] = math.nan


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(
        torch.equal(a[name].view(-1).view(torch.uint8), b[name].view(-1).view(torch.uint8)) for name in a
    )


def test_collapse_is_caught_rolled_back_and_stops_the_run_at_last(make_datum: Make) -> None:
    run = Run(RUIN, config(GuardMode.ROLLBACK), make_datum)
    lr = run.step.lr_factor
    seen = 0
    while not (run.candidates.findings and run.candidates.findings[-1].action == "stop"):
        stops = seen == 2 and run.candidates.guardrail.streak == 2
        with pytest.raises(GuardrailError, match="2 of 2 rollbacks") if stops else nullcontext():
            run.version()
        if run.candidates.guardrail.rollbacks.total() > seen:
            seen, lr = seen + 1, lr / 2
            assert same(run.state(), run.healthy), "weights and moments are the last healthy candidate's"
            assert run.step.lr_factor == lr
            finding = run.candidates.findings[-1]
            assert (finding.action, finding.restored_step) == ("rollback", run.step.step)
            assert finding.undone_exposures == 8 * (finding.step - run.step.step)
    assert seen == 2
    assert run.candidates.findings[-1].action == "stop"
    held = [info for info, _ in run.sink.offers if not info.published]
    assert len(held) == run.candidates.guardrail.held.total() >= 9
    assert all(info.health["rankme"] < GuardrailConfig().min_rankme for info in held)
    table = run.ledger.table()
    assert table["exposures"][0] + table["undone"][0] == run.used
    assert table["undone"][0] == sum(finding.undone_exposures or 0 for finding in run.candidates.findings)


def test_collapse_is_held_in_hold_and_published_in_observe(make_datum: Make) -> None:
    for mode in (GuardMode.HOLD, GuardMode.OBSERVE):
        run = Run(RUIN, config(mode), make_datum)
        for _ in range(12):
            run.version()
        assert run.sink.offers[0][0].published, "random initialisation is no collapse"
        found = {finding.version for finding in run.candidates.findings}
        assert len(found) >= 3
        kept_back = {info.version for info, _ in run.sink.offers if not info.published}
        assert kept_back == (found if mode is GuardMode.HOLD else set())
        assert {finding.action for finding in run.candidates.findings} == {str(mode)}
        assert {finding.reason for finding in run.candidates.findings} <= {"rankme", "feature_std"}
        assert run.step.lr_factor == 1.0


def test_poisoned_weights_are_rolled_back_bit_for_bit(make_datum: Make) -> None:
    run = Run(OptimConfig(batch_size=8, warmup_steps=2), config(GuardMode.ROLLBACK), make_datum)
    run.version()
    kept, at = run.healthy, run.step.step
    run.version(0)
    run.poison()
    run.version(2)
    assert not run.sink.offers[-1][0].published
    assert same(run.state(), kept)
    assert (run.step.step, run.step.lr_factor) == (at, 0.5)
    assert run.ledger.table()["exposures"] == [8 * at]
    assert run.ledger.table()["undone"] == [16]
    run.version()
    assert run.sink.offers[-1][0].published, "training goes on"
    assert run.ledger.table()["last_step"] == [at + 4]


@pytest.mark.parametrize("mode", [GuardMode.OBSERVE, GuardMode.HOLD])
def test_poisoned_weights_reach_no_actor_in_any_mode(make_datum: Make, mode: GuardMode) -> None:
    run = Run(OptimConfig(batch_size=8, warmup_steps=2), config(mode), make_datum)
    run.version()
    run.poison()
    run.version()
    run.version()
    assert [info.published for info, _ in run.sink.offers] == [True, False, False]
    assert run.candidates.guardrail.held == {Reason.NOT_FINITE: 2}


def test_rates_that_overflow_are_caught(make_datum: Make) -> None:
    optim = OptimConfig(batch_size=8, lr=1e30, warmup_steps=0, regulariser=Regulariser.NONE)
    run = Run(optim, config(GuardMode.ROLLBACK, lr_cut=1e-34), make_datum)
    start = {name: value.clone() for name, value in run.step.model.state_dict().items()}
    run.version()
    assert run.candidates.findings[0].reason in ("not_finite", "skipped", "rankme")
    for _ in range(3):
        if not run.candidates.guardrail.rollbacks:
            run.version()
    assert all(torch.equal(value, start[name]) for name, value in run.step.model.state_dict().items())
    run.version()
    assert run.sink.offers[-1][0].published


def test_the_examination_moves_nothing(make_datum: Make) -> None:
    """Weights and draws after the same steps are equal, whether candidates are examined or not."""
    optim = OptimConfig(batch_size=8, warmup_steps=2)
    run = Run(optim, config(GuardMode.ROLLBACK), make_datum)
    plain = TrainingStep(IJepa(SMALL, SIZE, seed=0), optim, MaskConfig(), seed=0)
    generator = np.random.default_rng(0)
    for _ in range(3):
        run.version()
        for _ in range(4):
            plain(frames(generator))
    assert same(dict(run.step.model.state_dict()), dict(plain.model.state_dict()))
    assert same(run.step.tensors(), plain.tensors())


def test_the_copy_is_a_copy_and_is_renewed() -> None:
    step = TrainingStep(IJepa(SMALL, SIZE, seed=0), OptimConfig(batch_size=8), MaskConfig(), seed=0)
    last = LastHealthy(step.model, step)
    generator = np.random.default_rng(0)
    start = {name: value.clone() for name, value in step.model.state_dict().items()}
    step(frames(generator))
    last.restore(0.5)
    assert step.step == 0
    assert same(dict(step.model.state_dict()), start)
    step(frames(generator))
    last.keep()
    kept = {name: value.clone() for name, value in step.tensors().items()}
    for _ in range(2):
        step(frames(generator))
    last.restore(0.5)
    assert (last.step, step.step, step.lr_factor) == (1, 1, 0.25)
    assert same(step.tensors(), kept)


def test_a_demo_begins_well_above_the_default_limits() -> None:
    """Frames of walls and floors as a dark world has them; real ones give RankMe 9 to 11 and a deviation of 0.17."""
    run, generator = preset("demo"), np.random.default_rng(0)
    coarse = torch.tensor(generator.uniform(0, 60, (64, 3, 5, 5)))
    upright = torch.nn.functional.interpolate(coarse, run.world.image_size, mode="bilinear").permute(0, 2, 3, 1)
    model = IJepa(run.learner.model, run.world.image_size, seed=0)
    health = examine(model, upright.to(torch.uint8).contiguous().numpy())
    limits = LearnerConfig().guardrail
    assert health["rankme"] > 1.5 * limits.min_rankme
    assert health["feature_std"] > 3 * limits.min_feature_std
    assert Guardrail(limits).judge(health, finite=True).published


def test_a_learner_whose_rate_overflows_rolls_back_and_trains_on(launch: Launch, source: Source) -> None:
    optim = OptimConfig(batch_size=8, lr=1e30, warmup_steps=0, regulariser=Regulariser.NONE)
    guardrail = GuardrailConfig(mode=GuardMode.ROLLBACK, min_rankme=0.0, min_feature_std=0.0, lr_cut=1e-34)
    learner, sink = launch(optim=optim, guardrail=guardrail)
    source.write(300)
    until(lambda: bool(learner.status().rollbacks))
    source.write(300)
    until(lambda: any(info.published for info, _ in sink.offers))
    until(lambda: settled(learner))
    status, taken = learner.status(), learner.snapshot()
    assert status.held.keys() <= {"not_finite", "skipped"}
    assert sum(status.rollbacks.values()) == 1
    assert status.lr == pytest.approx(1e-4)
    assert [finding.action for finding in status.findings] == ["rollback"]
    ledger = taken.ledger
    assert sum(ledger["exposures"]) == 8 * taken.step, "no step of the weights that there are was undone"
    assert sum(ledger["exposures"]) + sum(ledger["undone"]) == taken.state["images"]
    assert max(ledger["last_step"]) == taken.step
    assert all(step <= taken.step for step in ledger["admitted_step"])


def test_a_learner_that_begins_with_poison_stops_and_says_so(launch: Launch, source: Source) -> None:
    learner, _ = launch()
    taken = learner.snapshot()
    learner.close()
    taken.model["context_encoder.norm.weight"][:] = math.nan
    again, sink = launch(checkpoint=taken, guardrail=GuardrailConfig(mode=GuardMode.ROLLBACK, rollbacks=1))
    source.write(100)

    def never() -> bool:
        source.write(20)  # a second candidate needs a slice of training, and a moment since the first
        return again.status().step < 0

    with pytest.raises(GuardrailError, match=r"not finite, after 1 of 1 rollbacks"):
        until(never)
    assert not any(info.published for info, _ in sink.offers)


def test_only_weights_that_training_could_go_on_from_are_marked_healthy(make_datum: Make) -> None:
    run = Run(OptimConfig(batch_size=8, warmup_steps=2), config(GuardMode.ROLLBACK), make_datum)
    assert run.candidates.healthy() is True, "there is nothing to measure yet"
    run.version()
    assert run.candidates.healthy() is True
    run.poison()
    assert run.candidates.healthy() is False
    run.version()
    assert run.candidates.healthy() is True, "it was rolled back"
    ruined = Run(RUIN, config(GuardMode.ROLLBACK, patience=100), make_datum)
    while not ruined.candidates.findings:
        ruined.version()
    assert ruined.candidates.healthy() is False, "held, and waiting for the patience to end"
    assert Run(RUIN, config(GuardMode.HOLD), make_datum).candidates.healthy() is None


def test_a_learner_that_dies_before_its_rollback_goes_on_from_healthy_weights(
    launch: Launch, source: Source, tmp_path: Path
) -> None:
    guardrail = GuardrailConfig(mode=GuardMode.ROLLBACK, min_rankme=0.0, min_feature_std=0.0)
    learner, _ = launch(guardrail=guardrail)
    for frames in (200, 100):
        source.write(frames)
        until(lambda: learner.status().step > 0 and settled(learner))
        taken = learner.snapshot()
        assert taken.state["healthy"] is True
        checkpoints.save(taken, tmp_path, keep=2)
    learner.close()
    healthy = checkpoints.latest(tmp_path)
    taken.model["context_encoder.norm.weight"][:] = math.nan
    poisoned, _ = launch(checkpoint=taken, guardrail=guardrail)
    ruined = poisoned.snapshot()
    poisoned.close()
    assert ruined.state["healthy"] is False
    checkpoints.save(replace(ruined, step=ruined.step + 1), tmp_path, keep=1)
    assert checkpoints.latest(tmp_path) == healthy
