"""How the small read-outs of the offline axes are fitted: AdamW, a fixed number of steps, nothing to stop early on."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from evaluator.protocols.features import Watch

DECAY = 0.01


def fit(
    module: nn.Module,
    batches: Iterable[tuple[Tensor, ...]],
    loss: Callable[..., Tensor],
    *,
    steps: int,
    lr: float,
    count: "Count",
) -> None:
    """Trains a module with AdamW; the rate falls from `lr` to 0 along a cosine.

    Args:
        module: Changed in place.
        batches: At least `steps` batches.
        loss: From a batch to a number.
        steps: Steps.
        lr: First learning rate.
        count: Told each step.
    """
    optimiser = torch.optim.AdamW(module.parameters(), lr=lr, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for batch, _ in zip(batches, range(steps), strict=False):
        optimiser.zero_grad()
        torch.autograd.backward(loss(*batch))
        optimiser.step()  # pyright: ignore[reportUnknownMemberType]
        schedule.step()
        count()


class Count:
    """Counts steps of several fits for a `Watch`.

    Args:
        watch: Told.
        what: What is being done.
        total: How much there is.
    """

    def __init__(self, watch: Watch, what: str, total: int) -> None:
        self._watch, self._what, self._total, self._done = watch, what, total, 0

    def __call__(self) -> None:
        """Notes one more."""
        self._done += 1
        self._watch(self._what, self._done, self._total)
