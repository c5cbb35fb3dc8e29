"""What every node of a Ray cluster has: one small task on each says which Python, packages and code are there.

`python -m deploy.doctor.nodes ADDRESS` prints the same as JSON, from a process of its own.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownLambdaType=false
# Ray's answers are untyped.

import json
import logging
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from deploy.nodes import VERSION_LABEL, here

_TRIES = 4
"""Questions about the time a node is asked; the quickest answer is the most exact."""
_SILENT = "does not answer"


@dataclass(frozen=True, kw_only=True)
class NodeFacts:
    """One node.

    Attributes:
        id: Ray's name of it.
        host: The host's name.
        address: Where other nodes reach it.
        joined_with: The code that it had when it joined (`deploy.nodes.VERSION_LABEL`); empty without that label.
        resources: What it offers, by name: `CPU`, `GPU`, `vrchat` and so on.
        here: Whether this process is on it.
        trouble: Why it said nothing; empty where it answered. All that follows is empty then.
        python: Version of Python.
        ray: Version of Ray.
        torch: Version of torch; empty without it.
        engram: Version of pamiq-engram; empty without it.
        code: Release and digest of the code that tasks find there now (`deploy.version`); empty without it.
        offset: Seconds that its clock is ahead of this host's.
        within: Error of that, seconds.
    """

    id: str
    host: str
    address: str
    joined_with: str = ""
    resources: Mapping[str, float] = field(default_factory=dict[str, float])
    here: bool = False
    trouble: str = ""
    python: str = ""
    ray: str = ""
    torch: str = ""
    engram: str = ""
    code: str = ""
    offset: float = 0.0
    within: float = 0.0


def _asks() -> tuple[Callable[[], dict[str, str]], Callable[[], float]]:
    """The two tasks; made in a function, so that they travel as they are: a node may have none of our code."""

    def look() -> dict[str, str]:
        import platform
        from importlib.metadata import PackageNotFoundError, version

        found = {"python": platform.python_version()}
        for name, package in (("ray", "ray"), ("torch", "torch"), ("engram", "pamiq-engram")):
            try:
                found[name] = version(package)
            except PackageNotFoundError:
                found[name] = ""
        try:
            from deploy.version import code_version

            found["code"] = code_version()
        except ImportError:
            found["code"] = ""
        return found

    def now() -> float:
        import time

        return time.time()

    return look, now


def node_facts(timeout: float = 30.0) -> tuple[NodeFacts, ...]:
    """Asks every living node, all at once; Ray must be up (`ray.init`).

    Args:
        timeout: Seconds to wait for the slowest.

    Returns:
        One record a node, in the order of their addresses.
    """
    look, now = (ray.remote(num_cpus=0, max_retries=0)(task) for task in _asks())
    alive = sorted((node for node in ray.nodes() if node["Alive"]), key=lambda node: node["NodeManagerAddress"])
    places = [NodeAffinitySchedulingStrategy(node["NodeID"], soft=False) for node in alive]
    asked = [look.options(scheduling_strategy=place).remote() for place in places]
    there = set(ray.wait(asked, num_returns=len(asked), timeout=timeout)[0]) if asked else set[Any]()
    return tuple(
        _facts(node, reference if reference in there else None, now.options(scheduling_strategy=place), timeout)
        for node, place, reference in zip(alive, places, asked, strict=True)
    )


def _facts(node: Mapping[str, Any], answer: Any, clock: Any, timeout: float) -> NodeFacts:
    known: dict[str, Any] = {
        "id": node["NodeID"],
        "host": node["NodeManagerHostname"],
        "address": node["NodeManagerAddress"],
        "joined_with": (node.get("Labels") or {}).get(VERSION_LABEL, ""),
        "resources": node["Resources"],
        "here": node["NodeID"] == here(),
    }
    if answer is None:
        return NodeFacts(**known, trouble=_SILENT)
    try:
        offset, within = min((_offset(clock, timeout) for _ in range(_TRIES)), key=lambda one: one[1])
        known |= ray.get(answer)
    except Exception as error:  # of the node, whatever it is: Ray wraps what a task raised
        words = str(error).strip().splitlines()
        return NodeFacts(**known, trouble=words[-1][:200] if words else _SILENT)
    return NodeFacts(**known, offset=offset, within=within)


def _offset(clock: Any, timeout: float) -> tuple[float, float]:
    before = time.time()
    there: Any = ray.get(clock.remote(), timeout=timeout)
    after = time.time()
    return there - (before + after) / 2, (after - before) / 2


def main(words: list[str]) -> int:
    """Prints what the nodes of a cluster have, as JSON."""
    ray.init(address=words[0], log_to_driver=False, logging_level=logging.ERROR)
    try:
        print(json.dumps([asdict(node) for node in node_facts()]))
    finally:
        ray.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
