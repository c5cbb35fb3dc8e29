"""What keeps a network able to learn: shrink and perturb, and units that sleep drawn anew.

Both run on the training device without the host knowing what they find.

Shape suffixes: L tokens of any kind, U hidden units of an MLP, D width.
"""

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn

from common.config.optim import PlasticityConfig
from common.ijepa.model import IJepa
from common.ijepa.vit import Mlp
from learner.ranks import Ranks

type Moments = Callable[[Tensor], Mapping[str, Tensor]]
"""The optimiser's averages of a parameter: tensors of its shape, and scalars."""


class Plasticity:
    """Treats the context encoder and the predictor; the target encoder follows by its average.

    Shrink and perturb (Ash & Adams 2020, arXiv:1910.08475, section 4): matrices become shrink · w + perturb · fresh,
    with `fresh` a new initialisation. Norms and biases, which start at ones and zeros, stay. Cost: one initialisation
    of the networks a treatment.

    Dormant units (ReDo, Sokar et al. 2023, arXiv:2302.12902, definition 3.1 and algorithm 1): a hidden unit u of an MLP
    sleeps where mean |a_u| ≤ τ · mean over units; what goes into it is drawn anew, what comes out of it becomes 0, and
    so do the optimiser's averages of both. Activations are those of the batch at the treatment. Cost: one more mean of
    the hidden activations in that step.

    Args:
        config: When, and how much.
        model: The networks, changed in place.
        fresh: Makes networks of the same shape, newly initialised from a seed.
    """

    def __init__(self, config: PlasticityConfig, model: IJepa, fresh: Callable[[int], IJepa]) -> None:
        self._config = config
        self._model = model
        self._fresh = fresh
        self._activity: dict[str, Tensor] = {}
        self.trained: dict[str, nn.Module] = {
            "context_encoder": model.context_encoder,
            "predictor": model.predictor,
        }

    def due(self, step: int) -> bool:
        """Says whether the step with this number, from 1, is followed by a treatment."""
        return bool(self._config.every) and step % self._config.every == 0

    @contextmanager
    def watching(self) -> Generator[None]:
        """Notes how active the hidden units are in the forward passes within."""
        handles = [
            mlp.fc2.register_forward_pre_hook(self._watch(name))
            for name, mlp in self._mlps().items()
            if self._config.dormant
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    @torch.no_grad()
    def treat(self, step: int, ranks: Ranks, moments: Moments) -> None:
        """Treats the networks.

        Args:
            step: Number of the step, which decides what is drawn.
            ranks: Processes that train together, and must find the same units asleep.
            moments: The optimiser's averages, to be cleared where a unit is drawn anew.
        """
        fresh = dict(self._fresh(step).named_parameters())
        if self._config.shrink < 1 or self._config.perturb:
            for name, value in self._parameters().items():
                if value.ndim > 1:
                    value.mul_(self._config.shrink).add_(fresh[name].to(value.device), alpha=self._config.perturb)
        for name, seen_U in self._activity.items():
            activity_U = ranks.average(seen_U)
            asleep_U = activity_U <= self._config.dormant * activity_U.mean()
            mlp = self._mlps()[name]
            self._wake(mlp.fc1.weight, asleep_U[:, None], fresh[f"{name}.fc1.weight"], moments)
            self._wake(mlp.fc1.bias, asleep_U, torch.zeros_like(mlp.fc1.bias), moments)
            self._wake(mlp.fc2.weight, asleep_U[None], torch.zeros_like(mlp.fc2.weight), moments)
        self._activity.clear()

    @staticmethod
    def _wake(parameter: Tensor, where: Tensor, anew: Tensor, moments: Moments) -> None:
        parameter.copy_(torch.where(where, anew.to(parameter.device), parameter))
        for average in moments(parameter).values():
            if average.ndim:
                average.masked_fill_(where, 0.0)

    def _parameters(self) -> dict[str, nn.Parameter]:
        return {
            f"{part}.{name}": value
            for part, module in self.trained.items()
            for name, value in module.named_parameters()
        }

    def _mlps(self) -> dict[str, Mlp]:
        mlps: dict[str, Mlp] = {}
        for part, whole in self.trained.items():
            modules = cast("Iterator[tuple[str, nn.Module]]", whole.named_modules())
            mlps |= {f"{part}.{name}": module for name, module in modules if isinstance(module, Mlp)}
        return mlps

    def _watch(self, name: str) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        def note(_module: nn.Module, inputs: tuple[Any, ...]) -> None:
            active_LU: Tensor = inputs[0].detach().flatten(0, -2)
            mean_U = active_LU.float().abs().mean(0)
            self._activity[name] = self._activity[name] + mean_U if name in self._activity else mean_U

        return note
