"""Learner or registry killed while weights are on their way: whole versions or none, and all is back within 10 s."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# Ray is untyped in parts.

import os
import signal
import threading
import time
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import ray
from numpy.typing import NDArray
from ray.exceptions import RayActorError

from actors.context import StepContext
from actors.inference import FollowingEncoder
from common.config import ModelConfig
from common.ijepa.vit import VisionTransformer
from common.messages import VersionInfo
from common.process import settle
from common.weights import PayloadKind, digest, pack
from deploy.cluster import LocalCluster, prepare_environment
from deploy.memory import object_store_bytes
from deploy.registry import RayWeightSink, RayWeightSource, WeightRegistry
from tests.runs import small_run, wait_until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(180)]

RECOVERY = 10.0
"""Seconds after a fault until all is as before."""
MODEL = ModelConfig(patch_size=8, dim=48, depth=2, heads=2)
IMAGE = (48, 48)
LARGE = 40 * 10**6
"""Bytes of a payload that takes some time to fetch."""


def payload_of(version: int, size: int) -> bytes:
    return np.random.default_rng(version).bytes(size)


def hash_of(payload: bytes | memoryview) -> str:
    return blake2b(payload, digest_size=16).hexdigest()


def info_of(version: int, hashed: str) -> VersionInfo:
    return VersionInfo(version=version, step=version, created_ns=time.time_ns(), system_time=0.0, digest=hashed)


class Learner:
    """Offers versions, and may hold back a payload that the registry has come for."""

    def __init__(self, sink: RayWeightSink) -> None:
        settle(part="learner", threads=1)
        self._sink = sink
        self._held_back = False
        self._asked = threading.Event()
        self._never = threading.Event()

    def process(self) -> int:
        return os.getpid()

    def hold_back(self) -> None:
        self._held_back = True

    def asked(self) -> bool:
        """Waits until the registry has come for a payload that is held back."""
        return self._asked.wait(RECOVERY)

    def payload(self, version: int, kind: PayloadKind) -> NDArray[np.uint8]:
        if self._held_back:
            self._asked.set()
            self._never.wait()
        return self._sink.payload(version, kind)

    def offer(self, version: int, size: int) -> None:
        payload = payload_of(version, size)
        self._sink.offer(info_of(version, hash_of(payload)), {PayloadKind.ENCODER: payload})

    def publish_for_good(self, version: int, every: float) -> None:
        """Offers the weights of one network under one number after the other."""
        threading.Thread(target=self._publish, args=(version, every), daemon=True).start()

    def _publish(self, version: int, every: float) -> None:
        while not self._never.wait(every):
            weights = VisionTransformer(MODEL, IMAGE).state_dict()
            self._sink.offer(info_of(version, digest(weights)), {PayloadKind.ENCODER: pack(weights)})
            version += 1

    def outcome(self) -> tuple[int, int]:
        return self._sink.acknowledged, self._sink.abandoned


class Actor:
    """Acts at 20 FPS on what a `FollowingEncoder` has."""

    def __init__(self, source: RayWeightSource) -> None:
        settle(part="actor", threads=1)
        self._source = source
        encoder = FollowingEncoder(MODEL, IMAGE, context=StepContext(), source=source, every=0.2, seed=0)
        self._encoder = encoder
        self._steps: list[tuple[float, int]] = []
        threading.Thread(target=self._act, daemon=True).start()

    def _act(self) -> None:
        frame = np.zeros((*IMAGE, 3), np.uint8)
        while True:
            self._encoder.infer(frame)
            self._steps.append((time.monotonic(), self._encoder.version))
            time.sleep(0.05)

    def version(self) -> int:
        return self._encoder.version

    def steps(self) -> list[tuple[float, int]]:
        """Moment and version of each step."""
        return list(self._steps)


class Reader:
    """Asks the registry once."""

    def __init__(self, source: RayWeightSource) -> None:
        self._source = source

    def process(self) -> int:
        return os.getpid()

    def pull(self, version: int) -> tuple[int, str, str, float] | None:
        """The newest version after this one, its hash as announced and as arrived, and the seconds it took."""
        began = time.monotonic()
        found = self._source.pull_if_newer(version, PayloadKind.ENCODER)
        if found is None:
            return None
        return found[0].version, found[0].digest, hash_of(found[1]), time.monotonic() - began


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Any]:
    """A registry, made as a run makes it, in a cluster made as local mode makes it."""
    prepare_environment()
    cluster = LocalCluster(object_store_bytes(small_run(tmp_path / "run", tmp_path / "cache")))
    cluster.start()
    options = {"num_cpus": 0, "max_concurrency": 1000, "max_restarts": -1, "max_task_retries": 0}
    try:
        yield ray.remote(WeightRegistry).options(**options).remote()
    finally:
        cluster.stop()


def remote(kind: type[Any], end: object, *, calls: int = 1) -> Any:
    made: Any = ray.remote(kind)
    return made.options(num_cpus=0, max_concurrency=calls, max_restarts=0).remote(end)


def learners_of(registry: Any, count: int) -> list[Any]:
    """Learners whose processes are up: how long torch takes to load is not under test."""
    learners = [remote(Learner, RayWeightSink(registry), calls=8) for _ in range(count)]
    get([learner.process.remote() for learner in learners])
    return learners


def readers_of(registry: Any, count: int) -> list[Any]:
    """Readers whose processes are up."""
    readers = [remote(Reader, RayWeightSource(registry)) for _ in range(count)]
    get([reader.process.remote() for reader in readers])
    return readers


def get(reference: Any) -> Any:
    return ray.get(reference, timeout=60)


def newest(registry: Any) -> int:
    try:
        info = get(registry.newest.remote())
    except RayActorError:
        return 0
    return info.version if info else 0


def kill(actor: Any) -> None:
    os.kill(get(actor.process.remote()), signal.SIGKILL)


def is_whole(pulled: tuple[int, str, str, float] | None, versions: set[int], size: int) -> int:
    """The version that was pulled: one of these, all of its bytes."""
    assert pulled is not None
    version, announced, arrived, seconds = pulled
    assert version in versions
    assert announced == arrived == hash_of(payload_of(version, size))
    assert seconds < RECOVERY
    return version


def test_a_learner_killed_while_the_registry_fetches_leaves_the_version_before(registry: Any) -> None:
    (dying, successor), (reader, late) = learners_of(registry, 2), readers_of(registry, 2)
    get(dying.offer.remote(1, 1000))
    wait_until(lambda: newest(registry) == 1, 30, "the first version")
    assert is_whole(get(reader.pull.remote(0)), {1}, 1000) == 1
    get(dying.hold_back.remote())
    get(dying.offer.remote(2, 1000))
    assert get(dying.asked.remote()), "the registry did not come"
    kill(dying)
    ended = time.monotonic()

    assert get(reader.pull.remote(1)) is None
    assert is_whole(get(late.pull.remote(0)), {1}, 1000) == 1
    get(successor.offer.remote(2, 1000))
    wait_until(lambda: newest(registry) == 2, RECOVERY, "the new learner's version")
    for one in (reader, late):
        assert is_whole(get(one.pull.remote(1)), {2}, 1000) == 2
    assert time.monotonic() - ended < RECOVERY


@pytest.mark.parametrize("delay", [0.0, 0.005, 0.01, 0.02, 0.04, 0.08])
def test_a_learner_killed_in_the_middle_of_a_transfer_leaves_whole_versions(registry: Any, delay: float) -> None:
    (dying, successor), (reader, late) = learners_of(registry, 2), readers_of(registry, 2)
    process = get(dying.process.remote())
    get(dying.offer.remote(1, LARGE))
    wait_until(lambda: newest(registry) == 1, 30, "the first version")
    get(dying.offer.remote(2, LARGE))
    time.sleep(delay)
    os.kill(process, signal.SIGKILL)
    ended = time.monotonic()
    is_whole(get(reader.pull.remote(0)), {1, 2}, LARGE)
    get(successor.offer.remote(3, LARGE))
    wait_until(lambda: newest(registry) == 3, RECOVERY, "the new learner's version")
    for one in (reader, late):
        assert is_whole(get(one.pull.remote(0)), {3}, LARGE) == 3
    assert time.monotonic() - ended < RECOVERY


def test_a_killed_registry_is_filled_by_the_next_version_while_actors_act(registry: Any) -> None:
    (learner,), late = learners_of(registry, 1), readers_of(registry, 2)
    actors = [remote(Actor, RayWeightSource(registry)) for _ in range(2)]
    get(learner.publish_for_good.remote(1, 0.5))
    wait_until(lambda: all(get(actor.version.remote()) >= 2 for actor in actors), 60, "acting on the second version")
    for joiner in late:
        acting = max(get(actor.version.remote()) for actor in actors)
        registry_process().kill()
        killed = time.monotonic()
        for actor in actors:
            wait_until(
                lambda actor=actor, than=acting + 1: get(actor.version.remote()) > than, RECOVERY, "newer weights"
            )
        version, _, _, seconds = get(joiner.pull.remote(0))
        assert version > acting
        assert seconds < 1.0
        assert time.monotonic() - killed < RECOVERY
    acknowledged, abandoned = get(learner.outcome.remote())
    assert acknowledged >= 6
    assert abandoned >= 1
    for actor in actors:
        moments, versions = zip(*get(actor.steps.remote()), strict=True)
        assert max(np.diff(moments)) < 1.0, "an actor stood still"
        assert list(versions) == sorted(versions)


def registry_process() -> psutil.Process:
    family = psutil.Process().children(recursive=True)
    (found,) = [one for one in family if "ray::WeightRegistry" in " ".join(one.cmdline())]
    return found
