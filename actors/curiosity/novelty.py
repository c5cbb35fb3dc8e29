"""How new a view is in this visit: its distance from those that were seen before (Badia et al. 2020, arXiv:2002.06038).

Unlike surprise it does not reward what is seen again and again without being foreseen, such as turning on the spot.
"""

import torch
from torch import Tensor

MEMORY = 1024
"""Views that are remembered, at most; then the oldest is forgotten."""
NEIGHBOURS = 10
"""Nearest views that count."""


class EpisodicMemory:
    """The views of one visit.

    Args:
        size: Views that are remembered.
        neighbours: Nearest views that count.
    """

    def __init__(self, size: int = MEMORY, neighbours: int = NEIGHBOURS) -> None:
        self._size = size
        self._neighbours = neighbours
        self._views_ND = torch.zeros(0, 0)
        self._next = 0

    def novelty(self, view_D: Tensor, *, joined: bool) -> float:
        """Takes a view, and says how new it is.

        Args:
            view_D: Standardised features, float32 [D].
            joined: It is of the same visit as those before; if not, they are forgotten.

        Returns:
            Root mean square distance, a dimension, from the nearest views; 0 for the first view of a visit.
        """
        if not joined:
            self._views_ND, self._next = view_D.new_zeros(0, len(view_D)), 0
        found = 0.0
        if len(self._views_ND):
            distances_N = (self._views_ND - view_D).square().mean(1)
            nearest = distances_N.topk(min(self._neighbours, len(distances_N)), largest=False).values
            found = float(nearest.mean().sqrt())
        if len(self._views_ND) < self._size:
            self._views_ND = torch.cat([self._views_ND, view_D[None]])
        else:
            self._views_ND[self._next] = view_D
            self._next = (self._next + 1) % self._size
        return found

    def tensors(self) -> dict[str, Tensor]:
        """All that is remembered, by name."""
        return {"views": self._views_ND, "next": torch.tensor(self._next)}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Remembers it."""
        self._views_ND, self._next = tensors["views"], int(tensors["next"])
