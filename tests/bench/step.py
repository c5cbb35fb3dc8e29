"""The training step against the matrix multiplication rate of the same device in the same run."""

import torch

from learner.bench import bench, of_preset
from tests.bench.measure import Result


def training_step() -> list[Result]:
    """Images a second of the demo's step, and its share of the measured fp32 GEMM rate, on one thread."""
    threads = torch.get_num_threads()
    found = bench(of_preset("demo", device="cpu", threads=1))
    torch.set_num_threads(threads)
    (ours,) = found.lines
    ours_text = f"{ours.images_per_second:.0f} images/s, {ours.share * found.gemm / 1e9:.0f} GFLOP/s"
    limit_text = f"{found.gemm / 1e9:.0f} GFLOP/s GEMM"
    return [Result(what="training step, demo", ours=ours_text, limit=limit_text, ratio=ours.share)]
