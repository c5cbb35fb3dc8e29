"""One learner: its network, how it is trained, and how its weights travel."""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from common.config import checks
from common.config.model import MaskConfig, ModelConfig
from common.config.optim import OptimConfig, PlasticityConfig
from common.config.replay import ReplayConfig
from common.config.units import Seconds


class PayloadDtype(StrEnum):
    """How floating-point parameters travel from the learner to everybody."""

    BF16 = "bf16"
    """Half the bytes; what acts is the rounded network."""
    FP32 = "fp32"
    """Every bit as the learner has it."""


class GuardMode(StrEnum):
    """What happens to weights that are not healthy."""

    OBSERVE = "observe"
    """They are published all the same and the finding is recorded: for studies. Weights that are not finite are held
    in every mode."""
    HOLD = "hold"
    """They are not published."""
    ROLLBACK = "rollback"
    """Training goes back to the last healthy weights, with a lower learning rate."""


@dataclass(frozen=True, kw_only=True)
class GuardrailConfig:
    """Gate between the learner and everybody who uses its weights.

    The limits tell collapse from a young network, which is near it. Measured on 128 frames of one or three Freedoom
    worlds, the demo's network before its first step has RankMe 8.9 to 10.7 (on 64 frames 7.1 to 8.1) and a deviation of
    0.17 to 0.30; on frames at a quarter of their brightness 2.9 (2.5) and 0.054. Driven into collapse (no regulariser,
    EMA 0, lr 1e-2) it falls to 1.5 and 0.048 within 30 steps of 32 frames. An actor that stands in the dark and sees
    four different frames gives 1.2 and 0.020: such weights are held until it moves.

    Attributes:
        mode: `observe`, `hold` or `rollback`.
        min_rankme: Fewest effective dimensions of the target encoder's pooled features; 0 for any.
        min_feature_std: Least standard deviation of its pooled features over frames, mean over dimensions; 0 for any.
        patience: Unhealthy candidates in a row before a rollback. Weights that are not finite wait for no more.
        lr_cut: Factor on the learning rate at each rollback.
        rollbacks: Most rollbacks, over restarts; at the next the run stops and says so.
        frames: Frames that health is measured on, from the last batches drawn: one pass of an encoder at each version.
    """

    GROUP: ClassVar[str] = "learner.guardrail"

    mode: GuardMode = GuardMode.HOLD
    min_rankme: float = 1.5
    min_feature_std: float = 0.01
    patience: int = 3
    lr_cut: float = 0.5
    rollbacks: int = 3
    frames: int = 64

    def __post_init__(self) -> None:
        checks.not_negative(self, "min_rankme", "min_feature_std", "rollbacks")
        checks.positive(self, "patience", "lr_cut")
        checks.between(self, 0, 1, "lr_cut")
        checks.between(self, 8, 4096, "frames")


@dataclass(frozen=True, kw_only=True)
class LearnerConfig:
    """One learner: network, optimisation, replay, and how often it publishes and saves.

    Attributes:
        compile: Let `torch.compile` fuse the transformer blocks: a minute or so at the start, for one graph of each
            kind of block; the sizes that change from batch to batch are variables in it.
        checkpoint_activations: Forget what is inside the transformer blocks and compute it again on the way back: about
            a quarter more time, a fraction of the memory.
        ranks: Processes that train this one network together, each with a GPU of its own where there are GPUs. Batch,
            replay buffer and stream are divided among them; the weights are those of one process with all of it.
        device: `auto` (a GPU where there is one), `cpu`, `cuda` or `cuda:N`; with several ranks none is numbered.
        threads: CPU threads of torch in each process of the learner.
        nice: Unix niceness of the learner's process, so that actors keep their pace on a shared machine.
        publish_every: Seconds between weights versions.
        payload_dtype: `bf16` or `fp32`: floating-point parameters as they are sent and hashed.
        versions_kept: Newest versions that the registry keeps for whoever asks, besides the newest published one, which
            it always keeps; at least 2.
        checkpoint_every: Seconds between checkpoints.
        checkpoints_kept: Newest checkpoints that stay on disk.
        slice: Longest time one `train()` runs before pause, publication and checkpoints get their turn.
    """

    GROUP: ClassVar[str] = "learner"

    model: ModelConfig = ModelConfig()
    masks: MaskConfig = MaskConfig()
    optim: OptimConfig = OptimConfig()
    plasticity: PlasticityConfig = PlasticityConfig()
    replay: ReplayConfig = ReplayConfig()
    guardrail: GuardrailConfig = GuardrailConfig()
    compile: bool = False
    checkpoint_activations: bool = False
    ranks: int = 1
    device: str = "auto"
    threads: int = 1
    nice: int = 10
    publish_every: Seconds = 5.0
    payload_dtype: PayloadDtype = PayloadDtype.BF16
    versions_kept: int = 4
    checkpoint_every: Seconds = 60.0
    checkpoints_kept: int = 3
    slice: Seconds = 1.0

    def __post_init__(self) -> None:
        checks.positive(self, "threads", "publish_every", "slice")
        checks.positive(self, "checkpoint_every")
        checks.between(self, 2, 1000, "checkpoints_kept", "versions_kept")
        checks.between(self, 0, 19, "nice")
        if not re.fullmatch(r"auto|cpu|cuda(:\d{1,3})?", self.device):
            raise checks.refuse(self, "device", "must be auto, cpu, cuda or cuda:N")
        if self.replay.min_fill < self.optim.batch_size:
            raise checks.refuse(self, "replay.min_fill", f"must be at least optim.batch_size = {self.optim.batch_size}")
        self._check_ranks()
        self._check_limiter()

    @property
    def rank_batch(self) -> int:
        """Frames of a step that each rank draws."""
        return self.optim.batch_size // self.ranks

    def _check_ranks(self) -> None:
        """Refuses what cannot be divided among the ranks."""
        checks.between(self, 1, 1024, "ranks")
        batch, accumulate = self.optim.batch_size, self.optim.accumulate
        if batch % (self.ranks * accumulate):
            raise checks.refuse(self, "ranks", f"× accumulate = {accumulate} must divide optim.batch_size = {batch}")
        if self.replay.capacity % self.ranks:
            raise checks.refuse(self, "replay.capacity", f"must be a multiple of ranks = {self.ranks}")
        if self.ranks > 1 and ":" in self.device:
            raise checks.refuse(
                self, "device", f"must be auto, cpu or cuda: each of {self.ranks} ranks has its own GPU"
            )
        self.replay.share(self.ranks)

    def _check_limiter(self) -> None:
        """As Reverb does, refuses a band of the limiter that one insert or one batch could not move in."""
        replay, batch = self.replay.share(self.ranks), self.rank_batch
        earned = replay.replay_ratio * max(1, replay.min_new)
        least = max(earned, batch) / batch - replay.slack
        if replay.max_behind and replay.max_behind < least:
            allowed = f"must be 0 or at least {least:g}: {earned:g} samples are earned at once, a batch takes {batch}"
            raise checks.refuse(self, "replay.max_behind", allowed)
