# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownLambdaType=false, reportMissingTypeStubs=false

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from evaluator.protocols import linear
from evaluator.protocols.batches import CachedBatches
from evaluator.protocols.features import Readout
from evaluator.protocols.images import ImageFolder
from evaluator.protocols.linear import LinearProtocol
from tests.evaluator.protocols.conftest import silent

CPU = torch.device("cpu")


class Stopped(Exception):
    pass


def parts(features: NDArray[np.float32], folder: ImageFolder, role: NDArray[np.bool_]) -> tuple[Tensor, Tensor]:
    return torch.as_tensor(features[role]), torch.as_tensor(folder.label[role])


def test_digits_come_within_a_point_of_logistic_regression(
    digits: ImageFolder, features: NDArray[np.float32], tmp_path: Path
) -> None:
    fitted = parts(features, digits, digits.fit)
    steps = linear.steps_of(len(fitted[1]), linear.default_batch(len(fitted[1])))
    protocol = LinearProtocol(layers=4, dim=64, classes=10, steps=steps, device=CPU)
    protocol.train(CachedBatches(*fitted, steps=steps, device=CPU, seed=0), saved=tmp_path / "heads", watch=silent)
    graded = protocol.grade(parts(features, digits, digits.validate), parts(features, digits, digits.test))
    found = graded[0].right / digits.test.sum()
    oracles: list[float] = []
    for readout in Readout:
        x_ND = readout.take(features)
        oracle = LogisticRegression(max_iter=2000).fit(x_ND[digits.fit], digits.label[digits.fit])
        oracles.append(float(oracle.score(x_ND[digits.test], digits.label[digits.test])))
    assert max(oracles) > 0.9
    assert found == pytest.approx(max(oracles), abs=0.01)


def small(seed: int = 0) -> tuple[LinearProtocol, CachedBatches, tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    label_N = torch.arange(60) % 3
    layers_NJD = torch.randn(60, 2, 8, generator=generator) + torch.eye(8)[label_N][:, None]
    protocol = LinearProtocol(layers=2, dim=8, classes=3, steps=4, device=CPU, seed=seed, epochs=6)
    batches = CachedBatches(layers_NJD, label_N, steps=4, device=CPU, seed=seed)
    return protocol, batches, (layers_NJD, label_N)


def test_a_training_that_was_killed_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    whole, batches, data = small()
    whole.train(batches, saved=tmp_path / "whole", watch=silent)

    def stop(what: str, done: int, total: int) -> None:
        if done == 14:
            raise Stopped

    killed, again, _ = small()
    with pytest.raises(Stopped):
        killed.train(again, saved=tmp_path / "killed", watch=stop)
    steps: list[int] = []
    resumed, again, _ = small()
    resumed.train(again, saved=tmp_path / "killed", watch=lambda what, done, total: steps.append(done))
    assert (steps[0], steps[-1]) == (13, 24)
    assert resumed.grade(data, data) == whole.grade(data, data)
    for one, other in zip(resumed.groups, whole.groups, strict=True):
        assert all(torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())


def test_a_stacked_head_learns_what_it_learns_alone(tmp_path: Path) -> None:
    """BatchNorm + linear of torch, one head, plain loop, against the head of the same settings in the grid."""
    protocol, batches, (layers_NJD, label_N) = small()
    group = next(one for one in protocol.groups if one.statistics is not None and one.heads[0].readout is Readout.LAST4)
    at = next(index for index, head in enumerate(group.heads) if (head.lr, head.weight_decay) == (0.001, 5e-4))
    norm, layer = torch.nn.BatchNorm1d(16, momentum=None), torch.nn.Linear(16, 3)
    with torch.no_grad():
        layer.weight.copy_(group.weight_HCD[at])
        layer.bias.copy_(group.bias_HC[at])
    protocol.train(batches, saved=tmp_path / "heads", watch=silent)
    momenta = {value: torch.zeros_like(value) for value in (layer.weight, layer.bias, norm.weight, norm.bias)}
    for epoch in range(6):
        norm.reset_running_stats()
        for x_BJD, y_B in batches.epoch(epoch):
            loss = torch.nn.functional.cross_entropy(layer(norm(x_BJD.flatten(1))), y_B)
            gradients = torch.autograd.grad(loss, list(momenta))
            with torch.no_grad():
                for (value, momentum), gradient in zip(momenta.items(), gradients, strict=True):
                    step = gradient + 5e-4 * value
                    if value is layer.weight:
                        step = step * 0.001 * value.norm() / step.norm()
                    momentum.mul_(0.9).add_(step)
                    value.sub_(0.001 * linear.scale_of(4) * momentum)
    norm.eval()
    group.eval()
    with torch.no_grad():
        expected = layer(norm(layers_NJD.flatten(1)))
        assert torch.allclose(group(layers_NJD.flatten(1))[:, at], expected, atol=1e-4)
    assert (expected.argmax(1) == label_N).float().mean() > 0.5


def test_the_grid_is_the_paper_s() -> None:
    heads = linear.grid(4)
    assert len(set(heads)) == len(heads) == 24
    assert {head.lr for head in heads} == {0.01, 0.05, 0.001}
    assert {head.weight_decay for head in heads} == {5e-4, 0.0}
    assert {(head.readout, head.norm) for head in heads} == {(one, norm) for one in Readout for norm in (False, True)}
    assert len(linear.grid(1)) == 12


def test_steps_and_rates_are_the_paper_s_on_imagenet() -> None:
    count = 1_281_167
    assert linear.default_batch(count) == 16_384
    assert linear.steps_of(count, 16_384) == 78
    assert linear.scale_of(78) == pytest.approx(64, rel=0.01)
    assert linear.scale_of(linear.steps_of(count, 256)) == pytest.approx(1, rel=0.01)
    for few in (10, 300, 1300, 5000, 100_000):
        steps = linear.steps_of(few, linear.default_batch(few))
        assert few // steps >= 2
        assert steps * linear.scale_of(steps) == pytest.approx(64 * linear.PAPER_STEPS)


def test_the_rate_falls_tenfold_every_15_epochs(tmp_path: Path) -> None:
    """With weights of norm 1 and no noise, an epoch's movement is proportional to its rate."""
    protocol, batches, _ = small()
    group, moved = protocol.groups[0], list[float]()
    at = max(range(len(group.heads)), key=lambda index: -group.heads[index].lr)
    long = LinearProtocol(layers=2, dim=8, classes=3, steps=4, device=CPU, epochs=50)
    before = long.groups[0].weight_HCD[at].detach().clone()

    def note(what: str, done: int, total: int) -> None:
        nonlocal before
        if done % 4 == 0:
            now = long.groups[0].weight_HCD[at].detach().clone()
            moved.append(float((now - before).norm() / now.norm()))
            before = now

    long.train(batches, saved=tmp_path / "heads", watch=note)
    assert len(moved) == 50
    for early, late in ((14, 20), (29, 35), (44, 49)):
        assert moved[late] < 0.4 * moved[early]


@pytest.mark.filterwarnings("error")
def test_a_head_that_diverged_is_not_chosen() -> None:
    protocol, _, data = small()
    with torch.no_grad():
        protocol.groups[0].weight_HCD[0].fill_(float("nan"))
    graded = protocol.grade(data, data)
    assert graded[-1].head == protocol.groups[0].heads[0]
    assert (graded[-1].validation, linear.describe(graded[-1])["validation_loss"]) == (0.0, None)
