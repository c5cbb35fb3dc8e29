"""What a run may come to need of this machine's memory, known before anything starts.

Every bound is the configuration's own: the replay buffer and the spools are reserved address space that fills up over
hours, so that a machine too small for them would fail in the night instead of now.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import psutil

from common.config import Keep, ModelConfig, PayloadDtype, RunConfig
from common.config.learner import GuardMode
from common.errors import ConfigError
from deploy.store import server_limit

PROCESS = 350 * 2**20
"""Bytes of a part beside its data: interpreter, torch, Ray (measured: 250 to 400 MiB)."""
RELAYED = 3
"""Versions of the weights that Redis holds at most: the newest, the one before, one on its way."""
OFFERED = 4
"""Versions that the learner holds at most: the newest, the newest published, two that wait for the registry."""
_CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Need:
    """What one setting asks for.

    Attributes:
        setting: Dotted path of the field that decides it.
        what: What it is for.
        size: Bytes.
    """

    setting: str
    what: str
    size: int


def encoder_floats(model: ModelConfig) -> int:
    """Parameters of one encoder: 12 D² a block (attention 4, MLP 2 × ratio), without the small change."""
    return round((4 + 2 * model.mlp_ratio) * model.dim**2 * model.depth)


def predictor_floats(model: ModelConfig) -> int:
    """Parameters of the predictor, likewise."""
    return round((4 + 2 * model.predictor_mlp_ratio) * model.predictor_dim**2 * model.predictor_depth)


_NETWORKS = 32 * 2**20
"""Bytes of the curious agent's networks in Redis, some versions of each."""


def relay_bytes(run: RunConfig) -> int:
    """Room that weights, and the curious agent's rollouts and networks, need in Redis: 0 where they do not go there."""
    weights = RELAYED * 4 * encoder_floats(run.learner.model) if run.stream.weights or run.actors.edge else 0
    return weights + (run.curiosity.budget + _NETWORKS if run.curious else 0)


def object_store_bytes(*runs: RunConfig) -> int:
    """Size of Ray's object store: two checkpoints of each learner on their way to disk, and its registry's versions."""
    states = sum(buffer_bytes(run) + checkpoint_bytes(run) + experience_bytes(run) for run in runs)
    return 2 * states + sum(map(_registry_bytes, runs)) + 512 * 2**20


def needs(run: RunConfig) -> list[Need]:
    """Lists what a run needs, by the setting that decides it."""
    frame = _frame_bytes(run)
    spool = min(run.actors.spool_bytes, round(run.actors.spool * run.actors.fps) * frame)
    parts = run.actors.count + run.learner.ranks + 2 + run.curious  # evaluator, driver, trainers
    found = [
        *_learning_needs(run),
        Need("actors.spool_bytes", "frames that wait while Redis is away", run.actors.count * spool),
        Need("actors.count", "the processes themselves", parts * PROCESS),
    ]
    if not run.redis_url:
        found.append(Need("stream.budget", "the embedded server", server_limit(run.stream.budget, relay_bytes(run))))
    return found


def member_needs(run: RunConfig) -> list[Need]:
    """Lists what one more learner on the stream of a run needs, with its evaluator and its registry."""
    return [*_learning_needs(run), Need("learner.ranks", "its processes", (run.learner.ranks + 2) * PROCESS)]


def _learning_needs(run: RunConfig) -> list[Need]:
    return [
        # In the learner, in its snapshot, in Ray's object store, and once more while it is written to disk.
        Need("learner.replay.capacity", "the replay buffer and its checkpoint", 4 * buffer_bytes(run)),
        Need("learner.model", "the networks and their checkpoint", (3 + run.learner.ranks) * checkpoint_bytes(run)),
        *_guardrail_needs(run),
        Need("learner.versions_kept", "versions of the weights", _registry_bytes(run) + OFFERED * _version_bytes(run)),
        Need("evaluator.experiences", "experiences that are followed, and their state", 4 * experience_bytes(run)),
    ]


def available_bytes() -> int:
    """Memory that this process and its children may still take: the machine's, or what its control group leaves."""
    free = int(psutil.virtual_memory().available)
    try:
        limit, used = (_CGROUP / "memory.max").read_text("ascii"), (_CGROUP / "memory.current").read_text("ascii")
        cached = dict(line.split() for line in (_CGROUP / "memory.stat").read_text("ascii").splitlines())
        if limit.strip() != "max":
            free = min(free, int(limit) - int(used) + int(cached.get("inactive_file", 0)))
    except (OSError, ValueError):  # no such control group here
        pass
    return free


def check_memory(
    run: RunConfig, available: int | None = None, *, name: str = "", others: Mapping[str, RunConfig] | None = None
) -> None:
    """Makes sure that what the run may come to need is there.

    Args:
        run: The configuration.
        available: Bytes that may be taken; by default what this machine has now.
        name: Name of the run's learner in a cohort.
        others: The other members of the cohort, by name.

    Raises:
        ConfigError: It is not; the error names the setting that asks for most, and whose it is.
    """
    free = available_bytes() if available is None else available
    asked = [(name, run, need) for need in needs(run)]
    asked += [(member, config, need) for member, config in (others or {}).items() for need in member_needs(config)]
    total = sum(need.size for _, _, need in asked)
    if total <= free:
        return
    asked.sort(key=lambda one: -one[2].size)
    member, config, most = asked[0]
    value: Any = reduce(getattr, most.setting.split("."), config)
    if most.setting == "learner.model":
        value = f"{value.dim} wide, {value.depth} deep"
    parts = ", ".join(
        f"{gib(need.size)} for {need.what}{f' of {whose}' if whose else ''}" for whose, _, need in asked if need.size
    )
    field = f"{member}: {most.setting}" if member else most.setting
    raise ConfigError(field, value, f"the run may need {gib(total)} of memory, {gib(free)} are free: {parts}; lower it")


def _frame_bytes(run: RunConfig) -> int:
    return run.world.image_size[0] * run.world.image_size[1] * 3


def buffer_bytes(run: RunConfig) -> int:
    """The replay buffer: frames, and the float32 features that `minred` keeps of each."""
    features = 4 * run.learner.model.dim if run.learner.replay.keep is Keep.MINRED else 0
    return run.learner.replay.capacity * (_frame_bytes(run) + features)


def experience_bytes(run: RunConfig) -> int:
    """The frames of all experiences that the evaluator follows."""
    if not run.evaluator.enabled:
        return 0
    return run.evaluator.experiences * run.evaluator.frames_per_experience * _frame_bytes(run)


def checkpoint_bytes(run: RunConfig) -> int:
    """Parameters and moments of what is trained, and the target encoder, float32."""
    model = run.learner.model
    return 4 * (4 * encoder_floats(model) + 3 * predictor_floats(model))


def _guardrail_needs(run: RunConfig) -> list[Need]:
    """The last healthy weights, which only a guardrail that rolls back keeps."""
    if run.learner.guardrail.mode is not GuardMode.ROLLBACK:
        return []
    size = run.learner.ranks * checkpoint_bytes(run)
    return [Need("learner.guardrail.mode", "the last healthy networks and moments", size)]


def _version_bytes(run: RunConfig) -> int:
    """What is published of one version: the target encoder, and all three networks."""
    model = run.learner.model
    size = 2 if run.learner.payload_dtype is PayloadDtype.BF16 else 4
    return size * (3 * encoder_floats(model) + predictor_floats(model))


def _registry_bytes(run: RunConfig) -> int:
    """The versions kept, the newest published one where it is older, and one that is arriving."""
    return (run.learner.versions_kept + 2) * _version_bytes(run)


def gib(size: int) -> str:
    """Writes a size as a person reads it."""
    return f"{size / 2**30:.1f} GiB"
