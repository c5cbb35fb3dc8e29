import time

import pytest
import torch

from common.config.model import MaskConfig
from common.errors import ConfigError
from common.ijepa.masks import MultiBlockSampler, block_sizes, fixed_masks

GRIDS = [(8, 8), (14, 14), (6, 16), (12, 9)]


def rectangle(patches: list[int], grid: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of the block that a list of patches fills, which must be a whole rectangle."""
    rows = [patch // grid[1] for patch in patches]
    columns = [patch % grid[1] for patch in patches]
    size = (max(rows) - min(rows) + 1, max(columns) - min(columns) + 1)
    assert len(set(patches)) == len(patches) == size[0] * size[1]
    return size


@pytest.mark.parametrize("grid", GRIDS)
def test_blocks_are_rectangles_of_one_size_in_range_and_apart_from_the_context(grid: tuple[int, int]) -> None:
    config = MaskConfig()
    sampler = MultiBlockSampler(config, grid, seed=1)
    for _ in range(50):
        masks = sampler.sample(16)
        assert masks.context_BK.dtype == masks.targets_BTK.dtype == torch.int64
        assert masks.targets_BTK.shape[:2] == (16, 4)
        sizes = {
            rectangle([int(patch) for patch in block_K], grid) for row_TK in masks.targets_BTK for block_K in row_TK
        }
        assert len(sizes) == 1
        rows, columns = sizes.pop()
        assert 0.15 <= rows * columns / (grid[0] * grid[1]) <= 0.2
        assert 0.75 <= rows / columns <= 1.5
        assert masks.context_BK.shape[1] >= config.min_context
        for context_K, targets_TK in zip(masks.context_BK, masks.targets_BTK, strict=True):
            context = [int(patch) for patch in context_K]
            assert context == sorted(set(context))
            assert 0 <= context[0] <= context[-1] < grid[0] * grid[1]
            assert not set(context) & {int(patch) for patch in targets_TK.flatten()}


@pytest.mark.parametrize("grid", GRIDS)
def test_every_patch_is_drawn_as_target_and_as_context_the_last_row_and_column_too(grid: tuple[int, int]) -> None:
    sampler = MultiBlockSampler(MaskConfig(), grid, seed=2)
    targets, contexts = torch.zeros(2, grid[0] * grid[1])
    for _ in range(100):
        masks = sampler.sample(32)
        targets += torch.bincount(masks.targets_BTK.flatten(), minlength=targets.numel())
        contexts += torch.bincount(masks.context_BK.flatten(), minlength=contexts.numel())
    assert (targets > 0).all()
    assert (contexts > 0).all()
    for counts in (targets.view(grid), contexts.view(grid)):
        for mirrored in (counts.flip(0), counts.flip(1)):
            assert counts.sub(mirrored).abs().max() < 0.15 * counts.max()


def test_thinned_contexts_have_no_bias_towards_the_top_left() -> None:
    masks = MultiBlockSampler(MaskConfig(), (14, 14), seed=3).sample(2000)
    assert (masks.context_BK // 14).double().mean() == pytest.approx(6.5, abs=0.2)
    assert (masks.context_BK % 14).double().mean() == pytest.approx(6.5, abs=0.2)


def test_scale_and_aspect_are_drawn_apart() -> None:
    sampler = MultiBlockSampler(MaskConfig(), (28, 28), seed=4)
    drawn = {rectangle([int(patch) for patch in sampler.sample(1).targets_BTK[0, 0]], (28, 28)) for _ in range(400)}
    areas = {rows * columns for rows, columns in drawn}
    assert len(areas) > 8
    by_area = {area: {size for size in drawn if size[0] * size[1] == area} for area in areas}
    assert any(len(sizes) > 1 for sizes in by_area.values())


def test_sizes_fall_back_to_what_a_small_grid_offers() -> None:
    assert block_sizes((8, 8), (0.15, 0.2), (0.75, 1.5)) == [(3, 4), (4, 3)]
    assert set(block_sizes((2, 2), (0.3, 0.4), (0.75, 1.5))) <= {(1, 1), (1, 2), (2, 1)}
    assert block_sizes((1, 7), (0.1, 0.2), (0.75, 1.5)) == [(1, 1)]


def test_the_same_seed_gives_the_same_masks_and_a_state_goes_on() -> None:
    first, second = (MultiBlockSampler(MaskConfig(), (8, 8), seed=5) for _ in range(2))
    assert torch.equal(first.sample(8).context_BK, second.sample(8).context_BK)
    state = first.state()
    assert state.dtype == torch.uint8
    other = MultiBlockSampler(MaskConfig(), (8, 8), seed=6)
    other.restore(state)
    for _ in range(5):
        mine, theirs = first.sample(8), other.sample(8)
        assert torch.equal(mine.context_BK, theirs.context_BK)
        assert torch.equal(mine.targets_BTK, theirs.targets_BTK)


@pytest.mark.parametrize("min_context", [4, 12, 30, 44])
def test_min_context_is_kept_and_drawing_always_ends(min_context: int) -> None:
    config = MaskConfig(min_context=min_context)
    sampler = MultiBlockSampler(config, (8, 8), seed=7)
    began = time.perf_counter()
    assert all(sampler.sample(64).context_BK.shape[1] >= min_context for _ in range(40))
    assert time.perf_counter() - began < 5
    assert fixed_masks(config, (8, 8), range(200)).context_BK.shape[1] >= min_context


def test_a_min_context_that_cannot_be_promised_is_refused_at_once() -> None:
    with pytest.raises(ConfigError, match="min_context = 45: only 44 patches"):
        MultiBlockSampler(MaskConfig(min_context=45), (8, 8), seed=0)
    with pytest.raises(ConfigError, match="target_scale"):
        MultiBlockSampler(MaskConfig(), (2, 2), seed=0)


def test_fixed_masks_depend_on_the_seed_of_the_row_alone() -> None:
    seeds = [3, 2**80 + 1, -7, 3]
    masks = fixed_masks(MaskConfig(), (8, 8), seeds)
    for row, seed in enumerate(seeds):
        alone = fixed_masks(MaskConfig(), (8, 8), [seed])
        assert torch.equal(alone.context_BK[0], masks.context_BK[row])
        assert torch.equal(alone.targets_BTK[0], masks.targets_BTK[row])
    assert not torch.equal(masks.targets_BTK[0], masks.targets_BTK[1])
    many = fixed_masks(MaskConfig(), (8, 8), range(300))
    assert many.context_BK.shape[1] == masks.context_BK.shape[1] == 64 - 4 * 12
    assert len({tuple(int(patch) for patch in row.flatten()) for row in many.targets_BTK}) > 290
    overlap = (many.context_BK[:, :, None] == many.targets_BTK.flatten(1)[:, None, :]).any()
    assert not overlap


def test_sampling_a_batch_is_fast() -> None:
    sampler = MultiBlockSampler(MaskConfig(), (8, 8), seed=8)
    times: list[float] = []
    for _ in range(30):
        began = time.perf_counter()
        sampler.sample(64)
        times.append(time.perf_counter() - began)
    assert min(times) < 2e-3
