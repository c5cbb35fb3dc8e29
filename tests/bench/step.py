"""The training step against the matrix multiplication rate of the same device in the same run."""

import torch

from common.config.presets import preset
from common.ijepa.model import IJepa
from learner.step import TrainingStep
from tests.bench.measure import Result, rates, timed


def training_step() -> list[Result]:
    """Images a second of the demo's step, and its share of the measured fp32 GEMM rate, on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    run = preset("demo")
    model = IJepa(run.learner.model, run.world.image_size, seed=0)
    step = TrainingStep(model, run.learner.optim, run.learner.masks, seed=0)
    batch = run.learner.optim.batch_size
    frames = torch.randint(0, 256, (batch, *run.world.image_size, 3), dtype=torch.uint8)
    a, b = torch.randn(1024, 1024), torch.randn(1024, 1024)
    flops = step_flops(model, batch)

    def ours() -> float:
        return timed(lambda: [step(frames) for _ in range(3)], 3 * flops)

    def gemm() -> float:
        return timed(lambda: [a @ b for _ in range(20)], 20 * 2 * 1024**3)

    done, limit, ratio = rates(ours, gemm, rounds=5)
    torch.set_num_threads(threads)
    ours_text = f"{done / flops * batch:.0f} images/s, {done / 1e9:.0f} GFLOP/s"
    limit_text = f"{limit / 1e9:.0f} GFLOP/s GEMM"
    return [Result(what="training step, demo", ours=ours_text, limit=limit_text, ratio=ratio)]


def step_flops(model: IJepa, batch: int) -> int:
    """Model FLOPs of one step: 2 a multiply-add, forward once for the target, thrice (with backward) for the rest.

    Counts the matrices of a block (12 D² a token with an MLP ratio of 4) and attention (2 N D a token). The context
    keeps about a third of the patches; each of four target blocks is predicted beside the whole context.
    """
    patches = model.grid[0] * model.grid[1]
    context, target = patches // 3, patches // 6
    encoder, predictor = model.context_encoder, model.predictor

    def block(tokens: int, dim: int) -> int:
        return tokens * (2 * 12 * dim * dim + 4 * tokens * dim)

    depth, dim = len(encoder.blocks), encoder.norm.normalized_shape[0]
    narrow_depth, narrow = len(predictor.blocks), predictor.norm.normalized_shape[0]
    forward = 3 * depth * block(context, dim) + depth * block(patches, dim)
    return batch * (forward + 3 * 4 * narrow_depth * block(context + target, narrow))
