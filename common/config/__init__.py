"""What a run is made of: frozen values that check themselves when they are built."""

from common.config.learner import GuardMode, GuardrailConfig, LearnerConfig, PayloadDtype
from common.config.model import MaskConfig, MaskKind, ModelConfig
from common.config.optim import EmaSchedule, OptimConfig, Optimizer, PlasticityConfig, Regulariser, Schedule
from common.config.placement import PlacementConfig
from common.config.replay import Draw, Keep, ReplayConfig
from common.config.run import (
    ActorConfig,
    Durability,
    EvaluatorConfig,
    PlaybackConfig,
    RunConfig,
    StreamConfig,
    VisitOrder,
    WorldConfig,
)
from common.config.units import ByteCount, Seconds

__all__ = [
    "ActorConfig",
    "ByteCount",
    "Draw",
    "Durability",
    "EmaSchedule",
    "EvaluatorConfig",
    "GuardMode",
    "GuardrailConfig",
    "Keep",
    "LearnerConfig",
    "MaskConfig",
    "MaskKind",
    "ModelConfig",
    "OptimConfig",
    "Optimizer",
    "PayloadDtype",
    "PlacementConfig",
    "PlasticityConfig",
    "PlaybackConfig",
    "Regulariser",
    "ReplayConfig",
    "RunConfig",
    "Schedule",
    "Seconds",
    "StreamConfig",
    "VisitOrder",
    "WorldConfig",
]
