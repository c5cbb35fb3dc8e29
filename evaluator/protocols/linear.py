"""I-JEPA's own evaluation: linear heads on a frozen encoder, trained by LARS, all of them at the same time.

Assran et al. 2023 (arXiv:2301.08243), appendix A; what it leaves open is as in VISSL, which the paper was evaluated
with (`benchmark/linear_image_classification/imagenet1k/models/vit_h16_no_cls.yaml`: no class token, this grid).

    {last layer, last 4 layers} × {linear, BatchNorm + linear} × lr {0.01, 0.05, 0.001} × weight decay {5e-4, 0}

50 epochs, lr ÷ 10 after 15, 30 and 45, momentum 0.9, trust 0.001. The heads see the same batches, so that the features
are read once for all. The head with the best accuracy on the validation part is reported on the test set.

**Steps and rates.** The paper's batches of 16 384 make 78.2 steps of one epoch of ImageNet, and VISSL multiplies the
"reference" rates by batch ÷ 256, there 64. A LARS step is relative to the weights, so that how far a head can get
depends on Σ lr over its steps. On fewer pictures that sum is kept, in steps as many as the paper's, or fewer where
batches would come out so small that their noise decides the direction:

    batch = pictures ÷ 78.2, at least 64 or a twentieth of the pictures, at most 16 384
    lr    = reference · 64 · 78.2 ÷ (steps of an epoch)

On ImageNet both are the paper's, and for other batches there the second one is VISSL's linear rule.

Shapes: N pictures, B of a batch, J layers, D features, H heads of a group, C classes.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import cast, override

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file  # pyright: ignore[reportUnknownVariableType]
from torch import Tensor, nn
from torch.nn import functional

from evaluator.protocols.batches import Batches
from evaluator.protocols.features import Readout, Watch, readouts
from evaluator.protocols.lars import Lars

EPOCHS = 50
DECAY_EVERY = 15
RATES = (0.01, 0.05, 0.001)
DECAYS = (5e-4, 0.0)

PAPER_STEPS = 1_281_167 / 16_384
"""Steps of an epoch of ImageNet in the paper."""

PAPER_SCALE = 16_384 / 256
"""What VISSL multiplies reference rates by at that batch."""

LARGEST = 16_384
"""Largest batch that is chosen by itself, the paper's."""

SMALLEST = 64
"""Smallest batch, unless it made fewer than `FEWEST` steps an epoch."""

FEWEST = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Head:
    """One linear head of the grid.

    Attributes:
        readout: What it reads.
        norm: Whether a BatchNorm comes first.
        lr: Reference learning rate.
        weight_decay: Of all its parameters.
    """

    readout: Readout
    norm: bool
    lr: float
    weight_decay: float

    def __str__(self) -> str:
        return f"{self.readout}, {'BatchNorm + ' if self.norm else ''}linear, lr {self.lr}, wd {self.weight_decay}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Trained:
    """A head at the end of its training.

    Attributes:
        head: Which.
        validation: Accuracy on the validation part.
        validation_loss: Cross-entropy there, nats; infinite where the head diverged.
        right: Test pictures that it got right.
    """

    head: Head
    validation: float
    validation_loss: float
    right: int


def grid(layers: int) -> list[Head]:
    """All heads for an encoder with so many layers kept."""
    return [
        Head(readout=readout, norm=norm, lr=lr, weight_decay=decay)
        for readout, norm, lr, decay in itertools.product(readouts(layers), (False, True), RATES, DECAYS)
    ]


def default_batch(count: int) -> int:
    """The batch that makes as many steps an epoch of `count` pictures as the paper made of ImageNet, within bounds."""
    return min(LARGEST, max(round(count / PAPER_STEPS), min(SMALLEST, count // FEWEST), 2))


def steps_of(count: int, batch: int) -> int:
    """Batches an epoch: none has fewer than two pictures, which BatchNorm needs."""
    return max(1, min(round(count / batch), count // 2))


def scale_of(steps: int) -> float:
    """What reference rates are multiplied by where an epoch has so many steps."""
    return PAPER_SCALE * PAPER_STEPS / steps


class Group(nn.Module):
    """Heads that read the same features, stacked.

    The statistics of a BatchNorm depend on the features alone, so one serves all heads; each has its own scale and
    shift. For testing they are averaged over the batches of the last epoch.

    Args:
        heads: Heads of one read-out, all with a norm or none.
        dim: Features.
        classes: Outputs.
    """

    def __init__(self, heads: Sequence[Head], dim: int, classes: int) -> None:
        super().__init__()
        self.heads = heads
        layer = nn.Linear(dim, classes)
        self.weight_HCD = nn.Parameter(layer.weight.detach().expand(len(heads), -1, -1).clone())
        self.bias_HC = nn.Parameter(layer.bias.detach().expand(len(heads), -1).clone())
        self.statistics = nn.BatchNorm1d(dim, momentum=None, affine=False) if heads[0].norm else None
        if self.statistics is not None:
            self.scale_HD = nn.Parameter(torch.ones(len(heads), dim))
            self.shift_HD = nn.Parameter(torch.zeros(len(heads), dim))

    @override
    def forward(self, x_BD: Tensor) -> Tensor:
        """Gives logits_BHC."""
        weight_HCD, bias_HC = self.weight_HCD, self.bias_HC
        if self.statistics is not None:
            x_BD = self.statistics(x_BD)
            bias_HC = bias_HC + (weight_HCD @ self.shift_HD[:, :, None])[:, :, 0]
            weight_HCD = weight_HCD * self.scale_HD[:, None]
        logits = x_BD @ weight_HCD.flatten(0, 1).T + bias_HC.flatten()
        return logits.view(-1, *bias_HC.shape)

    def optimiser(self, scale: float) -> Lars:
        """Makes LARS for these heads; their reference rates are multiplied by `scale`."""
        device = self.weight_HCD.device
        others = [value for name, value in self.named_parameters() if name != "weight_HCD"]
        return Lars(
            [{"params": [self.weight_HCD]}, {"params": others, "adapt": False}],
            lr=torch.tensor([head.lr * scale for head in self.heads], device=device),
            weight_decay=torch.tensor([head.weight_decay for head in self.heads], device=device),
        )


class LinearProtocol:
    """Trains the grid.

    Args:
        layers: Layers of the features (J).
        dim: Features of a layer (D).
        classes: Classes.
        steps: Batches an epoch.
        device: Where.
        seed: Of the initial weights.
        epochs: Epochs; the paper's by default.
    """

    def __init__(
        self,
        *,
        layers: int,
        dim: int,
        classes: int,
        steps: int,
        device: torch.device,
        seed: int = 0,
        epochs: int = EPOCHS,
    ) -> None:
        self._epochs, self._steps = epochs, steps
        heads = grid(layers)
        with torch.random.fork_rng([]):  # pyright: ignore[reportUnknownMemberType]
            torch.default_generator.manual_seed(seed)
            self._groups = nn.ModuleList(
                Group(chosen, dim * (layers if readout is Readout.LAST4 else 1), classes)
                for readout, norm in itertools.product(readouts(layers), (False, True))
                if (chosen := [head for head in heads if (head.readout, head.norm) == (readout, norm)])
            ).to(device)
        self._optimisers = [group.optimiser(scale_of(steps)) for group in self.groups]
        self._rates = [optimiser.param_groups[0]["lr"] for optimiser in self._optimisers]

    @property
    def groups(self) -> list[Group]:
        """The heads."""
        return [group for group in self._groups if isinstance(group, Group)]

    def train(self, batches: Batches, *, saved: Path, watch: Watch) -> None:
        """Trains all heads to the end.

        Args:
            batches: The training pictures.
            saved: File that keeps the state after each epoch; one that is there already is gone on from.
            watch: Told the number of steps done.
        """
        total = self._epochs * self._steps
        for epoch in range(self._resume(saved), self._epochs):
            for group, optimiser, rate_H in zip(self.groups, self._optimisers, self._rates, strict=True):
                group.train()
                if group.statistics is not None:
                    group.statistics.reset_running_stats()
                for part in optimiser.param_groups:
                    part["lr"] = rate_H * 0.1 ** (epoch // DECAY_EVERY)
            for number, (layers_BJD, label_B) in enumerate(batches.epoch(epoch), start=1):
                self._step(layers_BJD, label_B)
                watch("training heads", epoch * self._steps + number, total)
            self._save(saved, epoch + 1)

    def _step(self, layers_BJD: Tensor, label_B: Tensor) -> None:
        for group, optimiser in zip(self.groups, self._optimisers, strict=True):
            optimiser.zero_grad()
            logits_BHC = group(group.heads[0].readout.take(layers_BJD))
            loss = functional.cross_entropy(
                logits_BHC.mT, label_B[:, None].expand(-1, len(group.heads)), reduction="sum"
            )
            torch.autograd.backward(loss / len(label_B))
            optimiser.step()

    @torch.inference_mode()
    def grade(
        self, validate: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor], *, batch: int = 4096
    ) -> list[Trained]:
        """Asks every head about the validation and the test pictures.

        Args:
            validate: layers_NJD and label_N.
            test: The same of the test set.
            batch: Pictures at a time.

        Returns:
            The heads, the best on the validation part first; of equals the one with the smaller loss there.
        """
        found: list[Trained] = []
        for group in self.groups:
            group.eval()
            answers = [_graded(group, *part, batch) for part in (validate, test)]
            (right_H, loss_H), (test_H, _) = answers
            for index, head in enumerate(group.heads):
                loss = float(loss_H[index]) / len(validate[1])
                one = Trained(
                    head=head,
                    validation=float(right_H[index]) / len(validate[1]),
                    validation_loss=loss if np.isfinite(loss) else float("inf"),
                    right=int(test_H[index]),
                )
                found.append(one if np.isfinite(loss) else replace(one, validation=0.0))
        return sorted(found, key=lambda one: (-one.validation, one.validation_loss))

    def _tensors(self) -> dict[str, Tensor]:
        """Everything that training changes."""
        state = dict(self._groups.state_dict())
        for number, optimiser in enumerate(self._optimisers):
            for part in optimiser.param_groups:
                for index, weight in enumerate(part["params"]):
                    momentum = optimiser.state[weight].setdefault("momentum", torch.zeros_like(weight))
                    state[f"momentum.{number}.{'w' if part['adapt'] else 'o'}{index}"] = momentum
        return state

    def _save(self, path: Path, epoch: int) -> None:
        tensors = {name: tensor.contiguous() for name, tensor in self._tensors().items()}
        partial = path.with_suffix(".part")
        save_file(tensors, partial, metadata={"epoch": str(epoch)})
        partial.replace(path)

    def _resume(self, path: Path) -> int:
        """Takes up a saved state, if there is one that fits; gives the number of epochs done."""
        into = self._tensors()
        try:
            with safe_open(path, "pt") as file:  # pyright: ignore[reportUnknownVariableType]
                metadata = cast(Mapping[str, str], file.metadata())  # pyright: ignore[reportUnknownMemberType]
            found = cast(Mapping[str, Tensor], load_file(path))
        except (OSError, SafetensorError):
            return 0
        if found.keys() != into.keys() or any(found[name].shape != tensor.shape for name, tensor in into.items()):
            return 0
        with torch.no_grad():
            for name, tensor in into.items():
                tensor.copy_(found[name])
        return int(metadata["epoch"])


def _graded(group: Group, layers_NJD: Tensor, label_N: Tensor, batch: int) -> tuple[Tensor, Tensor]:
    """Counts right answers and adds up cross-entropies of each head, float64 [H] each."""
    rights, losses = list[Tensor](), list[Tensor]()
    for start in range(0, len(label_N), batch):
        x_BJD, y_B = (one[start : start + batch].to(group.bias_HC.device) for one in (layers_NJD, label_N))
        logits_BHC = group(group.heads[0].readout.take(x_BJD))
        truth_BH = y_B[:, None].expand(-1, len(group.heads))
        rights.append((logits_BHC.argmax(2) == truth_BH).sum(0).double())
        losses.append(functional.cross_entropy(logits_BHC.mT, truth_BH, reduction="none").sum(0).double())
    return torch.stack(rights).sum(0), torch.stack(losses).sum(0)


def describe(trained: Trained) -> dict[str, object]:
    """Gives a head's result as plain JSON."""
    row: dict[str, object] = {**asdict(trained.head), "validation": trained.validation, "test_right": trained.right}
    finite = np.isfinite(trained.validation_loss)
    return row | {"validation_loss": trained.validation_loss if finite else None}
