"""Ray: on this machine, and on the nodes of a cluster: versions, code, clocks, resources, token."""

import json
import os
import platform
import subprocess
import sys
import threading
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import deploy
from common.errors import RunError
from deploy.doctor.finding import Case, Check, Verdict, beside, fine, poor, wrong
from deploy.doctor.nodes import NodeFacts
from deploy.doctor.trial import attempt
from deploy.host import Host
from deploy.placement import ClusterPlacement, Node
from deploy.ray_token import check_token, token_path
from deploy.version import code_version

_DEEP, _ASKING = 90.0, 45.0
_SKEW = 0.05
"""Seconds between two clocks that latencies do not notice much."""


class Cluster:
    """Asks the nodes of a cluster once, for all checks that want to know."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, tuple[NodeFacts, ...] | RunError] = {}

    def nodes(self, address: str) -> tuple[NodeFacts, ...]:
        """What the nodes have.

        Raises:
            RunError: The cluster does not answer.
        """
        with self._lock:
            if address not in self._known:
                try:
                    self._known[address] = _ask(address)
                except RunError as error:  # the other checks need not wait for it too
                    self._known[address] = error
            found = self._known[address]
        if isinstance(found, RunError):
            raise found
        return found


def _ask(address: str) -> tuple[NodeFacts, ...]:
    # In a process of its own: Ray waits for a head that is not there, and ends a process that has another version.
    home = str(Path(deploy.__file__).resolve().parent.parent)
    patience = _ASKING - 2.0
    try:
        said = subprocess.run(
            [sys.executable, "-m", "deploy.doctor.nodes", address],
            capture_output=True,
            text=True,
            timeout=patience,
            env={**os.environ, "PYTHONPATH": home, "RAY_AUTH_MODE": os.environ.get("RAY_AUTH_MODE", "token")},
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise RunError(f"{address} does not answer within {patience:g} s") from None
    if said.returncode:
        last = [line.strip() for line in said.stderr.splitlines() if line.strip()]
        raise RunError(f"{address} does not take us in: {last[-1][:200] if last else 'it does not say why'}")
    return tuple(NodeFacts(**node) for node in json.loads(said.stdout.splitlines()[-1]))


_cluster = Cluster()


def _of_nodes(look: Callable[[Case, tuple[NodeFacts, ...]], Verdict]) -> Callable[[Case], Verdict]:
    """A check of the nodes, where there is a cluster that answers."""

    def looked(case: Case) -> Verdict:
        if not case.run.cluster:
            return beside("this machine alone")
        try:
            nodes = _cluster.nodes(case.run.cluster)
        except RunError:
            return beside("the cluster does not answer")
        return look(case, tuple(node for node in nodes if not node.trouble))

    return looked


def _look_at_ray(case: Case) -> Verdict:
    if case.deep and not case.run.cluster:
        return attempt("ray", patience=_DEEP - 2.0, fix="end what else takes memory or ports; look into Ray's log")
    return fine(version("ray") + ("" if case.run.cluster else "; --deep also starts one"))


def _look_at_token(case: Case) -> Verdict:
    if not case.run.cluster:
        return beside("the run's own Ray makes one")
    mode = os.environ.get("RAY_AUTH_MODE", "token")
    if mode.lower() != "token":
        said = f"RAY_AUTH_MODE={mode}: whoever reaches the head runs code there"
        return wrong(said, "RAY_AUTH_MODE=token, here and on every host")
    if os.environ.get("RAY_AUTH_TOKEN"):
        return poor("in the variable RAY_AUTH_TOKEN", "a file of mode 0600, named by RAY_AUTH_TOKEN_PATH")
    check_token(token_path())
    return fine(f"{token_path()}, which its owner alone can read")


def _look_at_host_file(case: Case) -> Verdict:
    path = Host.path()
    if not path.exists():
        return beside("this host declares nothing")
    offered = ", ".join(f"{name} {count:g}" for name, count in Host.load(path).resources.items())
    return fine(f"{path} offers {offered or 'nothing special'}")


def _look_at_nodes(case: Case) -> Verdict:
    if not case.run.cluster:
        return beside("this machine alone")
    try:
        nodes = _cluster.nodes(case.run.cluster)
    except RunError as error:
        return wrong(str(error), "check the address (HOST:6379), the firewall, and that the token is the cluster's")
    if silent := [f"{node.host} ({node.trouble})" for node in nodes if node.trouble]:
        return wrong(", ".join(silent), "`ray status` on the head; start the node again")
    return fine(f"{len(nodes)}: {', '.join(f'{node.host} ({node.address})' for node in nodes)}")


@_of_nodes
def _look_at_versions(_case: Case, nodes: tuple[NodeFacts, ...]) -> Verdict:
    python, ray = platform.python_version(), version("ray")
    others = [f"{node.host} has Python {node.python} ({python} here)" for node in nodes if node.python != python]
    others += [f"{node.host} has Ray {node.ray} ({ray} here)" for node in nodes if node.ray != ray]
    if others:
        return wrong("; ".join(others), "the same Python and Ray on every host: make install on each")
    torches = sorted({node.torch.partition("+")[0] or "none" for node in nodes})
    said = f"Python {python}, Ray {ray}, torch {', '.join(torches)}"
    return fine(said) if len(torches) == 1 and torches != ["none"] else poor(said, "make install on every host")


@_of_nodes
def _look_at_code(_case: Case, nodes: tuple[NodeFacts, ...]) -> Verdict:
    ours = code_version()
    if strangers := [node for node in nodes if node.joined_with != ours]:
        others = "; ".join(f"{node.host} joined with {node.joined_with or 'no `engram node`'}" for node in strangers)
        return wrong(f"{ours} here; {others}", "`ray up` again brings one to all; no part goes to other code")
    if moved := [node.host for node in nodes if node.code and node.code != ours]:
        return poor(f"{ours}; since it joined, files have changed on {', '.join(moved)}", "`ray up` again")
    return fine(f"{ours} everywhere")


@_of_nodes
def _look_at_clocks(_case: Case, nodes: tuple[NodeFacts, ...]) -> Verdict:
    worst = max(nodes, key=lambda node: abs(node.offset) - node.within)
    said = f"{worst.host} is {worst.offset * 1e3:+.0f} ms from this one, known to {worst.within * 1e3:.0f} ms"
    if abs(worst.offset) - worst.within > _SKEW:
        return poor(said, "a time service (chrony) on every host: latencies compare their clocks")
    return fine(said)


@_of_nodes
def _look_at_resources(case: Case, nodes: tuple[NodeFacts, ...]) -> Verdict:
    hosts = [
        Node(id=node.id, address=node.address, version=node.joined_with, resources=node.resources) for node in nodes
    ]
    mine = next((node.id for node in nodes if node.here), "")
    ClusterPlacement(case.run, nodes=lambda: hosts, here=mine, version=code_version())
    offered: dict[str, float] = {}
    for host in hosts:
        for name, amount in host.resources.items():
            if name not in ("memory", "object_store_memory") and ":" not in name:
                offered[name] = offered.get(name, 0.0) + amount
    return fine(", ".join(f"{amount:g} {name}" for name, amount in sorted(offered.items())))


CHECKS = (
    Check(name="ray", look=_look_at_ray, patience=_DEEP),
    Check(name="ray token", look=_look_at_token),
    Check(name="host file", look=_look_at_host_file),
    Check(name="nodes", look=_look_at_nodes, patience=_ASKING),
    Check(name="node versions", look=_look_at_versions, patience=_ASKING),
    Check(name="node code", look=_look_at_code, patience=_ASKING),
    Check(name="node clocks", look=_look_at_clocks, needed=False, patience=_ASKING),
    Check(name="node resources", look=_look_at_resources, patience=_ASKING),
)
