"""The hosts of the cluster that this process has joined."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# Ray is untyped in parts.

import os
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import ray
import ray.exceptions
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from deploy.placement import Node

VERSION_LABEL = "engram.version"
"""Label of a node that says which code it has."""
_LONGEST = 256 * 1024
"""Bytes of a log that are fetched, from its end."""


def nodes() -> list[Node]:
    """Lists the hosts that are alive."""
    return [
        Node(
            id=found["NodeID"],
            address=found["NodeManagerAddress"],
            version=str((found.get("Labels") or {}).get(VERSION_LABEL, "")),
            resources=found["Resources"],
        )
        for found in ray.nodes()
        if found["Alive"]
    ]


def here() -> str:
    """Id of this process's host."""
    return ray.get_runtime_context().get_node_id()


def address() -> str:
    """Where other hosts reach this process's host."""
    return ray.util.get_node_ip_address()


def whereabouts(shell: Any) -> tuple[str, int]:
    """Says where a part lives, called in its place: `handle.__ray_call__.remote(whereabouts)`.

    Returns:
        Its host's address, and there the port of its metrics on loopback.
    """
    return address(), shell.metrics_port()


def logs_of(part: str, within: float) -> dict[str, str]:
    """Fetches what a part of this run has said, from all hosts.

    Args:
        part: Its name.
        within: Seconds that they have.

    Returns:
        The ends of its logs, by name of host and file.
    """
    job = ray.get_runtime_context().get_job_id()
    look = ray.remote(num_cpus=0, max_retries=0)(_logs)
    asked = [
        look.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node.id, soft=False)).remote(part, job)
        for node in nodes()
    ]
    done, late = ray.wait(asked, num_returns=len(asked), timeout=within)
    for reference in late:
        ray.cancel(reference)
    found: dict[str, str] = {}
    for reference in done:
        try:
            found |= ray.get(reference)
        except ray.exceptions.RayError:  # its host went away meanwhile
            continue
    return found


def _logs(part: str, job: str) -> dict[str, str]:
    folder = Path(os.environ.get("RAY_TMPDIR") or gettempdir()) / "ray" / "session_latest" / "logs"
    found: dict[str, str] = {}
    for path in folder.glob(f"worker-*-{job}-*.err"):
        with path.open("rb") as file:
            if f" {part} ".encode() not in file.read(4000):
                continue
            file.seek(max(0, path.stat().st_size - _LONGEST))
            found[f"{address()}-{path.name}"] = file.read().decode("utf-8", "replace")
    return found
