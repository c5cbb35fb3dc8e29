import shutil
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from common.config import MaskConfig, PlasticityConfig
from common.ijepa.masks import Masks, MultiBlockSampler
from learner.step import TrainingStep
from tests.learner.networks import PLAIN, Recipe, frames, parameters

inductor = pytest.param(
    "inductor",
    marks=[pytest.mark.soak, pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs a C++ compiler")],
)


@pytest.fixture(params=["aot_eager", inductor])
def backend(request: pytest.FixtureRequest) -> Iterator[None]:
    """What runs the captured graphs: torch's own kernels; and what a run uses, which takes minutes to compile."""
    torch.compiler.reset()
    with (
        torch.compiler.set_stance(force_backend=request.param),
        torch._dynamo.config.patch(fail_on_recompile_limit_hit=True),  # pyright: ignore
    ):
        yield
    torch.compiler.reset()


def of_length(context: int, target: tuple[int, int]) -> Masks:
    """Masks of a given number of patches: every mask of the same sizes would need one graph only."""
    masks = MultiBlockSampler(MaskConfig(), (8, 8), 0).sample(8)
    first: Tensor = torch.arange(target[0] * target[1]).expand(8, 4, -1)
    return Masks(masks.context_BK[:, :1] * 0 + torch.arange(64 - context, 64), first.contiguous())


@pytest.mark.timeout(900)
def test_a_compiled_step_is_the_step(backend: None) -> None:
    """Through more sizes of masks than torch would make graphs for, were each size to need its own."""
    recipe = PLAIN.but(lr=1e-4, warmup_steps=0)
    plain, compiled = recipe.build(), recipe.build(compile=True)
    for index in range(12):
        masks = of_length(20 + index, (2 + index % 3, 3 + index // 4))
        ours, theirs = compiled(frames(index), masks).read(), plain(frames(index), masks).read()
        assert ours == pytest.approx(theirs, rel=1e-3, abs=1e-5)
    moved = parameters(plain)
    for name, value in parameters(compiled).items():
        assert (value - moved[name]).abs().max() < 3e-4, name


def awake(step: TrainingStep) -> bool:
    return not bool(step.model.get_parameter("context_encoder.blocks.0.mlp.fc1.bias")[5] == -30)


def test_treatments_see_the_units_of_compiled_blocks() -> None:
    torch.compiler.reset()
    step = Recipe(plasticity=PlasticityConfig(every=2, dormant=1e-4)).but(lr=1e-9).build(compile=True)
    with torch.no_grad():
        step.model.get_parameter("context_encoder.blocks.0.mlp.fc1.weight")[5] = 0.0
        step.model.get_parameter("context_encoder.blocks.0.mlp.fc1.bias")[5] = -30.0
    with torch.compiler.set_stance(force_backend="aot_eager"):
        step(frames())
        assert not awake(step)
        step(frames())
        assert awake(step)
    torch.compiler.reset()
