# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownLambdaType=false

import pytest
import torch
from torch import Tensor

from common.ijepa.vit import Block, blocks, run_block


def tokens(batch: int = 3, length: int = 10, dim: int = 32) -> Tensor:
    return torch.randn(batch, length, dim, generator=torch.Generator().manual_seed(0))


def strong(block: Block) -> Block:
    """Weights so large that every part of the block matters."""
    with torch.no_grad():
        for value in block.parameters():
            value.add_(torch.randn(value.shape, generator=torch.Generator().manual_seed(value.numel())), alpha=0.2)
    return block


def gradients(module: torch.nn.Module) -> list[Tensor]:
    found = [value.grad for value in module.parameters()]
    return [gradient for gradient in found if gradient is not None]


@pytest.mark.parametrize("last", [1, 4, 10])
def test_the_last_tokens_alone_are_the_last_of_all(last: int) -> None:
    results: list[list[Tensor]] = []
    for alone in (True, False):
        torch.manual_seed(0)
        block, given = strong(Block(32, 4, 64, 1)), tokens().requires_grad_()
        made = block(given, last) if alone else block(given)[:, -last:]
        made.square().sum().backward()
        assert given.grad is not None
        results.append([made.detach(), given.grad, *gradients(block)])
    assert results[0][0].shape == (3, last, 32)
    for ours, theirs in zip(*results, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-4, rtol=1e-4)


def saved_bytes(forget: bool) -> tuple[int, Tensor, list[Tensor]]:
    """Bytes that three blocks keep for the way back, their result and their gradients."""
    torch.manual_seed(0)
    stack, storages = blocks(32, 4, 4.0, 3), dict[int, int]()

    def note(saved: Tensor) -> Tensor:
        storages[saved.untyped_storage().data_ptr()] = saved.untyped_storage().nbytes()
        return saved

    given = tokens()
    with torch.autograd.graph.saved_tensors_hooks(note, lambda saved: saved):
        made = given
        for index, block in enumerate(stack):
            made = run_block(block, made, 5 if index == 2 else None, forget=forget)
    weights = {value.untyped_storage().data_ptr() for value in stack.parameters()}
    kept = sum(size for place, size in storages.items() if place not in weights)
    made.square().sum().backward()
    return kept, made.detach(), gradients(stack)


def test_forgotten_activations_are_the_same_when_computed_again() -> None:
    kept, made, found = saved_bytes(forget=False)
    kept_less, made_again, found_again = saved_bytes(forget=True)
    assert torch.equal(made, made_again)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(found, found_again, strict=True))
    assert kept_less < 0.2 * kept, (kept_less, kept)


def test_nothing_is_computed_again_without_a_way_back() -> None:
    block, calls = Block(32, 4, 64, 1), list[int]()
    block.mlp.fc1.register_forward_hook(lambda *_: calls.append(1))
    with torch.no_grad():
        run_block(block, tokens(), forget=True)
    assert len(calls) == 1
    run_block(block, tokens(), forget=True).sum().backward()
    assert len(calls) == 3
