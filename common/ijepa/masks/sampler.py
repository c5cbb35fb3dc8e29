"""What all ways of drawing masks have in common."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from common.config.model import MaskConfig
from common.ijepa.masks.blocks import Masks, Offer


class MaskSampler(ABC):
    """Draws the masks of training batches.

    Everything random follows from one generator on the host, so a state has the same shape on every device.

    Args:
        config: Number and size of the blocks.
        grid: Rows and columns of patches.
        seed: Seed of all draws.
        device: Where the masks are wanted.

    Raises:
        ConfigError: The blocks do not fit the grid, or cannot leave `min_context` patches; whatever the kind, also
            where `fixed_masks` could not leave them.
    """

    def __init__(
        self, config: MaskConfig, grid: tuple[int, int], seed: int, device: torch.device | str = "cpu"
    ) -> None:
        self._config = config
        self._grid = grid
        self._offer = Offer.of(config, grid)
        self._device = torch.device(device)
        self._generator = torch.Generator().manual_seed(seed)

    @abstractmethod
    def sample(self, batch: int) -> Masks:
        """Draws the masks of a batch of `batch` pictures, on the device; the host does not wait for it."""

    def state(self) -> Tensor:
        """State of the random draws (uint8, on the host), for a checkpoint."""
        return self._generator.get_state()

    def restore(self, state: Tensor) -> None:
        """Goes on from a `state()`."""
        self._generator.set_state(state)

    @property
    def _patches(self) -> int:
        return self._grid[0] * self._grid[1]

    def _share(self) -> float:
        """A draw in [0, 1) that the host uses itself."""
        return torch.rand(1, generator=self._generator).item()

    def _uniform(self, *shape: int) -> Tensor:
        """Draws in [0, 1) on the host."""
        return torch.rand(shape, generator=self._generator)
