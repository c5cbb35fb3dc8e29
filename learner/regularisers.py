"""Terms that are added to the I-JEPA loss, against collapse or against forgetting.

Each is a module: called with the pooled context features and the frames, it returns a scalar. What it learns or
remembers is in its state and travels with the checkpoints.

Shape suffixes: B pictures, H and W pixels, C colours, D width, M random directions, T points of the integral.
"""

from collections.abc import Callable
from copy import deepcopy
from typing import Any, override

import torch
from numpy.random import SeedSequence
from torch import Tensor, nn
from torch.nn import functional

from common.config.optim import OptimConfig, Regulariser
from common.ijepa.model import IJepa, mixed_precision, move_average
from learner.ranks import Ranks


class RegulariserTerm(nn.Module):
    """No term at all, and what every other one overrides."""

    @override
    def forward(self, pooled_BD: Tensor, frames_BHWC: Tensor) -> Tensor:
        """Computes the term.

        Args:
            pooled_BD: Mean context feature of each picture, float32.
            frames_BHWC: The pictures, uint8.

        Returns:
            A scalar, weights included.
        """
        return pooled_BD.new_zeros(())

    def follow(self, model: IJepa, accept: Tensor) -> None:
        """Called after each optimiser step; `accept` is a bool scalar on the device, false where it was undone."""


class VicReg(RegulariserTerm):
    """Variance and covariance terms of VICReg (Bardes et al. 2022, arXiv:2105.04906, section 4.1).

        std_weight · mean_d max(0, std_target − √(Var_d + 1e-4))  +  cov_weight · Σ_{d≠e} Cov_de² / D

    Cost: B D² multiply-adds, and D² numbers; the demo's step takes 1.01 times as long, which is within the noise.

    Args:
        config: The two weights and the target.
        ranks: Processes that train together; the statistics are those of all their pictures.
    """

    def __init__(self, config: OptimConfig, ranks: Ranks) -> None:
        super().__init__()
        self._ranks = ranks
        self._std_weight = config.std_weight
        self._std_target = config.std_target
        self._cov_weight = config.cov_weight

    @override
    def forward(self, pooled_BD: Tensor, frames_BHWC: Tensor) -> Tensor:
        pooled_BD = self._ranks.gather(pooled_BD)
        batch, dim = pooled_BD.shape
        centred_BD = pooled_BD - pooled_BD.mean(0)
        covariance_DD = centred_BD.T @ centred_BD / (batch - 1)
        variance_D = covariance_DD.diagonal()
        hinge = functional.relu(self._std_target - (variance_D + 1e-4).sqrt()).mean()
        off_diagonal = (covariance_DD - variance_D.diag()).square().sum() / dim
        return self._std_weight * hinge + self._cov_weight * off_diagonal


class SigReg(RegulariserTerm):
    """Makes features an isotropic normal (Balestriero & LeCun 2025, LeJEPA, arXiv:2511.08544, section 4).

        weight · mean over directions a of  B ∫₋₃³ |φ_a(t) − e^(−t²/2)|² e^(−t²/2) dt,   φ_a(t) = mean_b e^(i t a·x_b)

    The Epps–Pulley statistic of each projection on a fresh random unit vector, by the trapezoidal rule on 17 points of
    the half that symmetry leaves. Normal features give about 1.06 · weight whatever B is, features that collapsed to 0
    about 0.41 B · weight. Cost: B M D multiply-adds, and 34 B M sines and cosines in memory until the way back; the
    demo's step takes 1.01 times as long, which is within the noise.

    Args:
        config: Weight and number of directions.
        dim: Width of the features.
        seed: Of the directions; their count is in the state, so that a resumed run draws the same.
        ranks: Processes that train together; the statistics are those of all their pictures.
    """

    drawn: Tensor
    points_T: Tensor
    normal_T: Tensor
    weights_T: Tensor

    def __init__(self, config: OptimConfig, dim: int, seed: int, ranks: Ranks) -> None:
        super().__init__()
        self._ranks = ranks
        self._weight = config.sigreg_weight
        self._shape = (dim, config.sigreg_slices)
        self._seed = seed
        points_T = torch.linspace(0, 3, 17)
        trapezoid_T = torch.full((17,), 2 * 3 / 16)
        trapezoid_T[[0, -1]] /= 2
        normal_T = torch.exp(-points_T.square() / 2)
        self.register_buffer("drawn", torch.zeros((), dtype=torch.int64))
        self.register_buffer("points_T", points_T, persistent=False)
        self.register_buffer("normal_T", normal_T, persistent=False)
        self.register_buffer("weights_T", trapezoid_T * normal_T, persistent=False)
        self._draws = 0

    @override
    def forward(self, pooled_BD: Tensor, frames_BHWC: Tensor) -> Tensor:
        pooled_BD = self._ranks.gather(pooled_BD)
        directions_DM = self._directions(pooled_BD.device)
        projected_BM = pooled_BD @ functional.normalize(directions_DM, dim=0)
        angles_BMT = projected_BM[:, :, None] * self.points_T
        gap_MT = (angles_BMT.cos().mean(0) - self.normal_T).square() + angles_BMT.sin().mean(0).square()
        return self._weight * len(pooled_BD) * (gap_MT @ self.weights_T).mean()

    def _directions(self, device: torch.device) -> Tensor:
        """Draws directions_DM on the host: the same on every device and rank, and the same again after a resume."""
        seed = int(SeedSequence((self._seed, self._draws)).generate_state(1)[0])
        self._draws += 1
        self.drawn += 1
        directions_DM = torch.randn(self._shape, generator=torch.Generator().manual_seed(seed))
        return directions_DM.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else directions_DM

    @override
    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        loaded = super().load_state_dict(*args, **kwargs)
        self._draws = int(self.drawn)
        return loaded


class SlowTeacher(RegulariserTerm):
    """Keeps what was learned: features must tell, through a small network, what a slow copy of the encoder sees.

        weight · mean_b (1 − cos(g(pooled_b), teacher(frame_b))),   teacher ← m · teacher + (1 − m) · context encoder

    Alignment with the past through a predictor, so that features may change as long as the old can be computed from
    them (CaSSLe, Fini et al. 2022, arXiv:2112.04215); the teacher is an average instead of the last task's network,
    since a live stream has no tasks. Cost: one more forward pass of the encoder over all patches, with which the
    demo's step takes 1.42 times as long, and one more copy of its parameters.

    Args:
        config: Weight and momentum.
        model: The networks; the teacher starts as their context encoder.
        seed: Of the small network.
    """

    def __init__(self, config: OptimConfig, model: IJepa, seed: int) -> None:
        super().__init__()
        self._weight = config.teacher_weight
        self._momentum = config.teacher_ema
        self.teacher = deepcopy(model.context_encoder).requires_grad_(False)
        dim = self.teacher.norm.normalized_shape[0]
        with torch.random.fork_rng([]):  # pyright: ignore[reportUnknownMemberType]
            torch.default_generator.manual_seed(seed)
            self.predictor = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))

    @override
    def forward(self, pooled_BD: Tensor, frames_BHWC: Tensor) -> Tensor:
        with torch.no_grad(), mixed_precision(frames_BHWC.device):
            known_BD = self.teacher.pooled(frames_BHWC).float()
        gap_B = 1 - functional.cosine_similarity(self.predictor(pooled_BD).float(), known_BD)
        return self._weight * gap_B.mean()

    @override
    def follow(self, model: IJepa, accept: Tensor) -> None:
        move_average(self.teacher, model.context_encoder, self._momentum, accept)


REGULARISERS: dict[Regulariser, Callable[[OptimConfig, IJepa, int, Ranks], RegulariserTerm]] = {
    Regulariser.NONE: lambda config, model, seed, ranks: RegulariserTerm(),
    Regulariser.VICREG: lambda config, model, seed, ranks: VicReg(config, ranks),
    Regulariser.SIGREG: lambda config, model, seed, ranks: SigReg(config, model.width, seed, ranks),
    Regulariser.TEACHER: lambda config, model, seed, ranks: SlowTeacher(config, model, seed),
}
"""How each term is made, by the name that the configuration gives it: from its weights, the networks, a seed, and the
processes that train together."""
