"""The training step of the published code (github.com/facebookresearch/ijepa), from a checkout of it.

What `train_step` in its `src/train.py` does, on one device and without its wrappers for several: the same networks,
losses, optimiser and average, built from its own modules. Its learning rate stays where it is.
"""

import importlib
import sys
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from copy import deepcopy
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from common.config.model import ModelConfig
from common.errors import ConfigError
from common.ijepa.masks import Masks

_MODULES = ("models.vision_transformer", "masks.utils", "utils.logging", "utils.tensors")


class OfficialStep:
    """One step of the published code.

    Args:
        folder: A checkout of facebookresearch/ijepa.
        config: Sizes of the networks.
        image_size: Height and width of a picture, pixels; the published code knows squares alone.
        device: Where to train; in bf16 by autocast, with its gradient scaler, on a GPU, as it does.

    Raises:
        ConfigError: The folder is no such checkout, or the picture is not square.
    """

    def __init__(self, folder: Path, config: ModelConfig, image_size: tuple[int, int], device: torch.device) -> None:
        if image_size[0] != image_size[1]:
            raise ConfigError("image_size", image_size, "must be square for the published code")
        networks, self._select, self._logging, self._tensors = _load(folder)
        common = {"mlp_ratio": config.mlp_ratio, "qkv_bias": True, "norm_layer": partial(nn.LayerNorm, eps=1e-6)}
        self.encoder: nn.Module = networks.VisionTransformer(
            img_size=[image_size[0]],
            patch_size=config.patch_size,
            embed_dim=config.dim,
            depth=config.depth,
            num_heads=config.heads,
            **common,
        ).to(device)
        rows, columns = config.grid(image_size)
        self.predictor: nn.Module = networks.VisionTransformerPredictor(
            num_patches=rows * columns,
            embed_dim=config.dim,
            predictor_embed_dim=config.predictor_dim,
            depth=config.predictor_depth,
            num_heads=config.predictor_heads,
            **common,
        ).to(device)
        self.target_encoder = deepcopy(self.encoder).requires_grad_(False)
        self._device = device
        self._bf16 = device.type == "cuda"
        self._scaler = torch.amp.GradScaler("cuda") if self._bf16 else None
        self._optimizer = torch.optim.AdamW(self._groups(), lr=1e-4, weight_decay=0.04)

    def _groups(self) -> list[dict[str, Any]]:
        """Its groups: matrices of both networks, then biases and norms of both, which do not decay."""

        def split(network: nn.Module, decays: bool) -> list[nn.Parameter]:
            return [
                value
                for name, value in network.named_parameters()
                if ("bias" not in name and value.ndim != 1) == decays
            ]

        networks = (self.encoder, self.predictor)
        decayed: list[dict[str, Any]] = [{"params": split(network, True)} for network in networks]
        return decayed + [{"params": split(network, False), "weight_decay": 0.0} for network in networks]

    def parameters(self) -> Iterable[nn.Parameter]:
        """Of all three networks."""
        return chain(*(part.parameters() for part in (self.encoder, self.predictor, self.target_encoder)))

    def collate(self, masks: Masks) -> tuple[list[Tensor], list[Tensor]]:
        """Puts masks as its collator does, one tensor a block, pinned where the device is a GPU."""
        context, targets = [masks.context_BK], [block_BK.contiguous() for block_BK in masks.targets_BTK.unbind(1)]
        if self._device.type != "cuda":
            return context, targets
        return [block.pin_memory() for block in context], [block.pin_memory() for block in targets]

    def __call__(
        self, pictures_BCHW: Tensor, context: Sequence[Tensor], targets: Sequence[Tensor], *, log: bool = True
    ) -> Tensor:
        """Does one step.

        Args:
            pictures_BCHW: float32, normalised, on the host; pinned where the device is a GPU.
            context: Patches of each context block, of which there is one, on the host.
            targets: Patches of each target block, on the host.
            log: Read the norm of every matrix's gradient, and the loss, as its loop does in each step.

        Returns:
            The loss.
        """
        pictures_BCHW = pictures_BCHW.to(self._device, non_blocking=True)
        context = [block_BK.to(self._device, non_blocking=True) for block_BK in context]
        targets = [block_BK.to(self._device, non_blocking=True) for block_BK in targets]
        with torch.autocast("cuda", torch.bfloat16) if self._bf16 else nullcontext():
            with torch.no_grad():
                features = self.target_encoder(pictures_BCHW)
                features = functional.layer_norm(features, features.shape[-1:])
                wanted = self._select.apply_masks(features, targets)
                wanted = self._tensors.repeat_interleave_batch(wanted, len(features), repeat=1)
            predictions = self.predictor(self.encoder(pictures_BCHW, context), context, targets)
            loss = functional.smooth_l1_loss(predictions, wanted)
        self._update(loss)
        if log:
            self._logging.grad_logger(self.encoder.named_parameters())
        self._optimizer.zero_grad()
        self._follow(0.996)
        if log:
            loss.item()
        return loss.detach()

    def _update(self, loss: Tensor) -> None:
        if self._scaler is None:
            loss.backward()  # pyright: ignore[reportUnknownMemberType]
            self._optimizer.step()  # pyright: ignore[reportUnknownMemberType]
            return
        self._scaler.scale(loss).backward()  # pyright: ignore[reportUnknownMemberType]
        self._scaler.step(self._optimizer)
        self._scaler.update()

    @torch.no_grad()
    def _follow(self, momentum: float) -> None:
        for source, average in zip(self.encoder.parameters(), self.target_encoder.parameters(), strict=True):
            average.data.mul_(momentum).add_((1.0 - momentum) * source.detach().data)


def _load(folder: Path) -> Sequence[Any]:
    """Imports the modules of a checkout, whose package is called `src`."""
    if not (folder / "src" / "models" / "vision_transformer.py").is_file():
        raise ConfigError("official", str(folder), "is no checkout of facebookresearch/ijepa: it lacks src/models")
    sys.path.insert(0, str(folder.resolve()))
    try:
        modules = [importlib.import_module(f"src.{name}") for name in _MODULES]
    finally:
        sys.path.remove(str(folder.resolve()))
    _check_origin(modules, folder.resolve())
    return modules


def _check_origin(modules: Iterable[Any], folder: Path) -> None:
    for module in modules:
        if not Path(module.__file__).is_relative_to(folder):
            raise ConfigError("official", str(folder), f"is hidden by another package called src: {module.__file__}")
