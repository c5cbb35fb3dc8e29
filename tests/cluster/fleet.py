"""A cluster as its user makes one: `engram keys`, `deploy/cluster.yaml` with three addresses in it, `ray up`."""

import os
import shutil
import subprocess
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from deploy.host import HOST_VARIABLE
from tests.cluster.hosts import ROOT, FakeHost, Hosts, hosts

KEYS = "/root/engram-keys"
HOST_FILE = "/root/.config/pamiq-engram/host.yaml"
_PROGRAMS = [Path(sys.base_prefix) / "bin", Path(shutil.which("uv") or "/usr/bin/uv").resolve().parent]
PROFILE = {
    "PATH": ":".join([*map(str, _PROGRAMS), "/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin"]),
    "UV_CACHE_DIR": os.environ.get("UV_CACHE_DIR", str(Path.home() / ".cache" / "uv")),
    "UV_OFFLINE": "1",
    "UV_LINK_MODE": "symlink",
}
"""Packages come from this machine's cache: there is no way out, and so they lie in memory once for all hosts."""


_COUNT = (
    'source ~/.bashrc; python -c "import ray, logging; '
    "ray.init(address='auto', log_to_driver=False, logging_level=logging.ERROR); "
    "print(' '.join('alive' for node in ray.nodes() if node['Alive']))\""
)


def offers(resources: Mapping[str, float], address: str, **others: Any) -> str:
    """Writes what a host says of itself."""
    return yaml.safe_dump({"resources": dict(resources), "address": address, **others})


@dataclass
class Fleet:
    """Hosts, the first of which is the head, and the cluster file that names them.

    Attributes:
        hosts: They.
        file: The cluster file.
        home: Where `ray up` keeps what it notes of clusters.
        environment: Variables for `ray`, beside this process's.
    """

    hosts: Hosts
    file: Path
    home: Path
    environment: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def head(self) -> FakeHost:
        """The first host."""
        return self.hosts.each[0]

    @property
    def workers(self) -> Sequence[FakeHost]:
        """All others."""
        return self.hosts.each[1:]

    def ray(self, *words: str, timeout: float = 540, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Runs `ray …` as the user does, in the checkout."""
        environment = {**os.environ, "HOME": str(self.home), "RAY_USAGE_STATS_ENABLED": "0", **self.environment}
        done = subprocess.run(
            [str(Path(sys.executable).with_name("ray")), *words],
            cwd=ROOT, env=environment, check=False, text=True, timeout=timeout,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert not check or done.returncode == 0, f"ray {' '.join(words)}: {done.stdout[-6000:]}"
        return done

    def up(self, *words: str) -> str:
        """Brings the cluster up, or what is missing of it."""
        return self.ray("up", "--yes", *words, str(self.file)).stdout

    def down(self) -> str:
        """Takes it down."""
        return self.ray("down", "--yes", str(self.file)).stdout

    def members(self) -> int:
        """Hosts that the head's Ray knows, and alive."""
        return self.head.run(_COUNT, check=False).stdout.count("alive")

    def say(self, command: str, *words: str, timeout: float = 540, check: bool = True) -> str:
        """Runs a command on the head, by `ray exec`."""
        return self.ray("exec", *words, str(self.file), command, timeout=timeout, check=check).stdout


def cluster_file(template: Path, made: Hosts, keys: Path) -> dict[str, Any]:
    """A cluster file of the repository, with these hosts in it; commands, mounts and all else as they are."""
    content = yaml.safe_load(template.read_text("utf-8"))
    for machines in ("available_node_types", "head_node_type", "max_workers"):  # only a cloud can start them
        content.pop(machines, None)
    addresses = [host.address for host in made.each]
    content["provider"] = {"type": "local", "head_ip": addresses[0], "worker_ips": addresses[1:]}
    content["auth"] |= {"ssh_user": "root", "ssh_private_key": str(made.key)}
    mounts = {place: str(ROOT) if source == "." else source for place, source in content["file_mounts"].items()}
    mounts = {place: str(keys) + source.removeprefix("keys") if source.startswith("keys") else source
              for place, source in mounts.items()}  # fmt: skip
    return content | {"file_mounts": mounts}


def on(host: FakeHost, command: str, **options: Any) -> str:
    """Runs a command as a user who has logged in there; returns what it says."""
    return host.run(f"source ~/.bashrc; cd; {command}", **options).stdout


@contextmanager
def fleet(
    folder: Path, offered: Sequence[Mapping[str, float]], *, template: str = "cluster.yaml", name: str = ""
) -> Generator[Fleet]:
    """Boots hosts and writes what a user would; the cluster is not up yet.

    Args:
        folder: For all of it, on a real file system.
        offered: Resources of each host, the head's first.
        template: Which of the repository's cluster files.
        name: Under which hosts find the head; empty for its address.
    """
    with hosts(folder, PROFILE) as made:
        for number in range(len(offered)):
            host = made.boot(number)
            host.write(HOST_FILE, offers(offered[number], host.address, cpus=2, objects=200 * 2**20))
        home, keys = folder / "home", folder / "keys"
        home.mkdir()
        engram = [
            sys.executable,
            "-m",
            "engram",
            "keys",
            str(keys),
            "--host",
            name or made.each[0].address,
            "--at",
            KEYS,
        ]
        subprocess.run(engram, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        assert HOST_VARIABLE not in os.environ
        file = folder / "cluster.yaml"
        file.write_text(yaml.safe_dump(cluster_file(ROOT / "deploy" / template, made, keys), sort_keys=False))
        yield Fleet(made, file, home)
        shutil.rmtree(home, ignore_errors=True)
