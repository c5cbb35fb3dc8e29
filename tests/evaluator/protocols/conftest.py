"""scikit-learn's digits as a folder of pictures, and features of them."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownLambdaType=false, reportMissingTypeStubs=false

from typing import Any, cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits

from common.config import ModelConfig
from common.ijepa.vit import VisionTransformer
from evaluator.protocols.features import cached_features
from evaluator.protocols.images import ImageFolder

SIZE = (8, 8)


def encoder(dim: int = 64, depth: int = 4) -> VisionTransformer:
    """A network with random weights that looks at one patch of 8×8."""
    with torch.random.fork_rng([]):
        torch.default_generator.manual_seed(0)
        return VisionTransformer(ModelConfig(patch_size=8, dim=dim, depth=depth, heads=4), SIZE)


def silent(what: str, done: int, total: int) -> None:
    """Watches nothing."""


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> ImageFolder:
    """The 1797 digits, split once and for all."""
    root, data = tmp_path_factory.mktemp("digits"), cast(Any, load_digits())
    for number, (picture, label) in enumerate(zip(data.images, data.target, strict=True)):
        path = root / str(label) / f"{number:04d}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray((picture * 15.9375).astype(np.uint8)).save(path)
    return ImageFolder.open(root, validation=0.2, test=0.4, seed=0)


@pytest.fixture(scope="session")
def features(digits: ImageFolder, tmp_path_factory: pytest.TempPathFactory) -> NDArray[np.float32]:
    """Features of the digits under random weights, float32 [N, 4, 64]."""
    return cached_features(
        encoder(),
        digits,
        lambda index: digits.centre(index, SIZE, 1.0),
        home=tmp_path_factory.mktemp("features"),
        batch=256,
        device=torch.device("cpu"),
        watch=silent,
    )
