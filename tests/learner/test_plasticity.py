# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import pytest
import torch
from torch import Tensor

from common.config import PlasticityConfig
from common.errors import ConfigError
from common.ijepa.vit import Mlp
from learner.plasticity import Plasticity
from learner.step import TrainingStep
from tests.learner.networks import PLAIN, Recipe, different, everything, frames, parameters

LAYER, DEAD = "context_encoder.blocks.1.mlp", [3, 40, 77]
STILL = PLAIN.but(lr=1e-12, weight_decay=0.0, warmup_steps=0)
"""Takes steps that move nothing, so that what has moved was moved by the treatment."""


def treated(config: PlasticityConfig, recipe: Recipe = STILL) -> Recipe:
    return Recipe(optim=recipe.optim, plasticity=config)


def mlp_of(step: TrainingStep) -> Mlp:
    mlp = step.model.get_submodule(LAYER)
    assert isinstance(mlp, Mlp)
    return mlp


def put_to_sleep(step: TrainingStep) -> None:
    mlp = mlp_of(step)
    with torch.no_grad():
        mlp.fc1.weight[DEAD] = 0.0
        mlp.fc1.bias[DEAD] = -30.0


@pytest.mark.parametrize("every", [1, 3])
def test_treatments_come_when_they_are_due(every: int) -> None:
    config = PlasticityConfig(every=every, shrink=0.5)
    model = STILL.build().model
    assert [step for step in range(1, 10) if Plasticity(config, model, 0).due(step)] == list(range(every, 10, every))
    assert not any(Plasticity(PlasticityConfig(), model, 0).due(step) for step in range(1, 10))
    step = treated(config).build()
    weight = step.model.predictor.project.weight
    norms: list[float] = []
    for index in range(7):
        step(frames(index))
        norms.append(float(weight.detach().norm()))
    assert [round(norms[0] / norm) for norm in norms] == [2 ** (done // every - (every == 1)) for done in range(1, 8)]


def test_shrink_and_perturb_is_its_formula_and_spares_vectors_and_the_target() -> None:
    step = treated(PlasticityConfig(every=1, shrink=0.75, perturb=0.5)).build()
    before = parameters(step)
    step(frames())
    perturbed = 0
    for name, after in parameters(step).items():
        if after.ndim == 1 or name.startswith("target_encoder"):
            assert torch.allclose(after, before[name], atol=1e-2 if "target" in name else 1e-9), name
            continue
        fresh = (after - 0.75 * before[name]) / 0.5
        fan = 0.02 / (2 if "proj." in name or "fc2" in name else 1)
        assert abs(float(fresh.mean())) < 0.005, name
        assert 0.5 * fan < float(fresh.std()) < 0.025, name
        overlap = torch.nn.functional.cosine_similarity(fresh.flatten(), before[name].flatten(), dim=0)
        assert abs(float(overlap)) < 0.2, f"{name} is drawn anew, and no copy of the first initialisation"
        perturbed += 1
    assert perturbed == 1 + 2 * 4 + 1 + 4 + 1


def test_shrink_and_perturb_draws_anew_each_time_and_the_same_for_the_same_seed() -> None:
    only_fresh = treated(PlasticityConfig(every=1, shrink=0.0, perturb=1.0))
    step, same, other = only_fresh.build(), only_fresh.build(), only_fresh.build(seed=1)
    drawn: list[Tensor] = []
    for index in range(2):
        for one in (step, same, other):
            one(frames(index))
        drawn.append(step.model.predictor.project.weight.detach().clone())
        assert not different(parameters(step), parameters(same))
        assert not torch.equal(drawn[-1], other.model.predictor.project.weight)
    assert not torch.equal(*drawn)


@pytest.mark.parametrize("fields", [{}, {"orthogonal": 0.9}, {"accumulate": 2}], ids=str)
@pytest.mark.parametrize("forget", [False, True])
def test_dormant_units_are_drawn_anew_and_nothing_else(fields: dict[str, float], forget: bool) -> None:
    recipe = STILL.but(**fields)
    step, plain = treated(PlasticityConfig(every=2, dormant=1e-4), recipe).build(), recipe.build()
    for one in (step, plain):
        put_to_sleep(one)
        for network in (one.model.context_encoder, one.model.predictor):
            network.forget_activations = forget
        one(frames())
    before = everything(step)
    assert not different(before, everything(plain))
    for one in (step, plain):
        one(frames(1))
    mlp, untreated = mlp_of(step), everything(plain)
    awake = [unit for unit in range(len(mlp.fc1.bias)) if unit not in DEAD]
    fresh = mlp.fc1.weight.detach()[DEAD]
    assert 0.01 < float(fresh.std()) < 0.025
    assert not mlp.fc1.bias[DEAD].any()
    assert not mlp.fc2.weight[:, DEAD].any()
    rows = {f"{LAYER}.fc1.weight": 0, f"{LAYER}.fc1.bias": 0, f"{LAYER}.fc2.weight": 1}
    for name, after in everything(step).items():
        if not any(name.endswith(row) for row in rows) or name.startswith("target_encoder") or not after.ndim:
            assert torch.equal(after, untreated[name]) or name.startswith("target_encoder"), name
            continue
        axis = next(axis for row, axis in rows.items() if name.endswith(row))
        index = torch.tensor(awake)
        assert torch.equal(after.index_select(axis, index), untreated[name].index_select(axis, index)), name
        if name.startswith("step."):
            assert not after.index_select(axis, torch.tensor(DEAD)).any(), f"{name} remembers"


def test_waking_dead_units_does_not_change_what_the_network_says() -> None:
    step = treated(PlasticityConfig(every=1, dormant=1e-4)).build()
    put_to_sleep(step)
    with torch.no_grad():
        before_BND = step.model.context_encoder(frames(1))
    step(frames())
    assert not mlp_of(step).fc1.bias[DEAD].any(), "they were woken"
    with torch.no_grad():
        assert torch.allclose(before_BND, step.model.context_encoder(frames(1)), atol=1e-5)


def test_a_woken_unit_learns_again() -> None:
    step = treated(PlasticityConfig(every=1, dormant=1e-4), PLAIN.but(lr=1e-3, warmup_steps=0)).build()
    put_to_sleep(step)
    for index in range(3):
        step(frames(index))
    assert bool((mlp_of(step).fc2.weight[:, DEAD].norm(dim=0) > 0).all())


def test_no_hook_stays_behind() -> None:
    step = treated(PlasticityConfig(every=1, dormant=0.1)).build()
    step(frames())
    assert not mlp_of(step).fc2._forward_pre_hooks  # pyright: ignore[reportPrivateUsage]


@pytest.mark.parametrize(
    "fields", [{"every": 5}, {"shrink": 0.9}, {"every": -1, "shrink": 0.9}, {"every": 1, "shrink": 1.1}]
)
def test_settings_that_do_nothing_are_refused(fields: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=r"learner\.plasticity"):
        PlasticityConfig(**fields)  # pyright: ignore[reportArgumentType]
