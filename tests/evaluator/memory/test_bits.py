from math import log

import numpy as np
import pytest

from evaluator.memory.bits import BLUNTEST, SHARPEST, fit_beta, memory_bits


def cosines(own: float, *others: float, frames: int = 3, asked: int = 4) -> np.ndarray:
    return np.broadcast_to(np.array([own, *others], np.float32), (frames, asked, 1 + len(others)))


def test_by_hand() -> None:
    """β = 2, own 0.5, three negatives that stand for 85 each: e¹ ÷ (e¹ + 85 (e⁰ + e^0.4 + e^−1))."""
    found = memory_bits(cosines(0.5, 0.0, 0.2, -0.5), 2.0)
    share = np.exp(1) / (np.exp(1) + 85 * (1 + np.exp(0.4) + np.exp(-1)))
    assert found == pytest.approx(np.log2(256 * share))


@pytest.mark.parametrize("negatives", [64, 100, 255])
def test_the_scale_is_that_of_256_candidates_whatever_the_number(negatives: int) -> None:
    nothing = cosines(0.3, *[0.3] * negatives)
    assert memory_bits(nothing, 20.0) == pytest.approx(0.0, abs=1e-12)
    everything = cosines(1.0, *[-1.0] * negatives)
    assert memory_bits(everything, 50.0) == pytest.approx(8.0)
    assert (memory_bits(cosines(-1.0, *[1.0] * negatives), 50.0) < -100).all()


def test_fewer_negatives_read_little_higher() -> None:
    rng = np.random.default_rng(0)
    many = rng.normal(0, 0.1, (200, 12, 256)).astype(np.float32)
    many[..., 0] += 0.3
    whole, few = memory_bits(many, 8.0).mean(), memory_bits(many[..., :97], 8.0).mean()
    relative_variance = np.expm1((8 * 0.1) ** 2)
    assert 0 < few - whole < relative_variance / 2 * (1 / 96 - 1 / 255) / log(2) * 1.5


def test_beta_is_the_one_that_tells_most() -> None:
    rng = np.random.default_rng(1)
    made = rng.normal(0, 0.15, (40, 12, 256)).astype(np.float32)
    made[..., 0] += 0.4
    beta = fit_beta([made[:10], made[10:]])
    best = memory_bits(made, beta).mean()
    assert best > 0.5
    assert all(memory_bits(made, other).mean() < best for other in (beta * 0.9, beta * 1.1))


def test_beta_stays_in_its_range() -> None:
    rng = np.random.default_rng(2)
    noise = rng.normal(0, 0.1, (40, 12, 256)).astype(np.float32)
    misled = noise - np.eye(1, 256, dtype=np.float32)
    assert fit_beta([misled]) == pytest.approx(BLUNTEST, rel=0.02)
    assert fit_beta([cosines(1.0, *[0.9] * 255)]) == pytest.approx(SHARPEST, rel=0.05)


def test_frames_keep_their_order() -> None:
    made = np.stack([cosines(own, 0.0, 0.0, frames=1)[0] for own in (0.1, 0.9, 0.5)])
    assert np.argsort(memory_bits(made, 3.0)).tolist() == [0, 2, 1]
