"""The curious agent's networks, against formulas written out and against PyTorch's own distributions."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (torch and safetensors are untyped in parts)

import pytest
import torch
from torch.distributions import Categorical, Normal

from common.config.curiosity import DynamicsConfig, PolicyConfig
from common.curiosity.controls import CHOICES, HEADS, controls
from common.curiosity.dynamics import Foreseen, ForwardDynamics
from common.curiosity.policy import Choices, PolicyValue
from common.curiosity.scaling import RunningNorm

D, T, B = 5, 9, 3


def _dynamics(depth: int = 2) -> ForwardDynamics:
    torch.manual_seed(0)
    return ForwardDynamics(DynamicsConfig(dim=16, depth=depth), D)


def _rollouts() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    actions = torch.stack([torch.randint(count, (B, T), generator=generator) for count in CHOICES], -1)
    return torch.randn(B, T + 1, D, generator=generator), actions


def test_surprise_is_the_negative_log_likelihood() -> None:
    came, mean, log_std = torch.randn(4, D), torch.randn(4, D), torch.randn(4, D)
    expected = -Normal(mean, log_std.exp()).log_prob(came).mean(-1)
    assert torch.allclose(Foreseen(mean, log_std).surprise(came), expected, atol=1e-5)


@pytest.mark.parametrize("depth", [1, 3])
def test_steps_in_one_go_are_steps_one_by_one(depth: int) -> None:
    model = _dynamics(depth)
    features, actions = _rollouts()
    seen = model.norm(features[:, :-1])
    whole, hiddens = model(seen, actions, torch.zeros(B, depth, 16))
    hidden = torch.zeros(B, depth, 16)
    for step in range(T):
        one, hidden = model(seen[:, step : step + 1], actions[:, step : step + 1], hidden)
        hidden = hidden[:, 0]
        assert torch.allclose(one.mean[:, 0], whole.mean[:, step], atol=1e-5)
        assert torch.allclose(hidden, hiddens[:, step], atol=1e-5)


def test_loss_of_imagined_steps_is_that_of_a_loop() -> None:
    model = _dynamics()
    features, actions = _rollouts()
    true = torch.ones(B, T, dtype=torch.bool)
    true[1, 4] = False
    hidden = torch.randn(B, 2, 16)
    loss, each = model.loss(features, actions, hidden, true, 3)
    seen = model.norm(features)
    surprises: list[list[torch.Tensor]] = [[], [], []]
    for row in range(B):
        state = hidden[row : row + 1]
        for step in range(T):
            foreseen, after = model(
                seen[row : row + 1, step : step + 1], actions[row : row + 1, step : step + 1], state
            )
            state, imagined, inner = after[:, 0], foreseen, after[:, 0]
            for ahead in range(3):
                if step + ahead + 1 > T or not true[row, step : step + ahead + 1].all():
                    break
                surprises[ahead].append(imagined.surprise(seen[row : row + 1, step + ahead + 1 : step + ahead + 2]))
                if step + ahead + 1 < T:
                    action = actions[row : row + 1, step + ahead + 1 : step + ahead + 2]
                    imagined, inner = model(imagined.mean, action, inner)
                    inner = inner[:, 0]
    expected = torch.stack([torch.stack(one).mean() for one in surprises])
    assert torch.allclose(each, expected, atol=1e-4)
    assert torch.allclose(loss, expected.mean(), atol=1e-4)


def test_what_is_left_out_teaches_nothing() -> None:
    model = _dynamics()
    features, actions = _rollouts()
    loss, _ = model.loss(features, actions, torch.zeros(B, 2, 16), torch.zeros(B, T, dtype=torch.bool), 2)
    loss.backward()
    assert loss.item() == 0
    assert all(parameter.grad is None or not parameter.grad.any() for parameter in model.parameters())


def test_it_learns_what_actions_do() -> None:
    """A world that moves by what is done: foreseeing must come to beat foreseeing that nothing changes."""
    torch.manual_seed(0)
    model = ForwardDynamics(DynamicsConfig(dim=32), D)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    moves = torch.randn(3, D)
    features, actions = torch.zeros(0), torch.zeros(0)
    for _ in range(150):
        actions = torch.stack([torch.randint(count, (8, T)) for count in CHOICES], -1)
        features = torch.cat([torch.zeros(8, 1, D), moves[actions[..., 0]].cumsum(1)], 1) + torch.randn(8, 1, D)
        model.norm.update(features.flatten(0, 1))
        loss, _ = model.loss(features, actions, torch.zeros(8, 1, 32), torch.ones(8, T, dtype=torch.bool), 1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    seen = model.norm(features)
    foreseen, _ = model(seen[:, :-1], actions, torch.zeros(8, 1, 32))
    persistence = (seen[:, 1:] - seen[:, :-1]).square().mean()
    assert foreseen.error(seen[:, 1:]).mean() < 0.2 * persistence


def test_choices_are_independent_categoricals() -> None:
    logits = [torch.randn(4, count) for count in CHOICES]
    ours, theirs = Choices(logits), [Categorical(logits=one) for one in logits]
    drawn = ours.sample(torch.Generator().manual_seed(0))
    assert drawn.shape == (4, len(CHOICES))
    expected = sum(one.log_prob(chosen) for one, chosen in zip(theirs, drawn.unbind(-1), strict=True))
    assert torch.allclose(
        ours.log_prob(drawn, torch.ones(4, 4, dtype=torch.bool)), torch.as_tensor(expected), atol=1e-6
    )
    first = torch.zeros(4, 4, dtype=torch.bool)
    first[:, 0] = True
    assert torch.allclose(ours.log_prob(drawn, first), theirs[0].log_prob(drawn[:, 0]), atol=1e-6)
    assert torch.allclose(ours.entropy(), torch.as_tensor(sum(one.entropy() for one in theirs)), atol=1e-6)


def test_a_new_policy_has_no_preference() -> None:
    policy = PolicyValue(PolicyConfig(dim=16), D, 16)
    choices, value = policy(torch.randn(6, D), torch.randn(6, 16))
    even = sum(torch.tensor(float(count)).log() for count in CHOICES)
    assert torch.allclose(choices.entropy(), torch.as_tensor(even).expand(6), atol=1e-3)
    assert value.shape == (6,)


def test_controls_are_what_the_worlds_take() -> None:
    assert controls([1, 2, 1, 0]).tolist() == [1.0, -1.0, 0.5, 0.0]
    assert [len(values) for values in HEADS] == list(CHOICES)
    assert controls([0] * len(CHOICES)).tolist() == [0.0] * 4


def test_norm_takes_its_first_vectors_whole_and_moves_slowly_then() -> None:
    norm = RunningNorm(2)
    first = torch.tensor([[1.0, 10.0], [3.0, 30.0]])
    norm.update(first)
    assert torch.allclose(norm(first), torch.tensor([[-1.0, -1.0], [1.0, 1.0]]), atol=1e-5)
    for _ in range(2000):
        norm.update(first + 5)
    assert torch.allclose(norm.mean, torch.tensor([7.0, 25.0]), atol=1e-2)
