# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownLambdaType=false, reportMissingTypeStubs=false

import torch

from evaluator.protocols.lars import Lars


def test_steps_equal_the_formula_by_hand() -> None:
    weight = torch.nn.Parameter(torch.tensor([[3.0, 4.0]]))
    optimiser = Lars([{"params": [weight]}], lr=torch.tensor([2.0]), weight_decay=torch.tensor([0.1]), trust=0.01)
    expected, momentum = torch.tensor([[3.0, 4.0]]), torch.zeros(1, 2)
    for gradient in (torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, -2.0]])):
        weight.grad = gradient.clone()
        optimiser.step()
        decayed = gradient + 0.1 * expected
        momentum = 0.9 * momentum + 0.01 * expected.norm() / decayed.norm() * decayed
        expected = expected - 2.0 * momentum
        assert torch.allclose(weight, expected)


def test_a_layer_moves_by_a_share_of_itself_whatever_its_gradient_is_worth() -> None:
    moved: list[torch.Tensor] = []
    for scale in (1e-6, 1.0, 1e6):
        weight = torch.nn.Parameter(torch.tensor([[3.0, 4.0]]))
        optimiser = Lars([{"params": [weight]}], lr=torch.ones(1), weight_decay=torch.zeros(1))
        weight.grad = scale * torch.tensor([[1.0, -1.0]])
        optimiser.step()
        moved.append(weight.detach() - torch.tensor([[3.0, 4.0]]))
        assert torch.isclose(moved[-1].norm(), torch.tensor(0.005), rtol=1e-3)
    assert torch.allclose(moved[0], moved[2], rtol=1e-3)


def test_stacked_models_are_as_if_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    start, lr, decay = (
        torch.randn(3, 4, 5, generator=generator),
        torch.tensor([0.1, 1.0, 5.0]),
        torch.tensor([0, 0.1, 1]),
    )
    together = torch.nn.Parameter(start.clone())
    alone = [torch.nn.Parameter(start[index : index + 1].clone()) for index in range(3)]
    stacked = Lars([{"params": [together]}], lr=lr, weight_decay=decay)
    singles = [
        Lars([{"params": [one]}], lr=lr[index : index + 1], weight_decay=decay[index : index + 1])
        for index, one in enumerate(alone)
    ]
    for _ in range(3):
        together.grad = torch.randn(3, 4, 5, generator=generator)
        stacked.step()
        for index, (one, optimiser) in enumerate(zip(alone, singles, strict=True)):
            one.grad = together.grad[index : index + 1].clone()
            optimiser.step()
    assert torch.allclose(together, torch.cat(list(alone)), atol=1e-6)


def test_biases_take_plain_steps_and_a_zero_norm_does_not_freeze() -> None:
    bias, zero = torch.nn.Parameter(torch.tensor([[5.0, 5.0]])), torch.nn.Parameter(torch.zeros(1, 2))
    optimiser = Lars(
        [{"params": [bias], "adapt": False}, {"params": [zero]}], lr=torch.tensor([0.5]), weight_decay=torch.zeros(1)
    )
    bias.grad, zero.grad = torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 2.0]])
    optimiser.step()
    assert bias.tolist() == [[4.5, 4.0]]
    assert zero.tolist() == [[-0.5, -1.0]]
