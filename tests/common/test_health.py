"""Health measures against cases whose answer is known by hand or by construction."""

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from common.config import ModelConfig
from common.health.network import Watch, target_distance, weight_magnitude
from common.health.spectrum import alpha_req, covariance_spectrum, effective_rank, lidar, rankme
from common.health.views import augment
from common.ijepa.model import IJepa

TINY = ModelConfig(patch_size=4, dim=24, depth=2, heads=2, predictor_dim=12, predictor_depth=1, predictor_heads=2)


@pytest.mark.parametrize(("frames", "dim"), [(64, 16), (16, 64)])
def test_rankme_of_equal_directions_is_their_number(frames: int, dim: int) -> None:
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(64, 16)))[0]
    features = basis if (frames, dim) == (64, 16) else basis.T
    assert rankme(features) == pytest.approx(16, rel=1e-3)


def test_rankme_by_hand() -> None:
    # σ = (3, 1): p = (¾, ¼), entropy 0.5623 nats.
    assert rankme(np.diag([3.0, 1.0])) == pytest.approx(np.exp(-0.75 * np.log(0.75) - 0.25 * np.log(0.25)), rel=1e-5)


def test_rankme_equals_the_formula_on_singular_values() -> None:
    features = np.random.default_rng(3).normal(size=(100, 24)) * np.logspace(0, -3, 24)
    singular = np.linalg.svd(features, compute_uv=False)
    share = singular / singular.sum() + 1e-7
    assert rankme(features) == pytest.approx(np.exp(-(share * np.log(share)).sum()), rel=1e-6)


def orthonormal(frames: int, dim: int, *, centred: bool) -> NDArray[np.float64]:
    """Columns of length 1, at right angles to each other and, if asked for, of mean 0."""
    drawn = np.random.default_rng(0).normal(size=(frames, dim + 1))
    drawn[:, 0] = 1.0
    basis = np.linalg.qr(drawn)[0]
    return basis[:, 1:] if centred else basis[:, :dim]


def isotropic(frames: int, dim: int) -> NDArray[np.float64]:
    return np.random.default_rng(1).normal(size=(frames, dim))


class TestSpectrum:
    def test_an_isotropic_gaussian_fills_all_dimensions(self) -> None:
        features = isotropic(20_000, 32)
        assert rankme(features) == pytest.approx(32, rel=1e-3)
        assert effective_rank(features) == pytest.approx(32, rel=1e-3)
        assert alpha_req(features) == pytest.approx(0, abs=0.05)

    def test_a_common_mean_hides_from_rankme_what_the_effective_rank_sees(self) -> None:
        features = orthonormal(100, 8, centred=True)
        assert effective_rank(features) == pytest.approx(8)
        assert effective_rank(features + 100) == pytest.approx(8)
        assert rankme(features + 100) < 1.1

    @pytest.mark.parametrize("value", [0.0, 0.37, -12.5])
    def test_a_collapse_has_no_rank(self, value: float) -> None:
        features = np.full((50, 16), value)
        assert rankme(features) == pytest.approx(1, rel=1e-3)
        assert effective_rank(features) == 0
        assert math.isnan(alpha_req(features))

    def test_one_direction_is_one(self) -> None:
        assert effective_rank(np.outer(np.arange(40.0), np.ones(8))) == pytest.approx(1)

    @pytest.mark.parametrize("alpha", [0.5, 1.0, 2.5])
    @pytest.mark.parametrize(("frames", "dim"), [(300, 64), (65, 200)])
    def test_a_planted_power_law_is_found(self, alpha: float, frames: int, dim: int) -> None:
        count = min(frames - 1, dim)
        scale = np.arange(1, count + 1) ** (-alpha / 2)
        rotation = np.linalg.qr(np.random.default_rng(2).normal(size=(dim, dim)))[0][:count]
        features = (orthonormal(frames, count, centred=True) * scale) @ rotation + 3.0
        spectrum = covariance_spectrum(features)
        assert spectrum * (frames - 1) == pytest.approx(np.arange(1, count + 1) ** -alpha, rel=1e-6)
        assert alpha_req(features) == pytest.approx(alpha, rel=1e-4)

    def test_the_exponent_does_not_depend_on_the_features_scale(self) -> None:
        features = isotropic(100, 40) * np.arange(1, 41) ** -0.7
        assert alpha_req(1000 * features) == pytest.approx(alpha_req(features), rel=1e-6)


class TestLidar:
    def views(
        self, frames: NDArray[np.float64], spread: NDArray[np.float64] | float, count: int = 200
    ) -> NDArray[np.float64]:
        """Frames with independent normal deviations for each view, `spread` a dimension."""
        noise = np.random.default_rng(3).normal(size=(len(frames), count, frames.shape[1]))
        return frames[:, None] + noise * spread

    def test_equal_views_leave_the_effective_rank_of_the_frames_squared(self) -> None:
        """Without scatter within frames LDA is a plain covariance: p_k in proportion to σ_k²."""
        frames = orthonormal(30, 6, centred=True) * np.array([4.0, 2, 1, 1, 1, 1])
        share = np.array([16.0, 4, 1, 1, 1, 1]) / 24
        views = np.repeat(frames[:, None], 5, axis=1)
        assert lidar(views) == pytest.approx(np.exp(-(share * np.log(share)).sum()), rel=1e-9)

    def test_frames_that_do_not_differ_have_none(self) -> None:
        assert lidar(np.ones((10, 4, 6))) == 0

    def test_by_hand_in_two_dimensions(self) -> None:
        """Between-scatter (4, 1), within-scatter (4, 1/4): λ = (1, 4), p = (1/5, 4/5)."""
        centres = np.array([[2.0, 1], [2, -1], [-2, 1], [-2, -1]])
        steps = np.array([[2.0, 0.5], [2, -0.5], [-2, 0.5], [-2, -0.5]])
        expected = np.exp(-0.2 * np.log(0.2) - 0.8 * np.log(0.8))
        assert lidar(centres[:, None] + steps[None]) == pytest.approx(expected, rel=1e-3)

    def test_directions_of_chance_count_for_nothing(self) -> None:
        """Half of the dimensions tell frames apart, the other half only views: RankMe counts both."""
        frames = isotropic(400, 16) * np.repeat([1.0, 0.0], 8)
        views = self.views(frames, np.repeat([0.05, 1.0], 8))
        assert 7.5 < lidar(views) < 9
        assert rankme(views[:, 0]) > 15

    def test_it_does_not_depend_on_the_scale_of_the_features(self) -> None:
        views = self.views(isotropic(60, 12), 0.3, count=6)
        assert lidar(1e3 * views) == pytest.approx(lidar(views), rel=1e-9)


class TestViews:
    def test_views_are_frames_seen_a_little_otherwise(self) -> None:
        frames = np.random.default_rng(0).integers(60, 200, (3, 8, 12, 3), dtype=np.uint8)
        views = augment(frames.repeat(4, 1).repeat(4, 2), 5, seed=1)
        assert views.shape == (3, 5, 32, 48, 3)
        assert np.array_equal(views, augment(frames.repeat(4, 1).repeat(4, 2), 5, seed=1))
        assert len({view.tobytes() for view in views.reshape(15, -1)}) == 15
        ratio = views.mean((2, 3, 4)) / frames.mean((1, 2, 3))[:, None]
        assert (abs(ratio - 1) < 0.35).all()

    def test_a_crop_keeps_what_is_left_on_the_left(self) -> None:
        ramp = np.broadcast_to(np.arange(64, dtype=np.uint8)[None, None, :, None], (1, 64, 64, 3))
        for view in augment(ramp, 20, seed=0)[0]:
            assert (np.diff(view[0, :, 0].astype(int)) >= 0).all()


class TestNetwork:
    def frames(self) -> torch.Tensor:
        return torch.randint(0, 256, (6, 24, 24, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))

    def test_features_before_the_norm_become_those_behind_it(self) -> None:
        encoder, frames = IJepa(TINY, (24, 24), seed=0).target_encoder, self.frames()
        with torch.no_grad(), Watch(encoder) as watch:
            after = encoder.pooled(frames[:4]), encoder.pooled(frames[4:])
            tokens_BLD = encoder.patch_embed(torch.addcmul(encoder.offset_P, encoder.patchify(frames), encoder.gain_P))
            tokens_BLD = tokens_BLD + encoder.positions_ND
            for block in encoder.blocks:
                tokens_BLD = block(tokens_BLD)
        assert np.allclose(watch.before_ND(), tokens_BLD.mean(1).numpy(), atol=1e-6)
        with torch.no_grad():
            assert torch.equal(torch.cat(after), torch.cat([encoder.pooled(frames[:4]), encoder.pooled(frames[4:])]))
        assert len(watch.before_ND()) == 6, "it listens no more"

    def test_units_whose_input_stays_far_below_zero_are_dormant(self) -> None:
        encoder = IJepa(TINY, (24, 24), seed=0).target_encoder
        with torch.no_grad():
            encoder.blocks[0].get_submodule("mlp.fc1").get_parameter("bias")[:24] = -20.0
            with Watch(encoder) as watch:
                encoder.pooled(self.frames())
        assert watch.dormant_units() == pytest.approx(24 / 96 / 2)
        assert watch.dormant_units(threshold=1e9) == 1

    def test_weights_and_distance_by_hand(self) -> None:
        model = IJepa(TINY, (24, 24), seed=0)
        assert target_distance(model) == 0
        with torch.no_grad():
            for parameter in model.context_encoder.parameters():
                parameter.fill_(-2.0)
            for parameter in model.target_encoder.parameters():
                parameter.fill_(-1.5)
        assert weight_magnitude(model.context_encoder) == pytest.approx(2.0)
        assert target_distance(model) == pytest.approx(0.25)
