"""Hosts on one machine: each has network, process tree, file system and name of its own, and an sshd; one bridge.

    this machine ── bridge ─┬─ host 0   overlay of this machine's root in memory; /proc, /tmp, /dev/shm of its own
                            ├─ host 1   what is written there stays there
                            └─ host 2

The repository's folder is empty on all of them, so that code is there only when somebody has brought it.
"""

import os
import shutil
import signal
import subprocess
import textwrap
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
_TOOLS = ("ip", "unshare", "nsenter", "ssh", "ssh-keygen", "rsync")
_SSHD = "/usr/sbin/sshd"


def missing() -> str:
    """Says what this machine lacks; nothing where it has all."""
    lacks = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if not Path(_SSHD).exists():
        lacks.append("openssh-server")
    return "root" if os.geteuid() else ", ".join(lacks)


def _run(*words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    assert not check or done.returncode == 0, f"{' '.join(words)}: {done.stdout}{done.stderr}"
    return done


@dataclass
class FakeHost:
    """One host.

    Attributes:
        name: Of the host and of its network namespace.
        address: Where the others reach it.
        cable: This machine's end of its cable.
        folder: Where its file system is kept, on this machine.
        init: Its first process.
    """

    name: str
    address: str
    cable: str
    folder: Path
    init: subprocess.Popen[bytes]

    @property
    def pid(self) -> int:
        """Id of its first process, on this machine."""
        children = Path(f"/proc/{self.init.pid}/task/{self.init.pid}/children").read_text("utf-8").split()
        return int(children[0])

    def run(self, command: str, *, check: bool = True, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Runs a command there as a login shell would, without the network."""
        words = ["nsenter", f"--target={self.pid}", "--all", "--root", "bash", "--login", "-c", f"cd; {command}"]
        done = subprocess.run(words, check=False, capture_output=True, text=True, timeout=timeout)
        assert not check or done.returncode == 0, f"{self.name}: {command}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done

    def write(self, path: str, text: str) -> None:
        """Puts a file there."""
        self.run(f"mkdir -p '{Path(path).parent}'")
        subprocess.run(
            ["nsenter", f"--target={self.pid}", "--all", "--root", "tee", path],
            input=text.encode(), check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip

    def plug(self, in_: bool) -> None:
        """Pulls its cable, or puts it back."""
        _run("ip", "link", "set", self.cable, "up" if in_ else "down")

    def processes(self) -> list[str]:
        """Command lines of what runs there, sshd and shells excepted."""
        found = self.run("ps -eo args= --no-headers").stdout.splitlines()
        spared = ("sshd", "bash", "ps ", "/bin/sh", "sh ", "tee ", "sleep")
        return [line for line in map(str.strip, found) if line and not line.startswith(("-bash", *spared))]

    def kill(self) -> None:
        """Pulls the plug: all of its processes are gone at once, and what was in its memory with them."""
        if self.init.poll() is None:
            os.killpg(self.init.pid, signal.SIGKILL)
            self.init.wait(30)

    def unplug(self) -> None:
        """Takes its network away."""
        _run("ip", "netns", "del", self.name, check=False)
        _run("ip", "link", "del", self.cable, check=False)

    def remove(self) -> None:
        """Takes it away, and its disk."""
        self.kill()
        self.unplug()
        _run("umount", "--lazy", str(self.folder), check=False)


@dataclass
class Hosts:
    """All hosts, and how to come in.

    Attributes:
        key: Private key that opens them.
        each: They.
        profile: What their login shells begin with.
    """

    key: Path
    folder: Path
    bridge: str
    network: str
    each: list[FakeHost] = field(default_factory=list["FakeHost"])
    profile: Mapping[str, str] = field(default_factory=dict[str, str])

    def boot(self, number: int) -> FakeHost:
        """Starts a host: one that was killed with the disk that it had, any other with an empty one."""
        name, cable = f"{self.bridge}h{number}", f"{self.bridge}v{number}"
        address = f"{self.network}.{10 + number}"
        folder = self.folder / name
        if number < len(self.each):
            self.each[number].unplug()
        else:
            folder.mkdir()
            _run("mount", "-t", "tmpfs", "-o", "size=12g", "tmpfs", str(folder))
            for part in ("upper", "work", "root"):
                (folder / part).mkdir()
        _run("ip", "netns", "add", name)
        _run("ip", "link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", name)
        _run("ip", "link", "set", cable, "master", self.bridge, "up")
        for words in (
            ("addr", "add", f"{address}/24", "dev", "eth0"),
            ("link", "set", "eth0", "up"),
            ("link", "set", "lo", "up"),
            ("route", "add", "default", "via", f"{self.network}.1"),
        ):
            _run("ip", "-n", name, *words)
        script = folder / "init.sh"
        script.write_text(_INIT.format(
            folder=folder, name=name, hide=ROOT, key=self.key, sshd=_SSHD,
            profile="".join(f"export {key}={value}\n" for key, value in self.profile.items()),
        ))  # fmt: skip
        command = [
            "ip",
            "netns",
            "exec",
            name,
            "unshare",
            "--pid",
            "--mount",
            "--uts",
            "--ipc",
            "--fork",
            "--kill-child",
        ]
        init = subprocess.Popen(
            [*command, "--propagation", "private", "bash", str(script)],
            stdout=(folder / "log").open("ab"), stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        host = FakeHost(name, address, cable, folder, init)
        self.each[number : number + 1] = [host]
        self._await(host)
        return host

    def _await(self, host: FakeHost) -> None:
        end = time.monotonic() + 60
        while self.ssh(host, "true").returncode:
            assert host.init.poll() is None, (host.folder / "log").read_text("utf-8", "replace")
            assert time.monotonic() < end, "no ssh: " + (host.folder / "log").read_text("utf-8", "replace")
            time.sleep(0.3)

    def ssh(self, host: FakeHost, command: str) -> subprocess.CompletedProcess[str]:
        """Runs a command there over the network."""
        options = ("-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "ConnectTimeout=5")
        return _run("ssh", "-q", "-i", str(self.key), *options, f"root@{host.address}", command, check=False)

    def close(self) -> None:
        """Ends them all and removes what they were made of."""
        for host in self.each:
            host.remove()
        _run("ip", "link", "del", self.bridge, check=False)


_INIT = textwrap.dedent("""\
    set -e
    mount -t overlay overlay -o lowerdir=/,upperdir={folder}/upper,workdir={folder}/work {folder}/root
    cd {folder}/root
    mount -t tmpfs tmpfs .{hide}
    mount -t tmpfs -o mode=1777 tmpfs tmp
    mount -t tmpfs tmpfs run
    mount --rbind /dev dev
    mount -t tmpfs -o size=2g tmpfs dev/shm
    mount -t proc proc proc
    mkdir -p run/sshd root/.ssh etc/profile.d
    if [ ! -e etc/booted ]; then
        rm -rf root/.ray root/.config/pamiq-engram root/.local/state/engram root/pamiq-engram root/.bashrc root/.profile
        touch etc/booted
    fi
    ssh-keygen -y -f {key} > root/.ssh/authorized_keys
    chmod 700 root/.ssh; chmod 600 root/.ssh/authorized_keys
    cat > etc/profile.d/zz-host.sh <<'END'
    {profile}
    END
    cat > run/sshd_config <<'END'
    HostKey /run/hostkey
    PermitRootLogin prohibit-password
    PasswordAuthentication no
    UsePAM no
    MaxStartups 100
    MaxSessions 100
    Subsystem sftp internal-sftp
    PidFile none
    END
    ssh-keygen -q -t ed25519 -N '' -f run/hostkey
    hostname {name}
    echo "127.0.0.1 localhost" > etc/hosts; echo "127.0.1.1 {name}" >> etc/hosts
    exec chroot . {sshd} -D -e -f /run/sshd_config
    """)


@contextmanager
def hosts(folder: Path, profile: Mapping[str, str]) -> Generator[Hosts]:
    """Makes a bridge on which hosts can be booted, and takes all down in the end.

    Args:
        folder: Where they are kept, on a real file system of this machine.
        profile: Variables of their login shells.
    """
    if lacks := missing():
        pytest.skip(f"needs {lacks}")
    mark = os.getpid() % 250
    key = folder / "key"
    _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key))
    made = Hosts(key, folder, f"eg{mark}", f"10.232.{mark}", profile=profile)
    _run("ip", "link", "add", made.bridge, "type", "bridge")
    _run("ip", "addr", "add", f"{made.network}.1/24", "dev", made.bridge)
    _run("ip", "link", "set", made.bridge, "up")
    try:
        yield made
    finally:
        made.close()
