# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownLambdaType=false, reportMissingTypeStubs=false

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from evaluator.protocols import features
from evaluator.protocols.batches import AugmentedBatches
from evaluator.protocols.features import PixelLayers, Readout, cache_key, cached_features
from evaluator.protocols.images import ImageFolder
from tests.evaluator.protocols.conftest import SIZE, encoder, silent

CPU = torch.device("cpu")


class Counting:
    """Encodes a picture to its mean, and counts pictures."""

    def __init__(self, stop_after: int = 10**9) -> None:
        self.seen, self.stop_after = 0, stop_after

    def pooled_layers(self, frames_BHWC: Tensor, count: int, /) -> Tensor:
        self.seen += len(frames_BHWC)
        if self.seen > self.stop_after:
            raise KeyboardInterrupt
        return frames_BHWC.float().mean((1, 2, 3))[:, None, None].expand(-1, 2, 3)


def test_layers_are_read_behind_the_norm_and_the_last_is_the_pooled_one() -> None:
    made, frames = encoder(), torch.randint(0, 256, (5, *SIZE, 3), dtype=torch.uint8)
    with torch.no_grad():
        layers = made.pooled_layers(frames, 4)
        assert layers.shape == (5, 4, 64)
        assert torch.allclose(layers[:, -1], made.pooled(frames), atol=1e-6)
        assert torch.allclose(made.pooled_layers(frames, 2), layers[:, 2:])
        assert torch.allclose(layers.mean(2), torch.zeros(5, 4), atol=1e-5)
        assert made.pooled_layers(frames, 9).shape == (5, 4, 64)
    assert Readout.LAST.take(layers).shape == (5, 64)
    assert torch.equal(Readout.LAST4.take(layers)[:, -64:], layers[:, -1])


def test_a_killed_encoding_goes_on_where_it_was(
    digits: ImageFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "SHARD", 500)
    decode = lambda index: digits.centre(index, SIZE, 1.0)  # noqa: E731
    with pytest.raises(KeyboardInterrupt):
        cached_features(Counting(1200), digits, decode, home=tmp_path, batch=100, device=CPU, watch=silent)
    rest, done = Counting(), list[int]()
    found = cached_features(
        rest, digits, decode, home=tmp_path, batch=100, device=CPU, watch=lambda what, now, total: done.append(now)
    )
    assert rest.seen == len(digits) - 1000
    assert done == sorted(done)
    assert done[-1] == len(digits)
    expected = np.array([decode(index).mean() for index in range(len(digits))])
    assert np.allclose(found[:, 0, 0], expected, atol=1e-3)
    (tmp_path / "00000500.safetensors").write_bytes(b"damaged")
    again = Counting()
    same = cached_features(again, digits, decode, home=tmp_path, batch=100, device=CPU, watch=silent)
    assert again.seen == 500
    assert np.array_equal(found, same)


def test_the_key_knows_weights_files_and_settings(digits: ImageFolder, tmp_path: Path) -> None:
    first = cache_key("a", digits, crop=1.0)
    assert first == cache_key("a", digits, crop=1.0)
    assert len({first, cache_key("b", digits, crop=1.0), cache_key("a", digits, crop=0.9)}) == 3
    path = digits.root / digits.paths[0]
    stat = path.stat()
    try:
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1000))
        assert cache_key("a", digits, crop=1.0) != first
    finally:
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def test_crops_are_new_in_each_epoch_and_the_same_for_the_same_epoch(digits: ImageFolder) -> None:
    index_N = np.arange(0, 1797, 60)
    label_N = torch.as_tensor(digits.label[index_N])
    batches = AugmentedBatches(
        PixelLayers(),
        index_N,
        label_N,
        lambda index, rng: digits.random(index, SIZE, rng),
        steps=4,
        encoded_at_once=7,
        device=CPU,
        seed=0,
    )
    epochs = [list(batches.epoch(number)) for number in (0, 0, 1)]
    assert [len(label_B) for _, label_B in epochs[0]] == [8, 8, 7, 7]
    assert sorted(torch.cat([label_B for _, label_B in epochs[2]]).tolist()) == sorted(label_N.tolist())
    for (one, _), (other, _) in zip(epochs[0], epochs[1], strict=True):
        assert torch.equal(one, other)

    def ordered(epoch: list[tuple[Tensor, Tensor]]) -> Tensor:
        return torch.cat([x_BJD for x_BJD, _ in epoch]).sum((1, 2)).sort().values

    assert not torch.allclose(ordered(epochs[0]), ordered(epochs[2]))
