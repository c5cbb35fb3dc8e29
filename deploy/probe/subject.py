"""The encoder that is graded, and the one beside it that has learned nothing."""

import json
from dataclasses import asdict

import torch

from common.ijepa.network import Network
from common.ijepa.vit import VisionTransformer
from common.weights import digest
from evaluator.encoders import batch_size

_GPU_BATCH = 256


class Subject:
    """The encoder that is graded, and the ones beside it.

    Args:
        network: Where it comes from.
        device: Where it runs.
    """

    def __init__(self, network: Network, device: torch.device) -> None:
        self.network, self.device = network, device
        self.encoder = network.encoder().to(device).eval()
        rows, columns = self.encoder.grid
        self.batch = _GPU_BATCH if device.type == "cuda" else batch_size(self.encoder, rows * columns)
        """Frames that are encoded together."""

    def random(self, seed: int) -> VisionTransformer:
        """Makes an encoder of the same shape that has learned nothing."""
        with torch.random.fork_rng([]):  # pyright: ignore[reportUnknownMemberType]
            torch.default_generator.manual_seed(seed)
            return VisionTransformer(self.network.config, self.network.image_size).to(self.device).eval()

    def identity(self, encoder: VisionTransformer) -> str:
        """Names an encoder by its parameters, its sizes, and the precision it runs in."""
        sizes = [asdict(self.network.config), self.network.image_size, self.device.type]
        return f"{digest(encoder.state_dict(), torch.float32)} {json.dumps(sizes, sort_keys=True)}"
