"""The command line: what each word means, and `engram run` and `engram resume` themselves."""

import logging
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import tyro

from common.config import RunConfig
from common.config.presets import PRESETS
from common.errors import CheckpointError, ConfigError, EngramError, RecordingError
from common.printable import LineFormatter, printable
from deploy import commands
from deploy.cohort.command import cohort
from deploy.cohort.plan import Enrolment
from deploy.execution import execute, of_whom, with_directory, with_server
from deploy.recordings import command as recordings
from deploy.starting import saved_run, starting_point
from deploy.version import code_version
from learner.checkpoint import Checkpoint

_USAGE = f"""\
usage: engram COMMAND [OPTIONS]

  run       train I-JEPA live on what actors see          engram run --preset demo --duration 2m
  resume    continue a run from its last checkpoint       engram resume runs/2026-11-22_10-00-00-demo
  record    a run, videos or a tour onto disk             engram record live.rec --from runs/a
  replay    train on a recording in the actors' place     engram replay live.rec --speed 4x
  recordings  list, check and trim recordings             engram recordings check live.rec
  expire    remove pictures kept for long enough          engram expire runs recordings
  explore   compare where agents get                       engram explore --duration 30m --jobs 2
  cohort    several learners on one stream                engram cohort sizes.yaml --duration 10m
  sweep     do all trials of a study, on recorded streams engram sweep model_size --dry-run
  convert   bring weights in from elsewhere, or out       engram convert runs/a encoder --from engram --to hf
  probe     grade a frozen encoder on pictures or a tour  engram probe runs/a --data pictures --protocol fast
  maps      draw what patches look like to an encoder     engram maps runs/a
  evaluate  how long it took to memorise and to forget    engram evaluate runs/a
  report    one page that shows what a run remembered     engram report runs/a
  worlds    list the worlds that actors can live in       engram worlds
  keys      make a cluster's passwords and certificates   engram keys keys --host learner.lan
  bench     measure how fast a part is on this machine    engram bench learner --preset vit_l16
  node      bring this host into a cluster                engram node --address 192.168.1.10:6379
  doctor    what this machine lacks for a run             engram doctor --preset vrchat
  status    how a run that is going on does               engram status
  stop      end a run in order, and wait for it           engram stop runs/a --wait 2m

`engram COMMAND --help` lists every option; `engram --version` tells the code. Presets: {", ".join(PRESETS)}.
Exit codes: 0 done, 1 failed while running, 2 refused before anything started.
"""

_UNIX = {
    "run",
    "resume",
    "record",
    "replay",
    "cohort",
    "sweep",
    "expire",
    "explore",
    "node",
    "doctor",
    "status",
    "stop",
}
"""Commands that need what Windows does not have."""

_RUN = """\
Train I-JEPA live on what actors see, and measure what it remembers.

Examples:
  engram run                                          ten minutes of the demo
  engram run --preset demo --duration 60 --run-dir runs/a
  engram run --preset tiny --actors.count 4 --learner.optim.lr 1e-4
  engram run --config runs/a/config.yaml --seed 1     the same again, with another seed
  ENGRAM_REDIS_URL=redis://user:password@host:6380 engram run --preset demo
  engram run --cluster auto --preset vrchat           on the head of a cluster: docs/cluster.md

Durations take units: 90s, 10m, 2h. Byte counts too: 256MiB, 2GB.
"""


@dataclass(frozen=True)
class Resume:
    """Continue a run from its last checkpoint.

    Model, optimiser, schedules, replay buffer, ledger and stream position go on; actors begin new visits.

    Example: engram resume runs/a --duration 5m
    """

    run_dir: tyro.conf.Positional[Path]
    """The run directory."""
    duration: str = ""
    """How long to go on, for example `5m`; empty takes the run's own duration."""
    redis_url: str = ""
    """Redis server, where the run used one; empty starts an embedded one (or takes ENGRAM_REDIS_URL)."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        arguments: Words after the program's name; those of this process by default.

    Returns:
        The exit code.
    """
    if logging.lastResort is not None:  # what this process logs itself, warnings alone, goes there
        logging.lastResort.setFormatter(LineFormatter())
    try:
        return _dispatch(list(sys.argv[1:] if arguments is None else arguments))
    except BrokenPipeError:  # the reader of our output, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        code, said = 130, "interrupted before the run had begun"
    except (ConfigError, CheckpointError, RecordingError) as error:
        code, said = 2, str(error)
    except (EngramError, OSError) as error:
        code, said = 1, str(error)
    print(f"engram: {printable(said)}", file=sys.stderr)
    return code


def _dispatch(words: list[str]) -> int:
    known: dict[str, Callable[[list[str]], int]] = {
        "run": _run,
        "resume": _resume,
        "record": recordings.record,
        "replay": _replay,
        "recordings": recordings.recordings,
        "expire": commands.expire,
        "explore": commands.explore,
        "cohort": cohort,
        "sweep": commands.sweep,
        "probe": commands.probe,
        "maps": commands.maps,
        "convert": commands.convert,
        "evaluate": commands.evaluate,
        "report": commands.report,
        "worlds": commands.worlds,
        "node": commands.node,
        "bench": commands.bench,
        "keys": commands.keys,
        "doctor": commands.doctor,
        "status": commands.status,
        "stop": commands.stop,
    }
    if words == ["--version"]:
        print(f"engram {code_version()}")
        return 0
    if not words or words[0] in ("-h", "--help"):
        print(_USAGE, end="")
        return 0 if words else 2
    if words[0] not in known:
        print(f"engram: unknown command {words[0]!r}: must be one of {', '.join(known)}", file=sys.stderr)
        return 2
    if sys.platform == "win32" and words[0] in _UNIX:
        print(
            f"engram: {words[0]} does not run under Windows, where actors live by `python -m actors`: docs/edge.md; "
            "a learner runs under Linux, or in WSL 2",
            file=sys.stderr,
        )
        return 2
    return known[words[0]](words[1:])


def _run(words: list[str]) -> int:
    words, default = starting_point(words)
    config = tyro.cli(
        RunConfig,
        args=words,
        default=default,
        prog="engram run",
        description=_RUN,
        config=(tyro.conf.EnumChoicesFromValues,),
    )
    return execute(with_server(with_directory(config)), resumed=False)


def _replay(words: list[str]) -> int:
    return execute(with_server(with_directory(recordings.replay(words))), resumed=False)


def _resume(words: list[str]) -> int:
    asked = tyro.cli(Resume, args=words, prog="engram resume")
    from common.config.units import parse_seconds

    config, checkpoint = saved_run(asked.run_dir)
    config = replace(config, run_dir=str(asked.run_dir), redis_url=asked.redis_url)
    if asked.duration:
        try:
            config = replace(config, duration=parse_seconds(asked.duration))
        except ValueError as error:
            raise ConfigError("duration", asked.duration, str(error)) from None
    _check_fit(config, checkpoint)
    enrolment = Enrolment.read(config)
    for member, other in enrolment.others.items() if enrolment else ():
        with of_whom(member):
            _check_fit(other, saved_run(other.path)[1])
    return execute(with_server(config), resumed=True, enrolment=enrolment)


def _check_fit(config: RunConfig, checkpoint: Checkpoint) -> None:
    """Makes sure that the checkpoint is of the network that the configuration describes."""
    from common.ijepa.model import IJepa

    checkpoint.of_rank(0, config.learner.ranks)
    model = IJepa(config.learner.model, config.world.image_size, seed=0)
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    found = {name: tuple(array.shape) for name, array in checkpoint.model.items()}
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            shapes = f"{name} is {found.get(name)} in the checkpoint"
            raise ConfigError(f"learner.model ({name})", expected.get(name), f"does not fit the run: {shapes}")
