"""The command line of cohorts; the heavy imports come after the refusals."""

from pathlib import Path

import tyro

from common.config import RunConfig
from common.errors import ConfigError
from common.options import take_option
from deploy.cohort.plan import Plan
from deploy.execution import execute, with_directory, with_server
from deploy.recordings.command import replay
from deploy.starting import starting_point

_COHORT = """\
Train several learners on one stream at the same time: the first word is a file that says who (docs/cohorts.md).

All admit the same frames, each with its own learner, evaluator and run directory: RUN_DIR/members/NAME, and RUN_DIR
itself for the member whose weights act. Flags are those of `engram run`, for all.

  --playback RECORDING   a recording in the actors' place, at --speed (1, 4x, as-fast-as-possible): `engram replay`

Examples:
  engram cohort sizes.yaml --duration 10m
  engram cohort sizes.yaml --preset tiny --run-dir runs/sizes --seed 1
  engram cohort sizes.yaml --playback live.rec --speed 4x
"""


def cohort(words: list[str]) -> int:
    """Runs `engram cohort` with the words after it; returns the exit code."""
    plan = None
    if words and not words[0].startswith("-"):
        plan, words = Plan.load(Path(words[0])), words[1:]
    words, recording = take_option(words, "--playback")
    if recording is not None and plan is not None:
        config = replay([recording, *words], start=plan.start)
    else:
        words, default = starting_point(words)
        config = tyro.cli(
            RunConfig,
            args=words,
            default=plan.start(default) if plan else default,
            prog="engram cohort FILE",
            description=_COHORT,
            config=(tyro.conf.EnumChoicesFromValues,),
        )
    if plan is None:
        raise ConfigError("file", "", "must be given first: engram cohort FILE [OPTIONS]")
    enrolment = plan.enrol(with_server(with_directory(config)))
    return execute(enrolment.run, resumed=False, enrolment=enrolment)
