"""The schemes `paper` and `pamiq` against what the programs that published them draw (golden/published_masks.py)."""

import json
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from common.config.model import MaskConfig, MaskKind
from common.ijepa.masks import Masks, mask_sampler
from common.ijepa.masks.paper import block_size
from tests.common.golden.published_masks import BATCH, CASES, DATA, PAMIQ_CASES, counts, generator_of, summary

GOLDEN = json.loads(DATA.read_text("utf-8"))


def config_of(case: dict[str, Any], kind: MaskKind, aspect: tuple[float, float]) -> MaskConfig:
    return MaskConfig(
        kind=kind,
        target_blocks=case["blocks"],
        target_scale=case["scale"],
        target_aspect=aspect,
        min_context=case["min_context"],
    )


def assert_same(ours: dict[str, list[float]], theirs: dict[str, list[float]]) -> None:
    """Both agree within five standard errors at every patch, and within about one on the whole; never means never."""
    for name in ("context", "target", "length"):
        mean, other = torch.tensor(ours[name]), torch.tensor(theirs[name])
        error = torch.tensor(ours[f"{name}_error"]).hypot(torch.tensor(theirs[f"{name}_error"]))
        assert ((mean - other).abs() <= 5 * error + 1e-5).all(), name
        if len(mean) > 1:
            assert (mean - other).square().mean() <= 2 * error.square().mean(), name


def means(drawn: list[Masks], patches: int) -> dict[str, list[float]]:
    rows = [(counts(masks.context_BK, patches), counts(masks.targets_BTK, patches)) for masks in drawn]
    return summary(*(torch.stack(each) for each in zip(*rows, strict=True)))


@pytest.mark.parametrize("name", list(CASES))
def test_blocks_have_the_sizes_of_the_published_code_for_its_own_draws(name: str) -> None:
    case, sizes = CASES[name], GOLDEN["paper"]["sizes"][name]
    for seed, (target, context) in enumerate(zip(sizes["targets"], sizes["contexts"], strict=True)):
        shares = torch.rand(2, generator=generator_of(seed))
        assert block_size(float(shares[0]), case["grid"], case["scale"], (0.75, 1.5)) == tuple(target)
        assert block_size(float(shares[1]), case["grid"], (0.85, 1.0), (1.0, 1.0)) == tuple(context)


@pytest.mark.parametrize("name", list(CASES))
def test_places_and_lengths_are_distributed_as_in_the_published_code(name: str) -> None:
    case = CASES[name]
    sampler = mask_sampler(config_of(case, MaskKind.PAPER, (0.75, 1.5)), case["grid"], seed=1)
    drawn = [sampler.sample(BATCH) for _ in range(600)]
    assert_same(means(drawn, math.prod(case["grid"])), GOLDEN["paper"]["cases"][name])


def overlap(masks: Masks) -> Tensor:
    return (masks.context_BK[:, :, None] == masks.targets_BTK.flatten(1)[:, None, :]).flatten(1).any(1)


def test_one_case_is_so_tight_that_targets_come_into_the_context() -> None:
    tight, usual = (
        mask_sampler(config_of(CASES[name], MaskKind.PAPER, (0.75, 1.5)), CASES[name]["grid"], seed=2)
        for name in ("lenient", "square")
    )
    assert overlap(tight.sample(400)).any()
    assert not overlap(usual.sample(400)).any()


@pytest.mark.parametrize("name", list(PAMIQ_CASES))
def test_single_pictures_are_masked_as_pamiq_vrchat_masks_them(name: str) -> None:
    case = PAMIQ_CASES[name]
    sampler = mask_sampler(config_of(case, MaskKind.PAMIQ, (2 / 3, 4 / 3)), case["grid"], seed=3)
    drawn = [sampler.sample(1) for _ in range(2500)]
    assert all(masks.targets_BTK.shape[1] == 1 for masks in drawn)
    assert_same(means(drawn, math.prod(case["grid"])), GOLDEN["pamiq"][name])


def test_batches_of_pamiq_are_thinned_out_without_a_bias() -> None:
    case = PAMIQ_CASES["sample"]
    sampler = mask_sampler(config_of(case, MaskKind.PAMIQ, (2 / 3, 4 / 3)), case["grid"], seed=4)
    drawn = [sampler.sample(32) for _ in range(150)]
    assert not any(bool(overlap(masks).any()) for masks in drawn)
    for indices in (
        torch.stack([masks.context_BK.double().mean() for masks in drawn]),
        torch.stack([masks.targets_BTK.double().mean() for masks in drawn]),
    ):
        middle = (math.prod(case["grid"]) - 1) / 2
        assert float(indices.mean()) == pytest.approx(middle, abs=5 * float(indices.std()) / len(drawn) ** 0.5)
