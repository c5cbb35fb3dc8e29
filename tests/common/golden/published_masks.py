"""Asks the published mask collators of I-JEPA and pamiq-vrchat what they draw, and pins it in published_masks.json.

    python -m tests.common.golden.published_masks IJEPA PAMIQ_VRCHAT

with checkouts of facebookresearch/ijepa (52c1ae9) and MLShukai/pamiq-vrchat (580d5fa). Only their collators are run,
each cut out of its module, since the modules ask for more packages than the collators do.
"""

import ast
import json
import logging
import math
import random
import sys
from collections.abc import Callable
from multiprocessing import Value
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils import data

DATA = Path(__file__).with_suffix(".json")

CASES: dict[str, dict[str, Any]] = {
    "square": {"grid": (8, 8), "scale": (0.15, 0.2), "blocks": 4, "min_context": 5},
    "paper": {"grid": (14, 14), "scale": (0.15, 0.2), "blocks": 4, "min_context": 11},
    "wide": {"grid": (6, 16), "scale": (0.15, 0.2), "blocks": 4, "min_context": 5},
    "lenient": {"grid": (8, 8), "scale": (0.3, 0.35), "blocks": 4, "min_context": 14},
}
PAMIQ_CASES: dict[str, dict[str, Any]] = {
    "sample": {"grid": (12, 12), "scale": (0.025, 0.125), "blocks": 4, "min_context": 7},
    "wide": {"grid": (6, 16), "scale": (0.1, 0.25), "blocks": 4, "min_context": 10},
    "short": {"grid": (8, 8), "scale": (0.3, 0.45), "blocks": 4, "min_context": 12},
}
BATCH, BATCHES, PICTURES = 16, 600, 8000


def class_of(path: Path, name: str) -> Callable[..., Any]:
    """Makes one class of a module without running the rest of it."""
    tree = ast.parse(path.read_text("utf-8"))
    body: list[ast.stmt] = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name]
    names: dict[str, Any] = {"torch": torch, "math": math, "random": random, "Value": Value, "Tensor": Tensor}
    names |= {"default_collate": vars(data)["default_collate"], "logger": logging.getLogger(), "size_2d": object}
    names["size_2d_to_int_tuple"] = tuple
    exec(compile(ast.Module(body, []), str(path), "exec"), names)
    return names[name]


def summary(context_GN: Tensor, target_GN: Tensor) -> dict[str, list[float]]:
    """Means over groups of pictures (G), each with its standard error: shares per patch, and lengths of contexts.

    Args:
        context_GN: Share of a group's pictures in which each patch is context.
        target_GN: Mean number of target blocks that hold it.
    """
    numbers = {"context": context_GN, "target": target_GN, "length": context_GN.sum(1, keepdim=True)}
    rows: dict[str, list[float]] = {}
    for name, value_GN in numbers.items():
        rows[name] = [round(float(value), 5) for value in value_GN.mean(0)]
        rows[f"{name}_error"] = [round(float(value), 5) for value in value_GN.std(0) / len(value_GN) ** 0.5]
    return rows


def generator_of(seed: int) -> torch.Generator:
    """The generator from which the published collator draws the sizes of its batch number `seed`."""
    return torch.Generator().manual_seed(seed)


def counts(indices_BK: Tensor, patches: int) -> Tensor:
    """How often each patch occurs, a picture of the batch."""
    return torch.bincount(indices_BK.flatten(), minlength=patches).double() / len(indices_BK)


def ask_paper(collator: Callable[..., Any]) -> dict[str, Any]:
    """Sizes of blocks for the first seeds, and statistics of whole batches."""

    def make(case: dict[str, Any]) -> Any:
        return collator(
            input_size=case["grid"],
            patch_size=1,
            enc_mask_scale=(0.85, 1.0),
            pred_mask_scale=case["scale"],
            aspect_ratio=(0.75, 1.5),
            nenc=1,
            npred=case["blocks"],
            min_keep=case["min_context"] - 1,
        )

    drawn: dict[str, Any] = {"sizes": {}, "cases": {}}
    for name, case in CASES.items():
        torch.default_generator.manual_seed(0)
        generators = [generator_of(seed) for seed in range(100)]
        sizes = [make(case)._sample_block_size(each, case["scale"], (0.75, 1.5)) for each in generators]
        contexts = [make(case)._sample_block_size(each, (0.85, 1.0), (1.0, 1.0)) for each in generators]
        drawn["sizes"][name] = {"targets": sizes, "contexts": contexts}
        patches, collate = math.prod(case["grid"]), make(case)
        rows: list[tuple[Tensor, Tensor]] = []
        for _ in range(BATCHES):
            _, contexts_1BK, targets_TBK = collate([0] * BATCH)
            targets = torch.cat(targets_TBK, dim=1)
            rows.append((counts(contexts_1BK[0], patches), counts(targets, patches)))
        drawn["cases"][name] = case | summary(*(torch.stack(each) for each in zip(*rows, strict=True)))
    return drawn


def ask_pamiq(collator: Callable[..., Any]) -> dict[str, Any]:
    """Statistics of single pictures."""
    drawn: dict[str, Any] = {}
    for name, case in PAMIQ_CASES.items():
        collate = collator(case["grid"], case["scale"], case["blocks"], min_keep=case["min_context"])
        generator = torch.Generator().manual_seed(0)
        rows = [collate.sample_masks_and_target(generator) for _ in range(PICTURES)]
        hidden_BN, target_BN = (torch.stack(each) for each in zip(*rows, strict=True))
        drawn[name] = case | summary((~hidden_BN).double(), target_BN.double())
    return drawn


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    paper = class_of(Path(sys.argv[1]) / "src/masks/multiblock.py", "MaskCollator")
    pamiq = class_of(Path(sys.argv[2]) / "src/sample/trainers/jepa.py", "MultiBlockMaskCollator2d")
    DATA.write_text(json.dumps({"paper": ask_paper(paper), "pamiq": ask_pamiq(pamiq)}) + "\n", "utf-8")
