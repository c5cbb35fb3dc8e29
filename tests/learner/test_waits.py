"""The host asks the device for nothing within a step: seen by the operations that a step is made of."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast, override

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from common.config import MaskConfig, ModelConfig, OptimConfig, PlasticityConfig, Regulariser
from common.config.optim import EmaSchedule
from common.ijepa.masks import MultiBlockSampler
from common.ijepa.model import IJepa
from learner.step import TrainingStep

SMALL = ModelConfig(patch_size=12, dim=32, depth=2, heads=2, predictor_dim=16, predictor_depth=2, predictor_heads=2)
SIZE = (96, 96)
WAITING = {
    "_local_scalar_dense",
    "equal",
    "is_nonzero",
    "item",
    "masked_select",
    "nonzero",
    "repeat_interleave",
    "unique2",
    "_unique2",
    "unique_dim",
}
"""Operations whose result, or its size, the host must know before it can go on."""


class Waits(TorchDispatchMode):
    """Notes operations for which the host would wait on a GPU; indexing by truth values is one."""

    def __init__(self) -> None:
        super().__init__()  # pyright: ignore[reportUnknownMemberType]
        self.found: list[str] = []
        self.seen = 0

    @override
    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        name: str = func.overloadpacket.__name__
        self.seen += 1
        if name in WAITING or (name.startswith("index") and holds_truth(args[1:])):
            self.found.append(name)
        return func(*args, **(kwargs or {}))


def holds_truth(args: Any) -> bool:
    if isinstance(args, Tensor):
        return args.dtype == torch.bool
    return isinstance(args, (list, tuple)) and any(map(holds_truth, cast("list[Any]", args)))


def frames(batch: int) -> Tensor:
    return torch.randint(0, 256, (batch, *SIZE, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("regulariser", list(Regulariser))
@pytest.mark.parametrize("forget", [False, True])
def test_a_step_never_waits_for_the_device(regulariser: Regulariser, forget: bool) -> None:
    optim = OptimConfig(
        batch_size=8,
        accumulate=2,
        regulariser=regulariser,
        orthogonal=0.9,
        clip=1.0,
        crop=0.3,
        ema_schedule=EmaSchedule.SECONDS,
        ema_half_life=10.0,
    )
    plasticity = PlasticityConfig(every=2, shrink=0.9, perturb=0.1, dormant=0.1)
    step = TrainingStep(IJepa(SMALL, SIZE, seed=0), optim, MaskConfig(), plasticity, seed=0, forget_activations=forget)
    masks = MultiBlockSampler(MaskConfig(), (8, 8), 0).sample(8)
    with Waits() as waits:
        step(frames(8), masks)
    assert waits.seen > 100
    assert not waits.found


ASKS: list[Callable[[Tensor], object]] = [
    lambda x: float(x.sum()),
    lambda x: bool(x.any()),
    lambda x: x[x > 0],
    lambda x: x.nonzero(),
    lambda x: torch.equal(x, x),
    lambda x: x.sum().item(),
    lambda x: x.__setitem__(x > 0, torch.ones(3)),
    lambda x: x.unique(),  # pyright: ignore[reportUnknownMemberType, reportUnknownLambdaType]
]


@pytest.mark.parametrize("asks", ASKS)
def test_what_would_wait_is_seen(asks: Callable[[Tensor], object]) -> None:
    with Waits() as waits:
        asks(torch.tensor([1.0, 2.0, 3.0]))
    assert waits.found
