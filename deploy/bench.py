"""`engram bench learner`: the training step's speed on this machine, as tables."""

from collections.abc import Sequence

import tyro

from learner.bench import LearnerBench, of_preset, report
from learner.bench import bench as measure

_USAGE = """\
usage: engram bench learner [--preset NAME] [OPTIONS]

Measure how fast a part is on this machine. `engram bench learner --help` lists every option.
"""

_LEARNER = """\
Measure the training step: images a second, share of the measured rate of matrix products, memory, time of each phase.

--preset takes networks, frame size, masks and batch from there (default: demo). No regulariser unless asked for.

Examples:
  engram bench learner                                    the demo's network, one thread
  engram bench learner --preset vit_b16 --batch 128       on the GPU, where there is one
  engram bench learner --preset vit_l16 --official ~/ijepa    beside the published code (facebookresearch/ijepa)
  engram bench learner --image-size 96 96 --model.patch-size 8 --model.depth 12 --model.predictor-depth 6 --threads 2
"""


def bench(words: Sequence[str], preset: str) -> int:
    """Runs `engram bench`.

    Args:
        words: The command's words after `bench`, without `--preset`.
        preset: Name of the preset whose sizes are the defaults.

    Returns:
        The exit code.

    Raises:
        ConfigError: Something does not fit.
    """
    if list(words[:1]) != ["learner"]:
        print(_USAGE, end="")
        return 0 if words[:1] in (["-h"], ["--help"]) else 2
    case = tyro.cli(
        LearnerBench,
        args=list(words[1:]),
        default=of_preset(preset),
        prog="engram bench learner",
        description=_LEARNER,
        config=(tyro.conf.EnumChoicesFromValues,),
    )
    print(report(measure(case)), end="")
    return 0
