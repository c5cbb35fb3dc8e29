"""What the arrival of new weights costs the frame loop: steps of an encoder with and without 100 MB every few seconds.

    learner's place ── offer every 3 s ─► registry ◄─ pull ── FollowingEncoder, one thread of torch, on frames 96×96

Phases with and without arrivals follow each other in turns; steps are pooled by kind, since a phase alone has too few
for a 99th percentile.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# Ray's handles are untyped.

import time
from typing import Any

import numpy as np
import ray
from numpy.typing import NDArray

from actors.context import StepContext
from actors.inference import FollowingEncoder
from common.config import LearnerConfig, ModelConfig
from common.ijepa.vit import VisionTransformer
from common.messages import VersionInfo
from common.process import settle
from common.weights import PayloadKind, digest, pack
from deploy.registry import RayWeightSink, RayWeightSource, WeightRegistry
from tests.bench.cluster import private_cluster
from tests.bench.measure import Result

MODEL = ModelConfig(patch_size=24, dim=768, depth=7, heads=12)
"""50 million parameters in the encoder, 100 MB in bf16; 16 tokens a frame."""
IMAGE = (96, 96)
EVERY = 3.0
"""Seconds between versions."""
PHASE = 30.0
PAIRS = 3
PACES = {"10 FPS": 10.0, "without a pause": 0.0}


class Maker:
    """The learner's place."""

    def __init__(self, sink: RayWeightSink) -> None:
        settle(part="learner", threads=1, nice=LearnerConfig().nice)
        self._sink = sink
        tensors = VisionTransformer(MODEL, IMAGE).state_dict()
        self._digest, self._payload = digest(tensors), pack(tensors)
        self._version = 0

    def offer(self) -> int:
        """Offers the next version; returns its size, bytes."""
        self._version += 1
        info = VersionInfo(
            version=self._version, step=0, created_ns=time.time_ns(), system_time=0.0, digest=self._digest
        )
        self._sink.offer(info, {PayloadKind.ENCODER: self._payload})
        return len(self._payload)

    def payload(self, version: int, kind: PayloadKind) -> NDArray[np.uint8]:
        """What the registry fetches."""
        return self._sink.payload(version, kind)


class Looker:
    """An actor's place."""

    def __init__(self, source: RayWeightSource) -> None:
        settle(part="actor", threads=1)
        self._encoder = FollowingEncoder(MODEL, IMAGE, context=StepContext(), source=source, every=1.0, seed=0)
        self._frame = np.random.default_rng(0).integers(0, 256, (*IMAGE, 3), dtype=np.uint8)

    def look(self, seconds: float, fps: float) -> tuple[list[float], int]:
        """Encodes frames at a pace, 0 for as fast as it goes; returns step times and how many versions came."""
        times: list[float] = []
        before = self._encoder.version
        end = time.perf_counter() + seconds
        due = time.perf_counter()
        while (began := time.perf_counter()) < end:
            self._encoder.infer(self._frame)
            times.append(time.perf_counter() - began)
            if fps:
                due += 1 / fps
                time.sleep(max(0.0, due - time.perf_counter()))
        return times, self._encoder.version - before


def inference() -> list[Result]:
    """The 99th percentile of `FollowingEncoder.infer` while a 100 MB version arrives every few seconds ÷ without."""
    results: list[Result] = []
    with private_cluster(2 * 2**30):
        registry: Any = ray.remote(WeightRegistry).options(num_cpus=0, max_concurrency=1000).remote()
        maker: Any = ray.remote(Maker).options(num_cpus=0, max_concurrency=8).remote(RayWeightSink(registry))
        looker: Any = ray.remote(Looker).options(num_cpus=0).remote(RayWeightSource(registry))
        size: Any = ray.get(maker.offer.remote())
        ray.get(looker.look.remote(5.0, 10.0))
        for name, fps in PACES.items():
            steps: dict[bool, list[float]] = {True: [], False: []}
            arrived = 0
            for number in range(2 * PAIRS):
                arriving = number % 4 in (0, 3)
                times, versions = _phase(looker, maker, fps, arriving=arriving)
                steps[arriving] += times
                arrived += versions
            with_ms, without_ms = (float(np.percentile(steps[kind], 99)) * 1e3 for kind in (True, False))
            usual = float(np.median(steps[False])) * 1e3
            what = f"infer() p99, {name}, {arrived} versions of {size / 1e6:.0f} MB"
            limit = f"{without_ms:.1f} ms without (median {usual:.1f} ms)"
            results.append(
                Result(what=what, ours=f"{with_ms:.1f} ms", limit=limit, ratio=with_ms / without_ms, most=1.3)
            )
    return results


def _phase(looker: Any, maker: Any, fps: float, *, arriving: bool) -> tuple[list[float], int]:
    """One phase; the offers come at a moment that is none of the frame loop's."""
    looking = looker.look.remote(PHASE, fps)
    due = time.monotonic() + 0.37
    end = time.monotonic() + PHASE - EVERY
    while arriving and time.monotonic() < end:
        time.sleep(max(0.0, due - time.monotonic()))
        ray.get(maker.offer.remote())
        due += EVERY
    found: Any = ray.get(looking)
    return found
