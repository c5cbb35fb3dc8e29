"""The curious agent's models as pamiq-core has them: made alike where they are trained and where they act.

Shape suffixes: K imaginations, D features, A heads, L layers, C width.
"""

from typing import NamedTuple

import torch
from pamiq_core.torch import TorchTrainingModel
from torch import Tensor

from common.config.curiosity import CuriosityConfig, Reward
from common.curiosity.dynamics import Foreseen, ForwardDynamics
from common.curiosity.policy import PolicyValue

DYNAMICS, PAST, POLICY = "dynamics", "past_dynamics", "policy"
"""Names of the models; the second is a moving average of the first, where learning progress is sought."""
MODELS = (DYNAMICS, PAST, POLICY)


class Imagined(NamedTuple):
    """What a step does to the imaginations.

    Attributes:
        foreseen: Distributions of what comes next, by how many steps ago something was seen, [K, D].
        hidden_KLC: Hidden states with which to go on.
    """

    foreseen: Foreseen
    hidden_KLC: Tensor


def standardise(model: ForwardDynamics, features_D: Tensor) -> Tensor:
    """Features as the forward dynamics takes them, on the CPU."""
    return model.norm(features_D.to(model.norm.mean.device)).cpu()


def imagine(model: ForwardDynamics, seen_KD: Tensor, choices_A: Tensor, hidden_KLC: Tensor) -> Imagined:
    """Takes one step of the world, and of each imagination: everywhere the same is done. On the CPU."""
    device = model.norm.mean.device
    choices_K1A = choices_A.to(device).expand(len(seen_KD), 1, -1)
    foreseen, hidden_K1LC = model(seen_KD.unsqueeze(1).to(device), choices_K1A, hidden_KLC.to(device))
    return Imagined(Foreseen(*(one.squeeze(1).cpu() for one in foreseen)), hidden_K1LC.squeeze(1).cpu())


def training_models(
    config: CuriosityConfig, features: int, *, seed: int, device: str = "cpu"
) -> dict[str, TorchTrainingModel[ForwardDynamics] | TorchTrainingModel[PolicyValue]]:
    """Makes all models.

    Args:
        config: Sizes.
        features: Numbers of a feature vector.
        seed: Of the initial parameters.
        device: Where they are.
    """
    with torch.random.fork_rng([]):  # pyright: ignore[reportUnknownMemberType]
        torch.default_generator.manual_seed(seed)
        dynamics = ForwardDynamics(config.dynamics, features)
        policy = PolicyValue(config.policy, features, config.dynamics.dim)
    models = {DYNAMICS: TorchTrainingModel(dynamics, device=device), POLICY: TorchTrainingModel(policy, device=device)}
    if config.reward is Reward.PROGRESS:
        past = ForwardDynamics(config.dynamics, features).requires_grad_(False)
        past.load_state_dict(dynamics.state_dict())
        models[PAST] = TorchTrainingModel(past, device=device)
    return models
