# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import pytest
import torch
from torch import Tensor

from learner.orthogonal import OrthogonalGradient
from tests.learner.networks import PLAIN, different, frames

SHAPES = {"matrix": (5, 7), "vector": (7,), "token": (3,)}
YES, NO = torch.tensor(True), torch.tensor(False)


def gradients(seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=generator) for name, shape in SHAPES.items()}


def copied(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in tensors.items()}


def test_what_is_left_is_orthogonal_to_the_mean_before_and_the_mean_follows_the_whole_gradient() -> None:
    rule = OrthogonalGradient(gradients(0), 0.9)
    for seed in range(5):
        before, whole = copied(rule.means), gradients(seed)
        left = copied(whole)
        rule.project(list(left.values()), YES)
        for name in SHAPES:
            share = (left[name] * before[name]).sum() / (whole[name].norm() * before[name].norm()).clamp_min(1e-9)
            assert abs(share) < 1e-6, name
            removed = (whole[name] - left[name]).flatten()
            along = torch.nn.functional.cosine_similarity(removed, before[name].flatten(), dim=0).abs()
            assert seed == 0 or along == pytest.approx(1, abs=1e-5), "nothing else is taken away"
            assert torch.allclose(rule.means[name], 0.9 * before[name] + 0.1 * whole[name], atol=1e-6)


def test_a_gradient_that_only_repeats_is_taken_out_whole() -> None:
    rule, same = OrthogonalGradient(gradients(0), 0.5), gradients(1)
    rule.project(list(copied(same).values()), YES)
    left = copied(same)
    rule.project(list(left.values()), YES)
    assert all(value.abs().max() < 1e-5 for value in left.values())


def test_a_mean_of_zero_leaves_the_gradient_alone() -> None:
    rule, whole = OrthogonalGradient(gradients(0), 0.9), gradients(1)
    left = copied(whole)
    rule.project(list(left.values()), YES)
    assert not different(left, whole)


def test_a_step_that_is_undone_leaves_the_means_alone() -> None:
    rule = OrthogonalGradient(gradients(0), 0.9)
    rule.project(list(gradients(1).values()), YES)
    before, broken = copied(rule.means), gradients(2)
    broken["vector"][0] = float("nan")
    rule.project(list(broken.values()), NO)
    assert not different(rule.means, before)


def test_the_step_feeds_it_the_gradients_before_clipping() -> None:
    """The first mean is a tenth of the first gradient: what clipping left of it would be a millionth."""
    free, clipped = PLAIN.but(orthogonal=0.9).build(), PLAIN.but(orthogonal=0.9, clip=1e-6).build()
    free(frames())
    clipped(frames())
    means = {name: value for name, value in free.tensors().items() if name.startswith("orthogonal.")}
    assert len(means) == sum(value.requires_grad for value in free.model.parameters())
    assert all(value.norm() > 0 for value in means.values())
    assert not different(means, {name: clipped.tensors()[name] for name in means})


def test_a_broken_step_leaves_the_means_of_the_step_alone() -> None:
    step = PLAIN.but(orthogonal=0.9).build()
    step(frames())
    before = {name: value.clone() for name, value in step.tensors().items() if name.startswith("orthogonal.")}
    with torch.no_grad():
        step.model.predictor.project.bias[0] = float("nan")
    assert step(frames(1)).read()["skipped"] == 1
    assert not different(before, {name: step.tensors()[name] for name in before})
