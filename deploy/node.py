"""`engram node`: brings this host into a cluster, as `ray start` does, with what all processes of a run rely on.

    deploy/cluster.yaml ─► ray up ─► on each host: engram node …
                                       │ token there and private? host.yaml right?
                                       ▼
                                     ray start --resources --labels engram.version=…
                                       │ same code as the head?  no: ray stop, exit 2
                                       ▼
                                     joined

Ports are fixed, so that a firewall can let them through and nothing else.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# Ray is untyped in parts.

import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import tyro
import yaml

from actors.belongings import state_folder
from common.errors import ConfigError, RunError
from common.options import URL_VARIABLE
from common.signing import KEY_VARIABLE
from deploy.cluster import prepare_environment
from deploy.companion import accompany, listens
from deploy.control.server import TOKEN_VARIABLE
from deploy.host import Host
from deploy.leaving import watch_over
from deploy.nodes import VERSION_LABEL, nodes
from deploy.placement import Node
from deploy.ray_token import check_token, token_path
from deploy.version import code_version

HEAD = "node:__internal_head__"
"""Resource that Ray gives to the head alone."""
_SECRETS = tuple(f"{name}{suffix}" for name in (URL_VARIABLE, KEY_VARIABLE, TOKEN_VARIABLE) for suffix in ("", "_FILE"))
_PATIENCE = {
    # Ray would take a host whose network is cut for dead after 15 seconds; so it does after 60 to 100.
    "RAY_health_check_period_ms": "3000",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "20",
}
_PORTS = {
    "object-manager-port": 8076,
    "node-manager-port": 8077,
    "runtime-env-agent-port": 8078,
    "metrics-export-port": 8079,
    "dashboard-agent-grpc-port": 8081,
    "dashboard-agent-listen-port": 8082,
    "min-worker-port": 10002,
    "max-worker-port": 10999,
}


@dataclass(frozen=True)
class NodeCommand:
    """Bring this host into a cluster, or out of it; `ray up deploy/cluster.yaml` runs it on every host.

    What the host has to offer is in its own file, ~/.config/pamiq-engram/host.yaml (or where ENGRAM_HOST_FILE says):
    resources such as `vrchat: 1`, gpus, address, environment. The cluster's token must lie in ~/.ray/auth_token (or
    where RAY_AUTH_TOKEN_PATH says), readable by you alone; `engram keys` makes one.

    Examples:
      engram node --head
      engram node --address 192.168.1.10:6379
      engram node --stop
    """

    head: bool = False
    """This host is the head: it starts the cluster."""
    again: bool = False
    """The head takes up the cluster that it left less than a minute ago, whose other hosts wait for so long."""
    address: str = ""
    """HOST:PORT of the head, for all others."""
    port: int = 6379
    """Where the head listens; the stream's Redis must have another."""
    redis: Path = Path()
    """Configuration of the stream's Redis server, which is then started on the head, and ends after Ray; `engram keys`
    writes one. Empty where the server is somebody else's business."""
    stop: bool = False
    """Ends all of Ray's processes of this user on this host."""


def node(words: list[str]) -> int:
    """Runs `engram node` with the words after it; returns the exit code."""
    asked = tyro.cli(NodeCommand, args=words, prog="engram node")
    if asked.stop + asked.head + bool(asked.address) != 1:
        raise ConfigError("node", " ".join(words), "must have one of --head, --address HOST:PORT and --stop")
    if asked.again and not asked.head:
        raise ConfigError("node", " ".join(words), "must have --head with --again")
    if asked.stop:
        done = _ray(["stop"])
        if done.returncode:
            raise RunError(f"Ray does not stop here: {_last_words(done)}")
        return 0
    host = Host.load(Host.path())
    prepare_environment()
    os.environ.update({**host.environment, "RAY_AUTH_MODE": "token"})
    check_token(token_path())
    for secret in _SECRETS:  # parts are given what they need, and Ray shows its processes' environment
        os.environ.pop(secret, None)
    if asked.head:
        _prepare_head(asked, host.address or "127.0.0.1")
    done = _ray(start_command(asked, host, version=code_version()))
    if done.returncode:
        raise RunError(f"Ray does not start here: {_last_words(done)}")
    if not asked.head:
        watch_over(_PORTS["node-manager-port"])
    found = _joined(host, f"127.0.0.1:{asked.port}" if asked.head else asked.address)
    if not asked.head:
        _check_version(found)
    offered = ", ".join(f"{name} {count:g}" for name, count in host.resources.items()) or "nothing special"
    print(f"engram node: {code_version()}, offering {offered}; {len(found)} hosts are in the cluster")
    return 0


def _prepare_head(asked: NodeCommand, address: str) -> None:
    """Sets what the head's Ray is to know, and sees to its Redis.

    Raises:
        ConfigError: The port is taken.
    """
    if any(listens(place, asked.port) for place in (address, "127.0.0.1")):
        allowed = "is taken: by a head (engram node --stop), or a Redis (sudo systemctl disable --now redis-server)"
        raise ConfigError("port", asked.port, allowed)
    if is_local(bootstrap_file()):  # version 2 of the autoscaler takes a local head for a worker: one is left out
        os.environ |= {"RAY_enable_autoscaler_v2": "0"}
    os.environ |= _PATIENCE | remember(state_folder() / "head", again=asked.again)
    if asked.redis != Path():
        accompany(asked.redis.resolve(), (address, asked.port))


def remember(folder: Path, *, again: bool) -> dict[str, str]:
    """Prepares the folder where Ray notes who is in the cluster and which actors live.

    Args:
        folder: On the head.
        again: What is noted there is to be taken up; else it is forgotten.

    Returns:
        Variables that tell Ray: it has it in RocksDB there, since Redis would need a password in its command lines.

    Raises:
        ConfigError: Nothing is noted, or the folder cannot be written.
    """
    if again and not folder.is_dir():
        raise ConfigError("again", str(folder), "holds no cluster: start a new one by `engram node --head`")
    if not again:
        shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError("node", str(folder), f"cannot be made: {error.strerror}") from None
    return {"RAY_gcs_storage": "rocksdb", "RAY_gcs_storage_path": str(folder)}


def bootstrap_file() -> Path:
    """Where `ray up` leaves the cluster's file on the head."""
    return Path.home() / "ray_bootstrap_config.yaml"


def is_local(bootstrap: Path) -> bool:
    """Says whether a cluster's file is of hosts that are one's own; False where there is none."""
    if not bootstrap.exists():
        return False
    content: Any = yaml.safe_load(bootstrap.read_text("utf-8"))
    return content["provider"]["type"] == "local"


def start_command(asked: NodeCommand, host: Host, *, version: str) -> list[str]:
    """The arguments of `ray` that bring this host in.

    Args:
        asked: Head or not, and where.
        host: What it offers.
        version: Its code.
    """
    words = ["start", *(f"--{name}={port}" for name, port in _PORTS.items())]
    if asked.head:
        words += ["--head", f"--port={asked.port}", "--include-dashboard=true", "--dashboard-host=127.0.0.1"]
        if (bootstrap := bootstrap_file()).exists():
            words.append(f"--autoscaling-config={bootstrap}")
    else:
        words.append(f"--address={asked.address}")
    for option, value in (
        ("node-ip-address", host.address),
        ("num-cpus", host.cpus),
        ("num-gpus", host.gpus),
        ("object-store-memory", host.objects),
    ):
        if value not in ("", None):
            words.append(f"--{option}={value}")
    return [
        *words,
        "--resources=" + json.dumps(dict(host.resources)),
        f"--labels={VERSION_LABEL}={version}",
        "--disable-usage-stats",
    ]


def _joined(host: Host, address: str) -> Sequence[Node]:
    place: dict[str, Any] = {"_node_ip_address": host.address} if host.address else {}
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **place)
        return nodes()
    except (ConnectionError, RuntimeError, ValueError) as error:
        _ray(["stop"])
        raise RunError(f"the cluster at {address} does not let this host in: {error}") from error
    finally:
        ray.shutdown()


def _check_version(found: Sequence[Node]) -> None:
    """Leaves the cluster where its head has other code than this host.

    Raises:
        ConfigError: It has; both versions are named.
    """
    head = next((one.version for one in found if one.offers(HEAD)), "")
    if head != code_version():
        _ray(["stop"])
        raise ConfigError(
            "node",
            code_version(),
            f"the head has {head or 'none (start it by `engram node --head`)'}: bring both to the same code. `ray up` "
            "sends this checkout to all hosts; what was removed from it has to be removed there too",
        )


def _ray(words: Sequence[str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ray.scripts.scripts", *words]
    return subprocess.run(command, check=False, text=True, capture_output=True)


def _last_words(done: subprocess.CompletedProcess[str]) -> str:
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    return "; ".join(lines[-3:]) or f"it ended with {done.returncode}"
