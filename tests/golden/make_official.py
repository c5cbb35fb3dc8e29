"""Runs the official I-JEPA code once and pins what it gives: masks, a loss and gradients.

    python -m tests.golden.make_official CHECKOUT

CHECKOUT is a folder with a checkout of facebookresearch/ijepa. Three files beside this module are written anew:

    official_network.safetensors  weights of a tiny network under the official names (`encoder/module.…`), and the
                                  frames and masks that it was run on
    official_masks.safetensors    what the official collator drew: `{rows}x{columns}/{iteration}/context` [B, K] and
                                  `…/targets` [B, T, K]
    official.json                 settings, seeds, the loss, the norm of each parameter's gradient

The network runs in float64, so that the numbers do not hang on a processor's order of summation.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingImports=false
# The official code is untyped, and is not here when this file is checked.

import json
import sys
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional

HERE = Path(__file__).parent
COMMIT = "52c1ae95d05f743e000e8f10a1f3a79b10cff048"
"""Of the official code, as it was when the files were made."""
SEED = 20230119
BATCH = 8
ITERATIONS = 3
BLOCKS: dict[str, Any] = {
    "enc_mask_scale": (0.85, 1.0),
    "pred_mask_scale": (0.15, 0.2),
    "aspect_ratio": (0.75, 1.5),
    "nenc": 1,
    "npred": 4,
    "allow_overlap": False,
}
GRIDS = {(14, 14): 10, (8, 8): 4, (9, 16): 10}
"""Grids that masks are drawn for, and `min_keep` for each."""
SIZES: dict[str, int] = {"patch_size": 4, "embed_dim": 16, "depth": 2, "num_heads": 2}
PREDICTOR: dict[str, int] = {"predictor_embed_dim": 12, "depth": 2, "num_heads": 2}
IMAGE, PICTURES = 32, 3
NOISE = 0.2
"""Deviation of what is added to every fresh parameter: biases and norms would be all zeros and ones."""


def draw_masks(collator: Any, batch: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Lets the collator draw for one batch: context_BK and targets_BTK."""
    _, context, targets = collator(batch)
    return context[0], torch.stack(targets, dim=1)


def pin_masks(collator_class: Any) -> dict[str, Tensor]:
    """Draws masks for each grid: the global generator is seeded once a grid, the collator counts from 0."""
    drawn: dict[str, Tensor] = {}
    for (rows, columns), min_keep in GRIDS.items():
        collator = collator_class(input_size=(rows, columns), patch_size=1, min_keep=min_keep, **BLOCKS)
        torch.manual_seed(SEED)
        for iteration in range(ITERATIONS):
            context_BK, targets_BTK = draw_masks(collator, [torch.zeros(1)] * BATCH)
            drawn[f"{rows}x{columns}/{iteration}/context"] = context_BK.to(torch.uint8)
            drawn[f"{rows}x{columns}/{iteration}/targets"] = targets_BTK.to(torch.uint8)
    return drawn


def shake(module: nn.Module) -> None:
    """Adds noise to everything that is trained."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if "pos_embed" not in name:
                parameter.add_(torch.randn_like(parameter), alpha=NOISE)


def main(checkout: Path) -> None:
    """Runs the official code and writes the three files."""
    sys.path.insert(0, str(checkout))
    from src.masks.multiblock import MaskCollator
    from src.masks.utils import apply_masks
    from src.models.vision_transformer import VisionTransformer, vit_predictor
    from src.utils.tensors import repeat_interleave_batch

    masks = pin_masks(MaskCollator)
    torch.manual_seed(SEED)
    norm = partial(nn.LayerNorm, eps=1e-6)
    encoder = VisionTransformer(img_size=[IMAGE], norm_layer=norm, **SIZES)
    predictor = vit_predictor(
        num_patches=(IMAGE // SIZES["patch_size"]) ** 2, embed_dim=SIZES["embed_dim"], **PREDICTOR
    )
    target = deepcopy(encoder)
    for module in (encoder, predictor, target):
        shake(module)
    networks = {"encoder": encoder, "predictor": predictor, "target_encoder": target}
    stored = {
        f"{part}/module.{name}": value.clone()
        for part, module in networks.items()
        for name, value in module.state_dict().items()
    }
    frames_BHWC = torch.randint(0, 256, (PICTURES, IMAGE, IMAGE, 3), dtype=torch.uint8)
    collator = MaskCollator(input_size=IMAGE, patch_size=SIZES["patch_size"], min_keep=4, **BLOCKS)
    context_BK, targets_BTK = draw_masks(collator, list(frames_BHWC))

    colours = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]], dtype=torch.float64)
    pixels = ((frames_BHWC.double() / 255 - colours[0]) / colours[1]).permute(0, 3, 1, 2)
    for module in networks.values():
        module.double()
    seen, hidden = [context_BK], list(targets_BTK.unbind(1))
    with torch.no_grad():
        features = target(pixels)
        features = apply_masks(functional.layer_norm(features, (features.size(-1),)), hidden)
        features = repeat_interleave_batch(features, PICTURES, repeat=len(seen))
    loss = functional.smooth_l1_loss(predictor(encoder(pixels, seen), seen, hidden), features)
    loss.backward()
    norms = {
        f"{part}/{name}": float(parameter.grad.norm())
        for part in ("encoder", "predictor")
        for name, parameter in networks[part].named_parameters()
        if parameter.grad is not None
    }
    described = {
        "code": f"facebookresearch/ijepa@{COMMIT}",
        "torch": torch.__version__.partition("+")[0],
        "seed": SEED,
        "batch": BATCH,
        "iterations": ITERATIONS,
        "blocks": BLOCKS,
        "min_keep": {f"{rows}x{columns}": keep for (rows, columns), keep in GRIDS.items()},
        "heads": SIZES["num_heads"],
        "predictor_heads": PREDICTOR["num_heads"],
        "loss": loss.item(),
        "gradient_norms": norms,
    }
    network = {**stored, "frames": frames_BHWC, "context": context_BK, "targets": targets_BTK}
    safetensors.torch.save_file(network, HERE / "official_network.safetensors")
    safetensors.torch.save_file(masks, HERE / "official_masks.safetensors")
    (HERE / "official.json").write_text(json.dumps(described, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
