"""`engram status` and `engram stop`: a run that is going on, seen and ended from another terminal of its host.

RUN_DIR/stream.json ─► GET …/status ─► a short table · POST …/api/shutdown ─► wait until it is gone

Both find the run by the file that its driver writes for its owner; neither needs Ray or Redis.
"""

import json
import os
import signal
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from rich.console import Console
from rich.table import Table
from rich.text import Text

from common.config.units import Seconds
from common.errors import ConfigError, RunError
from common.options import secret
from deploy.address import NAME, StreamAddress
from deploy.control.server import TOKEN_VARIABLE
from deploy.rundir import read_rows, to_json

_PATIENCE = 10.0
_LOOK = 0.2
_ENDED = ("stopped", "failed")
"""Last events of a run."""


@dataclass(frozen=True)
class Status:
    """Show how a run that is going on does. On a cluster: ray exec deploy/cluster.yaml 'engram status'.

    Examples:
      engram status
      engram status runs/a --json
    """

    run_dir: tyro.conf.Positional[Path] = Path()
    """The run directory; empty for the run below `runs` that began last."""
    runs: Path = Path("runs")
    """Folder of run directories."""
    json: bool = False
    """Print the whole status as one JSON object."""


@dataclass(frozen=True)
class Stop:
    """End a run in order, as Ctrl-C would: stop capture, drain, save a last checkpoint; wait until it has ended.

    Exit code 0 where it ended in order, 1 where it failed, or goes on after the wait.

    Examples:
      engram stop
      engram stop runs/a --wait 5m
    """

    run_dir: tyro.conf.Positional[Path] = Path()
    """The run directory; empty for the run below `runs` that began last."""
    runs: Path = Path("runs")
    """Folder of run directories."""
    wait: Seconds = 120.0
    """How long to wait for its end; 0 only asks for it."""


def status(words: list[str]) -> int:
    """Runs `engram status` with the words after it; returns the exit code."""
    asked = tyro.cli(Status, args=words, prog="engram status")
    folder, address = find_run(asked.run_dir, asked.runs)
    found = read_status(folder, address)
    if asked.json:
        print(to_json({**found, "run_dir": str(folder)}))
    else:
        show(found, folder, Console(highlight=False))
    return 0


def stop(words: list[str]) -> int:
    """Runs `engram stop` with the words after it; returns the exit code."""
    asked = tyro.cli(Stop, args=words, prog="engram stop")
    folder, address = find_run(asked.run_dir, asked.runs)
    ask_to_end(folder, address)
    if not asked.wait:
        print(f"{folder} was asked to end")
        return 0
    if not wait_for_end(folder, address, asked.wait):
        print(f"engram: {folder} still goes on after {asked.wait:g} s; engram status shows it", file=sys.stderr)
        return 1
    last = next((row for row in reversed(list(read_rows(folder / "events.jsonl"))) if row["kind"] in _ENDED), None)
    if last is None or last["kind"] != "stopped":
        why = "its driver died" if last is None else last["error"]
        print(f"engram: {folder} did not end in order: {why}", file=sys.stderr)
        return 1
    print(f"{folder} has ended at step {last['step']}")
    return 0


def find_run(folder: Path, runs: Path) -> tuple[Path, StreamAddress]:
    """Finds a run that is going on.

    Args:
        folder: Its run directory; `Path()` for the one that began last.
        runs: Where to look for that.

    Raises:
        ConfigError: There is none.
    """
    if folder != Path():
        if (address := StreamAddress.read(folder)) is None:
            raise ConfigError("run_dir", str(folder), "must be the directory of a run that goes on, on this host")
        return folder, address
    places = sorted(path.parent for path in runs.glob(f"*/{NAME}"))
    alive = [(place, address) for place in places if (address := StreamAddress.read(place)) is not None]
    if not alive:
        raise ConfigError("runs", str(runs), "holds no run that is going on: name its directory, or another --runs")
    return max(alive, key=lambda one: (one[0] / NAME).stat().st_ctime)


def read_status(folder: Path, address: StreamAddress) -> dict[str, Any]:
    """Asks a run how it does.

    Returns:
        The fields of `common.status.RunStatus`.

    Raises:
        RunError: It does not answer.
    """
    if not address.status_url:
        raise RunError(f"{folder} is starting, or was started by an older engram: {NAME} does not say where it listens")
    try:
        with urllib.request.urlopen(_of_http(address.status_url), timeout=_PATIENCE) as answer:  # nosec B310
            return json.load(answer)
    except (OSError, ValueError) as error:
        raise RunError(f"{folder} does not answer at {address.status_url} ({error}): it may be ending") from None


def ask_to_end(folder: Path, address: StreamAddress) -> None:
    """Asks a run to end, over its control API, or by SIGTERM where it has none.

    Raises:
        RunError: It refuses.
    """
    if not address.control_url:
        os.kill(address.pid, signal.SIGTERM)
        return
    url = address.control_url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")
    wanted = urllib.request.Request(_of_http(f"{url}/api/shutdown"), method="POST")
    if token := secret(TOKEN_VARIABLE):
        wanted.add_header("Authorization", f"Bearer {token}")
    try:
        urllib.request.urlopen(wanted, timeout=_PATIENCE).close()  # nosec B310
    except urllib.error.HTTPError as error:
        why = f"set {TOKEN_VARIABLE} to the run's" if error.code in (401, 403) else error.reason
        raise RunError(f"{folder} refuses to end ({error.code}): {why}") from None
    except OSError as error:
        if StreamAddress.read(folder) is not None:
            raise RunError(f"{folder} does not answer at {url} ({error}): it may be ending already") from None


def _of_http(url: str) -> str:
    """The URL, which a run directory from elsewhere may have brought: no file is read in its place.

    Raises:
        RunError: It is of another scheme.
    """
    if not url.startswith("http://"):
        raise RunError(f"{NAME} names {url!r}, where no run of ours listens")
    return url


def wait_for_end(folder: Path, address: StreamAddress, seconds: float) -> bool:
    """Waits until a run's parts have ended; says whether they have."""
    end = time.monotonic() + seconds
    while (now := StreamAddress.read(folder)) is not None and now.stream == address.stream:
        if time.monotonic() >= end:
            return False
        time.sleep(_LOOK)
    return True


def show(found: dict[str, Any], folder: Path, console: Console) -> None:
    """Prints a status as a short table."""
    learner, evaluator, store = found["learner"], found["evaluator"], found["store"]
    length = f" of {_time(found['duration'])}" if found["duration"] else ""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold")
    table.add_row("run", Text(f"{folder}: {found['phase']}, {_time(found['elapsed'])}{length}"))
    for actor in found["actors"]:
        table.add_row(Text(actor["name"]), Text(_actor(actor)))
    waits = f", waits ({learner['waiting']})" if learner["waiting"] else ""
    loss = "none yet" if learner["loss"] is None else f"{learner['loss']:.4f}"
    speed = f"{learner['images_per_second']:.0f} images a second"
    table.add_row("learner", f"step {learner['step']}, version {learner['version']}, loss {loss}, {speed}{waits}")
    for member in found["members"]:
        other = member["learner"]
        table.add_row(Text(member["name"]), f"step {other['step']}, {other['images_per_second']:.0f} images a second")
    if evaluator is not None:
        said = f"version {evaluator['version']} measured, {evaluator['evaluations']} evaluations"
        table.add_row("evaluator", Text(f"{said}{', ' if evaluator['activity'] else ''}{evaluator['activity']}"))
    up = f"{store['memory'] / 2**20:.0f} MiB" if store["up"] else "does not answer"
    table.add_row("stream", f"{up}, {sum(store['entries'].values())} entries")
    restarts = ", ".join(f"{part} {count}" for part, count in found["restarts"].items() if count)
    table.add_row("restarts", Text(restarts or "none"))
    table.add_row("control", Text(found["control_url"] or "off"))
    table.add_row("metrics", Text(found["metrics_url"]))
    console.print(table)


def _actor(actor: dict[str, Any]) -> str:
    host = f" on {actor['host']}" if actor.get("host") else ""
    state = "paused" if actor["paused"] else "ended" if actor["ended"] else f"{actor['fps']:.1f} fps"
    unfit = f", sees {actor['unfit_now']}" if actor["unfit_now"] else ""
    return f"{state} in {actor['world'] or 'no world'}{host}, weights {actor['weights_version']}{unfit}"


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
