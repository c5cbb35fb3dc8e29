"""`python -m actors`: an actor on a host that is no Ray node, such as the PC that VRChat runs on."""

import logging
import re
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import redis
import tyro

from actors.belongings import state_folder
from common.config import RunConfig
from common.config.run import WorldConfig
from common.config.units import ByteCount, Seconds
from common.errors import ConfigError, EngramError
from common.options import URL_VARIABLE, secret, take_option
from common.printable import printable
from common.signing import adopt, given_key
from common.status import ActorStatus
from common.stream import StreamKeys, check_login, connect, redact
from common.stream.connection import is_plain
from common.stream.control import read_run, runs_on

_DESCRIPTION = """\
See and act on this computer for a run that learns on another.

The run must expect it: `engram run … --actors.edge 1 --redis-url rediss://…`. Its configuration, its pauses and its
weights come through its Redis server; frames go there. Options begin with the run's own values; change those of the
world that differ here.

Examples:
  python -m actors --redis-url rediss://engram:password@learner.lan:6380
  ENGRAM_REDIS_URL=rediss://… python -m actors --world.vrchat.picture window
  python -m actors --redis-url redis://127.0.0.1:6380 --number 1 --spool 5m
"""
_STREAM = re.compile(r"[\w.-]+")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Edge:
    """Options.

    Attributes:
        redis_url: `rediss://…` of the run's server; better in the variable ENGRAM_REDIS_URL, where nobody sees it.
        stream: Id of the run's stream; needed only where the server has several.
        number: Which of the run's edge actors this is, from 0; empty for one that is free.
        folder: Where the actor keeps its journal, so that it goes on counting after a restart.
        plain: Allow `redis://` beyond loopback, without encryption: only inside a VPN.
        alone: Seconds without an answer of the server after which the actor stands still.
        agent: Who decides.
        threads: CPU threads of torch.
        spool: Seconds of frames kept in memory while the server is away.
        spool_bytes: Bytes of frames kept; whichever bound is reached first counts.
        world: Where it lives.
    """

    redis_url: str = ""
    stream: str = ""
    number: str = ""
    folder: str = ""
    plain: bool = False
    alone: Seconds = 600.0
    agent: str = "walker"
    threads: int = 1
    spool: Seconds = 30.0
    spool_bytes: ByteCount = 512 * 2**20
    world: WorldConfig = WorldConfig()  # noqa: RUF009


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _live(words)
    except ConfigError as error:
        code, said = 2, str(error)
    except (EngramError, redis.RedisError, OSError) as error:
        code, said = 1, str(error)
    print(f"actors: {printable(said)}", file=sys.stderr)
    return code


def _live(words: list[str]) -> int:
    if "-h" in words or "--help" in words:
        _parse(words, Edge())
        return 0
    url = take_option(words, "--redis-url")[1] or secret(URL_VARIABLE)
    _check_url(url, plain="--plain" in words)
    check_login(url)
    adopt(given_key())
    with connect(url) as client:
        stream = _choose(runs_on(client), take_option(words, "--stream")[1] or "")
        run = read_run(client, StreamKeys(stream))
        asked = _parse(words, _as_run(run))
        run = _merged(run, asked, url)
        from actors.worlds import check_worlds

        check_worlds(run.world)
        from actors.edge import EdgeActor
        from actors.lease import take_number
        from common.process import settle

        folder = Path(asked.folder) if asked.folder else state_folder() / stream
        lease = take_number(client, StreamKeys(stream), run, folder=folder, number=_number(asked.number))
        settle(part=f"actor-{lease.index}", threads=run.actors.threads)
        _log.info("actor-%d of %s, journal in %s", lease.index, stream, folder)
        actor = EdgeActor(run, stream=stream, lease=lease, folder=folder, alone=asked.alone, told=_Screen())

        def stop(_number: int, _frame: object) -> None:
            actor.stop()

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, stop)
        last = actor.live()
    counts = last.counts
    lost = {cause: count for cause, count in counts.dropped.items() if count}
    print(f"actor-{lease.index}: captured {counts.captured} = written {counts.written} + dropped {lost or 0}")
    return 0


def _check_url(url: str, *, plain: bool) -> None:
    if not url.startswith(("redis://", "rediss://", "unix://")):
        raise ConfigError("redis_url", redact(url) if url else "", "must be rediss://…, the run's own server")
    if is_plain(url) and not plain:
        raise ConfigError(
            "redis_url",
            redact(url),
            "would show password and pictures to the network: use rediss://, an SSH tunnel, or --plain inside a VPN",
        )


def _choose(streams: list[str], wanted: str) -> str:
    if wanted and wanted not in streams:
        raise ConfigError("stream", wanted, f"must be one of {', '.join(streams) or 'none: no run takes edge actors'}")
    if not wanted and len(streams) != 1:
        what = "must be given: there are " + ", ".join(streams) if streams else "cannot be found: start the run first"
        raise ConfigError("stream", "", what)
    stream = wanted or streams[0]
    if not _STREAM.fullmatch(stream) or stream in (".", ".."):
        raise ConfigError("stream", stream, "cannot name a folder: letters, digits, dots and dashes are allowed")
    return stream


def _as_run(run: RunConfig) -> Edge:
    """The run's own values."""
    actors = run.actors
    return Edge(
        agent=actors.agent,
        threads=actors.threads,
        spool=actors.spool,
        spool_bytes=actors.spool_bytes,
        world=run.world,
    )


def _parse(words: Sequence[str], default: Edge) -> Edge:
    return tyro.cli(
        Edge,
        args=words,
        default=default,
        prog="python -m actors",
        description=_DESCRIPTION,
        config=(tyro.conf.EnumChoicesFromValues,),
    )


def _merged(run: RunConfig, asked: Edge, url: str) -> RunConfig:
    if asked.world.image_size != run.world.image_size:
        raise ConfigError("world.image_size", asked.world.image_size, f"must be the run's, {run.world.image_size}")
    if asked.agent == "curious" and not run.curious:
        raise ConfigError(
            "agent", asked.agent, f"must be another: nobody trains it in a run of agent {run.actors.agent}"
        )
    actors = replace(
        run.actors, agent=asked.agent, threads=asked.threads, spool=asked.spool, spool_bytes=asked.spool_bytes
    )
    return replace(run, redis_url=url, world=asked.world, actors=actors)


def _number(text: str) -> int | None:
    if not text:
        return None
    if not text.isdecimal():
        raise ConfigError("number", text, "must be a number from 0")
    return int(text)


class _Screen:
    """Shows one line that is written over each second, or a line every ten seconds where there is no terminal."""

    def __init__(self) -> None:
        self._shown = 0

    def __call__(self, status: ActorStatus) -> None:
        """Shows how the actor does."""
        counts = status.counts
        said = "stands still" if status.paused else status.unfit_now or "lives"
        line = (
            f"{status.name}  {said}  {status.world or '–'}  {status.fps:.1f} FPS  captured {counts.captured}  "
            f"waiting {counts.spooled}  lost {counts.lost}  weights v{status.weights_version}"
        )
        if sys.stdout.isatty():
            print(f"\r\x1b[K{line}", end="", flush=True)
        elif self._shown % 10 == 0:
            print(line, flush=True)
        self._shown += 1


if __name__ == "__main__":
    sys.exit(main())
