"""The four measures on real networks: untrained, collapsed, and trained on one experience alone."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import cast

import numpy as np
import pytest
import torch

from common.config import OptimConfig
from common.ijepa.masks import fixed_masks
from common.ijepa.model import IJepa
from evaluator.experience import Kind
from evaluator.memory.forward import Predicted, all_targets, own_targets, predict
from evaluator.memory.gallery import Gallery
from evaluator.memory.measures import Halved, Measure, Remembered, halved
from evaluator.memory.meter import Meter, nmse
from evaluator.memory.reference import ReferenceNet
from evaluator.scores import NotMeasurable
from learner.step import TrainingStep
from tests.evaluator.memory.textures import BLOCK, MASKS, MODEL, SIZE, experience, measured, pool, tiles

MANY = [experience(number, kind=Kind.WITHHELD if number % 5 == 2 else Kind.EXPOSED) for number in range(20)]


def fresh(seed: int = 1) -> IJepa:
    return IJepa(MODEL, SIZE, seed=seed)


def number(item: Remembered, measure: Measure) -> float:
    found = item.measures[measure]
    assert isinstance(found, Halved), found
    return found.value


def bits(items: Sequence[Remembered]) -> np.ndarray:
    return np.array([number(item, Measure.BITS) for item in items])


def collapsed(spread: float) -> IJepa:
    """A target encoder that says the same of every patch, but for `spread`."""
    model = fresh()
    with torch.no_grad():
        model.target_encoder.norm.weight.fill_(spread)
        model.target_encoder.norm.bias.copy_(torch.randn(MODEL.dim, generator=torch.Generator().manual_seed(0)))
    return model


@pytest.fixture(scope="module")
def overfitted() -> IJepa:
    """Trained on nothing but the eight frames of experience 3, under the masks that it is asked with."""
    model = fresh()
    step = TrainingStep(model, OptimConfig(lr=3e-3, warmup_steps=20, batch_size=8, ema=0.99), MASKS, seed=0)
    frames, masks = torch.as_tensor(MANY[3].frames), fixed_masks(MASKS, model.grid, MANY[3].seeds)
    for _ in range(300):
        step(frames, masks)
    return model.eval()


@pytest.mark.parametrize("spread", [0.0, 1e-4, 1e-2])
def test_a_collapsed_encoder_remembers_nothing(spread: float) -> None:
    found = measured(collapsed(spread), *MANY)
    assert np.abs(bits(found.experiences)).max() < 0.05
    for item in found.experiences:
        refused = item.measures[Measure.NMSE]
        assert isinstance(refused, NotMeasurable)
        assert "collapsed" in refused.because


def test_noise_instead_of_features_remembers_nothing() -> None:
    model, generator = collapsed(0.0), torch.Generator().manual_seed(3)

    def noisy(_module: object, _inputs: object, output: torch.Tensor) -> torch.Tensor:
        return output + 1e-2 * torch.randn(output.shape, generator=generator)

    model.target_encoder.norm.register_forward_hook(noisy)
    assert np.abs(bits(measured(model, *MANY).experiences)).max() < 0.05


@pytest.mark.parametrize("seed", [1, 2])
def test_an_untrained_network_does_not_tell_exposed_from_withheld(seed: int) -> None:
    found = measured(fresh(seed), *MANY)
    assert np.abs(bits(found.experiences)).max() < 0.1
    for measure in Measure:
        by_kind = [[number(i, measure) for i in found.experiences if i.experience.kind is kind] for kind in Kind]
        exposed, withheld = map(np.array, by_kind[:2])
        error = np.sqrt(exposed.var(ddof=1) / len(exposed) + withheld.var(ddof=1) / len(withheld))
        assert abs(exposed.mean() - withheld.mean()) < 3 * error, measure


def test_what_was_trained_on_is_remembered_and_its_neighbours_are_not(overfitted: IJepa) -> None:
    found = measured(overfitted, *MANY)
    all_bits = bits(found.experiences)
    others = np.delete(all_bits, 3)
    contrast = all_bits[3] - others.mean()
    assert contrast > max(0.5, 6 * others.std(ddof=1))
    assert (np.abs(all_bits[[2, 4]] - others.mean()) < contrast / 4).all()
    for measure in (Measure.LOSS, Measure.NMSE):
        each = np.array([number(item, measure) for item in found.experiences])
        assert each.argmin() == 3
    halves = cast(Halved, found.experiences[3].measures[Measure.BITS]).halves
    assert min(halves) > others.max()
    of_world = found.worlds["w"][Measure.BITS]
    assert isinstance(of_world, Halved)
    assert abs(of_world.value) < 0.3


def test_the_mean_predictor_has_an_error_of_exactly_one() -> None:
    targets = all_targets(fresh(), pool().frames)
    baseline = Gallery(targets).baseline(range(64))
    where = torch.tensor([[0, 7, 35], [1, 1, 4]])
    own = own_targets(targets[70:72], Predicted(targets, where))
    assert nmse(Predicted(baseline[where], where), own, baseline) == Halved(1.0, (1.0, 1.0))
    perfect = nmse(Predicted(own, where), own, baseline)
    assert perfect == Halved(0.0, (0.0, 0.0))


def test_the_loss_is_the_training_loss_under_the_frames_own_masks() -> None:
    model = fresh()
    item = measured(model, MANY[0]).experiences[0]
    each = [
        float(model.sample_losses(torch.as_tensor(frame[None]), fixed_masks(MASKS, model.grid, [seed]))[0])
        for frame, seed in zip(MANY[0].frames, MANY[0].seeds, strict=True)
    ]
    found = item.measures[Measure.LOSS]
    assert isinstance(found, Halved)
    assert found.value == pytest.approx(np.mean(each), rel=1e-5)
    assert found.halves == pytest.approx((np.mean(each[0::2]), np.mean(each[1::2])), rel=1e-5)


def test_a_score_does_not_depend_on_what_else_is_measured(overfitted: IJepa) -> None:
    alone, together = measured(overfitted, MANY[3]), measured(overfitted, *MANY)
    for measure in Measure:
        assert number(alone.experiences[0], measure) == pytest.approx(
            number(together.experiences[3], measure), rel=1e-4
        )


def test_frames_of_the_same_stay_are_no_rivals() -> None:
    """A pool that holds the experience's own frames gives the same score as one without."""
    own = replace(MANY[0], visit="probe/w/0")
    base = pool(276, walks=23)
    with_own = replace(
        base,
        frames=np.concatenate([base.frames[:12], own.frames, base.frames[12:]]),
        stays=("probe/w/0",) * 20 + base.stays[12:],
        moments=np.zeros(284),
    )
    found = [
        measured(fresh(), replace(own, start=0.0, end=0.0), against=one).experiences[0] for one in (base, with_own)
    ]
    assert [item.negatives for item in found] == [255, 255]
    assert number(found[0], Measure.NMSE) == pytest.approx(number(found[1], Measure.NMSE), rel=1e-6)


def test_too_small_a_pool_is_said_so() -> None:
    item = measured(fresh(), MANY[0], against=pool(60)).experiences[0]
    for measure in (Measure.BITS, Measure.NMSE):
        refused = item.measures[measure]
        assert isinstance(refused, NotMeasurable)
        assert "only 60 frames of w" in refused.because
    assert item.negatives == 0
    assert isinstance(item.measures[Measure.LOSS], Halved)


def test_without_any_pool_only_the_loss_is_left() -> None:
    meter = Meter(fresh(), MASKS, ReferenceNet((6, 6), (0.5,) * 3, (0.25,) * 3), block=BLOCK)
    meter.calibrate([])
    meter.measure([MANY[0]], NotMeasurable("nothing there"))
    found = meter.finish()
    measures = found.experiences[0].measures
    assert [name for name, of in measures.items() if isinstance(of, Halved)] == [Measure.LOSS]
    assert measures[Measure.BITS] == NotMeasurable("nothing there")
    assert found.beta is None


@pytest.mark.filterwarnings("ignore:.*encountered in.*:RuntimeWarning")
def test_broken_weights_give_no_number() -> None:
    broken = fresh()
    with torch.no_grad():
        next(broken.predictor.parameters()).fill_(float("nan"))
    found = measured(broken, MANY[0])
    assert all(isinstance(of, NotMeasurable) for of in found.experiences[0].measures.values())
    assert all(isinstance(of, NotMeasurable) for of in found.worlds["w"].values())


def test_one_forward_pass_a_frame() -> None:
    model = fresh()

    calls = Counter[str]()

    def counting(name: str) -> Callable[[object, tuple[torch.Tensor, ...], object], None]:
        def count(_module: object, inputs: tuple[torch.Tensor, ...], _output: object) -> None:
            calls[name] += len(inputs[0])

        return count

    for name in ("target_encoder", "context_encoder", "predictor"):
        model.get_submodule(name).register_forward_hook(counting(name))
    measured(model, *MANY)
    assert calls == {"target_encoder": 288 + 160, "context_encoder": 256 + 160, "predictor": 256 + 160}


def test_it_pauses_between_slices() -> None:
    pauses: list[int] = []
    against = pool()
    meter = Meter(
        fresh(), MASKS, ReferenceNet((6, 6), (0.5,) * 3, (0.25,) * 3), block=BLOCK, pause=lambda: pauses.append(1)
    )
    meter.calibrate([against])
    meter.measure(MANY, against, meter.targets(against))
    meter.finish()
    assert len(pauses) >= 256 / 32 + 288 / 32 + 2 * 160 / 32


def test_halves_are_the_even_and_the_odd_frames() -> None:
    assert halved(np.array([1.0, 2.0, 3.0, 6.0])) == Halved(3.0, (2.0, 4.0))
    assert halved(np.array([1.0, 2.0, 3.0, 6.0]), np.array([2.0, 1.0, 2.0, 1.0])) == Halved(2.0, (1.0, 4.0))
    assert isinstance(halved(np.array([1.0, np.nan])), NotMeasurable)
    assert isinstance(halved(np.array([1.0, 1.0]), np.array([0.0, 1.0])), NotMeasurable)


def test_rotating_the_networks_space_leaves_what_is_remembered(overfitted: IJepa) -> None:
    """A permutation of the dimensions is a rotation that the layer norm of the targets does not undo."""
    turned = IJepa(MODEL, SIZE, seed=1)
    turned.load_state_dict(overfitted.state_dict())
    order = torch.randperm(MODEL.dim, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        project = turned.predictor.project
        project.weight.copy_(overfitted.predictor.project.weight[order])
        project.bias.copy_(overfitted.predictor.project.bias[order])
    turned.target_encoder.norm.register_forward_hook(lambda _module, _inputs, output: output[..., order])
    before, after = measured(overfitted, *MANY[:5]), measured(turned, *MANY[:5])
    for one, other in zip(before.experiences, after.experiences, strict=True):
        for measure in Measure:
            assert number(other, measure) == pytest.approx(number(one, measure), rel=1e-4, abs=1e-5)


def test_a_scaled_prediction_reads_out_the_same_but_errs_more(overfitted: IJepa) -> None:
    louder = IJepa(MODEL, SIZE, seed=1)
    louder.load_state_dict(overfitted.state_dict())
    with torch.no_grad():
        louder.predictor.project.weight.mul_(3.0)
        louder.predictor.project.bias.mul_(3.0)
    before, after = (measured(model, MANY[0]).experiences[0] for model in (overfitted, louder))
    assert number(after, Measure.REFERENCE) == pytest.approx(number(before, Measure.REFERENCE), rel=1e-4)
    assert number(after, Measure.NMSE) > 2 * number(before, Measure.NMSE)


def test_seeds_of_a_pool_are_not_those_of_experiences() -> None:
    assert not set(pool().seeds(range(64))) & {seed for item in MANY for seed in item.seeds}


def test_predictions_are_about_hidden_patches() -> None:
    found = predict(fresh(), MASKS, tiles(4, 0), [1, 2, 3, 4])
    contexts = fixed_masks(MASKS, (6, 6), [1, 2, 3, 4]).context_BK
    for where, seen in zip(found.positions_FQ, contexts, strict=True):
        assert not torch.isin(where, seen).any()
