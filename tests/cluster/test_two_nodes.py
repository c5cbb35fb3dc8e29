"""The parts that cross a node's border, on two Ray nodes: weights made on one act on the other."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# Ray is untyped in parts.

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest
import ray
import torch
from numpy.typing import NDArray
from ray.cluster_utils import Cluster

from common.messages import VersionInfo
from common.weights import PayloadKind, digest, pack, unpack
from deploy.registry import RayWeightSink, RayWeightSource, WeightRegistry
from tests.runs import wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]


class Maker:
    """Offers one version after another, as a learner would."""

    def __init__(self, sink: RayWeightSink) -> None:
        self._sink = sink

    def payload(self, version: int, kind: PayloadKind) -> NDArray[np.uint8]:
        return self._sink.payload(version, kind)

    def make(self, version: int) -> str:
        tensors = {"w": torch.full((1000, 1000), float(version))}
        info = VersionInfo(version=version, step=version, created_ns=0, system_time=0.0, digest=digest(tensors))
        payloads: Mapping[PayloadKind, bytes] = {PayloadKind.ENCODER: pack(tensors)}
        self._sink.offer(info, payloads)
        return info.digest

    def node(self) -> str:
        return ray.get_runtime_context().get_node_id()


class Reader:
    """Pulls what is newer, as an actor would."""

    def __init__(self, source: RayWeightSource) -> None:
        self._source = source
        self._version = 0

    def pull(self) -> tuple[int, str] | None:
        found = self._source.pull_if_newer(self._version, PayloadKind.ENCODER)
        if found is None:
            return None
        self._version = found[0].version
        return found[0].version, digest(unpack(found[1]))

    def node(self) -> str:
        return ray.get_runtime_context().get_node_id()


@pytest.fixture
def two_nodes() -> Iterator[None]:
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "resources": {"left": 4}})
    cluster.add_node(num_cpus=1, resources={"right": 4})
    cluster.connect()
    yield
    ray.shutdown()
    cluster.shutdown()


def remote(kind: type[Any], node: str, *arguments: Any, **options: Any) -> Any:
    return ray.remote(kind).options(num_cpus=0, resources={node: 1}, **options).remote(*arguments)


@pytest.mark.usefixtures("two_nodes")
def test_weights_cross_nodes_and_survive_their_maker() -> None:
    registry = remote(WeightRegistry, "right", max_concurrency=100)
    maker = remote(Maker, "left", RayWeightSink(registry), max_concurrency=4)
    reader = remote(Reader, "right", RayWeightSource(registry))
    assert ray.get(maker.node.remote()) != ray.get(reader.node.remote())
    made = {version: ray.get(maker.make.remote(version)) for version in (1, 2, 3)}
    pulled: list[tuple[int, str]] = []

    def newest() -> bool:
        found: Any = ray.get(reader.pull.remote())
        if found is not None:
            pulled.append(found)
        return bool(pulled) and pulled[-1][0] == 3

    wait_until(newest, 60, "version 3 on the other node")
    assert all(made[version] == found for version, found in pulled)
    ray.kill(maker)
    late = remote(Reader, "left", RayWeightSource(registry))
    assert ray.get(late.pull.remote()) == (3, made[3])
