from dataclasses import replace

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from common.config import MaskConfig, ModelConfig, OptimConfig, Regulariser
from common.ijepa.masks import Masks
from common.ijepa.model import IJepa
from learner.flops import step_flops
from learner.step import TrainingStep

SIZE = (48, 64)
SMALL = ModelConfig(
    patch_size=8, dim=32, depth=3, heads=4, mlp_ratio=2.5, predictor_dim=16, predictor_depth=2, predictor_heads=2
)


def masks(batch: int, context: int = 13, blocks: int = 3, length: int = 6) -> Masks:
    order_BN = torch.rand(batch, 48, generator=torch.Generator().manual_seed(0)).argsort(1)
    return Masks(order_BN[:, :context], order_BN[:, 48 - length :][:, None].expand(-1, blocks, -1))


def counted(config: ModelConfig, blocks: Masks, backend: SDPBackend) -> FlopCounterMode:
    optim = OptimConfig(batch_size=len(blocks.context_BK), regulariser=Regulariser.NONE)
    step = TrainingStep(IJepa(config, SIZE, seed=0), optim, MaskConfig(), seed=0)
    frames = torch.zeros(len(blocks.context_BK), *SIZE, 3, dtype=torch.uint8)
    with sdpa_kernel(backend), FlopCounterMode(display=False) as counter:
        step(frames, blocks)
    return counter


@pytest.mark.parametrize("config", [SMALL, replace(SMALL, depth=1, predictor_depth=1, patch_size=16, predictor_dim=20)])
@pytest.mark.parametrize("batch", [1, 4])
def test_the_formula_counts_what_a_real_step_multiplies(config: ModelConfig, batch: int) -> None:
    blocks = masks(batch)
    if config.patch_size == 16:
        blocks = Masks(blocks.context_BK % 12, blocks.targets_BTK % 12)
    expected = counted(config, blocks, SDPBackend.MATH)
    assert step_flops(config, SIZE, blocks).total == expected.get_total_flops()


def test_networks_are_counted_apart() -> None:
    blocks, found = masks(2), {}
    counter = counted(SMALL, blocks, SDPBackend.MATH)
    for name, operations in counter.get_flop_counts().items():
        found[name.rpartition(".")[2]] = sum(operations.values())
    flops = step_flops(SMALL, SIZE, blocks)
    assert found["target_encoder"] == flops.target
    assert found["context_encoder"] == flops.context
    assert found["predictor"] == flops.predictor


def test_a_flash_kernel_computes_the_scores_once_more_on_the_way_back() -> None:
    """Which is work of the kernel, not of the model."""
    blocks = masks(2)
    ours = step_flops(SMALL, SIZE, blocks).total
    kernel = counted(SMALL, blocks, SDPBackend.FLASH_ATTENTION).get_total_flops()
    assert ours < kernel < 1.1 * ours
