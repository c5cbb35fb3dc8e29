"""What a run is made of: frozen values that check themselves when they are built."""

from common.config.model import (
    LearnerConfig,
    MaskConfig,
    ModelConfig,
    OptimConfig,
    PayloadDtype,
    Regulariser,
    ReplayConfig,
)
from common.config.run import ActorConfig, Durability, EvaluatorConfig, RunConfig, StreamConfig, VisitOrder, WorldConfig
from common.config.units import ByteCount, Seconds

__all__ = [
    "ActorConfig",
    "ByteCount",
    "Durability",
    "EvaluatorConfig",
    "LearnerConfig",
    "MaskConfig",
    "ModelConfig",
    "OptimConfig",
    "PayloadDtype",
    "Regulariser",
    "ReplayConfig",
    "RunConfig",
    "Seconds",
    "StreamConfig",
    "VisitOrder",
    "WorldConfig",
]
