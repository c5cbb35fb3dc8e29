"""What is measured, and what comes out."""

from dataclasses import dataclass
from typing import Any, ClassVar

from common.config import checks
from common.config.model import MaskConfig, ModelConfig
from common.config.optim import Regulariser
from common.config.presets import preset
from learner.bench.phases import Phase


@dataclass(frozen=True, kw_only=True)
class LearnerBench:
    """What is measured, and how.

    Attributes:
        model: Sizes of the networks.
        image_size: Height and width of a frame, pixels.
        masks: Block masks; drawn before the clock runs, the same for all.
        batch: Frames a step.
        accumulate: Parts that a batch is cut into.
        regulariser: Term added to the loss; the published code has none.
        compile: Let `torch.compile` fuse the blocks.
        checkpoint_activations: Compute activations again on the way back.
        device: `auto` (a GPU where there is one), `cpu`, `cuda` or `cuda:N`.
        threads: CPU threads of torch.
        rounds: Turns of each; medians over them are shown.
        steps: Steps of a turn, each with other masks.
        official: Folder of a checkout of github.com/facebookresearch/ijepa to compare with; empty for none.
    """

    GROUP: ClassVar[str] = ""

    model: ModelConfig = ModelConfig()
    image_size: tuple[int, int] = (96, 96)
    masks: MaskConfig = MaskConfig()
    batch: int = 32
    accumulate: int = 1
    regulariser: Regulariser = Regulariser.NONE
    compile: bool = False
    checkpoint_activations: bool = False
    device: str = "auto"
    threads: int = 1
    rounds: int = 5
    steps: int = 3
    official: str = ""

    def __post_init__(self) -> None:
        checks.positive(self, "batch", "threads", "rounds", "steps")


def of_preset(name: str, **changes: Any) -> LearnerBench:
    """The networks, frames, masks and batch of a preset, changed as said.

    Raises:
        ConfigError: There is no such preset, or a change is not allowed.
    """
    run = preset(name)
    known: dict[str, Any] = {
        "model": run.learner.model,
        "image_size": run.world.image_size,
        "masks": run.learner.masks,
        "batch": run.learner.optim.batch_size,
    }
    return LearnerBench(**(known | changes))


@dataclass(frozen=True, kw_only=True)
class Line:
    """One implementation.

    Attributes:
        name: Which.
        images_per_second: Median over the rounds.
        cpu_seconds: Of the processor, a step.
        share: Model operations a second over the rate of matrix products.
        memory: Bytes.
        ratios: Its seconds a step over ours, round by round: least, median, largest.
        cpu_ratio: The same of the processor's seconds, median.
    """

    name: str
    images_per_second: float
    cpu_seconds: float
    share: float
    memory: int
    ratios: tuple[float, float, float]
    cpu_ratio: float


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What was measured.

    Attributes:
        bench: What was asked for.
        device: Where, in words.
        what_memory: What the lines' memory is.
        lines: Ours, and the published code's where it was asked for.
        gemm: Measured rate of matrix products, operations a second.
        gemm_name: Of which.
        phases: Seconds of each phase of a step of ours.
        flops: Model operations of a step, mean over the masks.
    """

    bench: LearnerBench
    device: str
    what_memory: str
    lines: list[Line]
    gemm: float
    gemm_name: str
    phases: dict[Phase, float]
    flops: float
