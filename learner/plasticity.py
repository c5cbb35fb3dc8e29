"""What keeps a network able to learn: shrink and perturb, and units that sleep drawn anew.

Both run on the training device without the host knowing what they find.

Shape suffixes: L tokens of any kind, U hidden units of an MLP, D width.
"""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, cast

import torch
from numpy.random import SeedSequence
from torch import Tensor, nn

from common.config.optim import PlasticityConfig
from common.ijepa.model import IJepa
from common.ijepa.vit import Mlp
from learner.ranks import Ranks

type Averages = Mapping[str, Sequence[Tensor]]
"""What remembers the gradients of a parameter, tensors of its shape, by the parameter's name."""


class Plasticity:
    """Treats the context encoder and the predictor; the target encoder follows by its average.

    Shrink and perturb (Ash & Adams 2020, arXiv:1910.08475, section 4): matrices become shrink · w + perturb · fresh,
    with `fresh` a new initialisation. Vectors (norms, biases, the mask token) stay. Cost: one initialisation of the
    networks a treatment, 0.08 of the demo's step.

    Dormant units (ReDo, Sokar et al. 2023, arXiv:2302.12902, definition 3.1 and algorithm 1): a hidden unit u of an MLP
    sleeps where mean |a_u| ≤ τ · mean over units; what goes into it is drawn anew, what comes out of it becomes 0, and
    so do the running averages of the gradients of both. Activations are those of the batch at the treatment. Cost: one
    initialisation of the networks and one mean of the hidden activations a treatment, 0.14 of the demo's step;
    compiled blocks run uncompiled in that step, since they do not call hooks that they were compiled without.

    Args:
        config: When, and how much.
        model: The networks, changed in place.
        seed: With the number of the step, of what is drawn.
    """

    def __init__(self, config: PlasticityConfig, model: IJepa, seed: int) -> None:
        self._config = config
        self._another = model.another
        self._seed = seed
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
            with torch.compiler.set_stance("force_eager") if handles else nullcontext():
                yield
        finally:
            for handle in handles:
                handle.remove()

    @torch.no_grad()
    def treat(self, step: int, ranks: Ranks, averages: Averages) -> None:
        """Treats the networks.

        Args:
            step: Number of the step.
            ranks: Processes that train together, and must find the same units asleep.
            averages: To be cleared where a unit is drawn anew.
        """
        anew = self._another(int(SeedSequence((self._seed, step)).generate_state(1)[0]))
        fresh = dict(anew.named_parameters())
        parameters = self._parameters()
        if self._config.shrink < 1 or self._config.perturb:
            for name, value in parameters.items():
                if value.ndim > 1:
                    value.mul_(self._config.shrink).add_(fresh[name].to(value.device), alpha=self._config.perturb)
        for name, seen_U in self._activity.items():
            activity_U = ranks.average(seen_U)
            asleep_U = activity_U <= self._config.dormant * activity_U.mean()
            incoming = {"fc1.weight": asleep_U[:, None], "fc1.bias": asleep_U}
            for field, where in incoming.items():
                value = parameters[f"{name}.{field}"]
                value.copy_(torch.where(where, fresh[f"{name}.{field}"].to(value.device), value))
            outgoing = {"fc2.weight": asleep_U[None]}
            parameters[f"{name}.fc2.weight"].masked_fill_(outgoing["fc2.weight"], 0.0)
            for field, where in (incoming | outgoing).items():
                for average in averages[f"{name}.{field}"]:
                    average.masked_fill_(where, 0.0)
        self._activity.clear()

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
