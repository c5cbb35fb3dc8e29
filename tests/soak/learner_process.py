"""One learner whose weights go over Redis: `python -m tests.soak.learner_process '{"url": …, "folder": …}'`.

    learner ── offer ─► registry (its memory alone, in this process) ◄── pull_if_newer ── relay ─► Redis

`learner.json` is its status, each second. On SIGTERM it reads what is left, saves itself in `checkpoints` and ends.
"""

import json
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from common.broadcast import WeightKeys
from common.messages import VersionInfo
from common.status import LearnerStatus
from common.stream import connect
from common.weights import PayloadKind, StoredVersion, VersionStore
from deploy.relay import WeightRelay
from learner.checkpoint import save
from learner.shell import LearnerShell
from tests.faults.writer_process import dump
from tests.soak.conditions import STREAM, soak_run, until_terminated

SNAPSHOT_EVERY = 30.0
"""Seconds."""
SAVED = 10
"""Of so many snapshots one goes to disk: each has 300 MB."""
DRAIN = 30.0
"""Seconds that reading what is left may take."""


class Registry:
    """The registry's two ends around its memory, without Ray between them.

    Args:
        keep: Versions that are kept.
    """

    def __init__(self, keep: int) -> None:
        self._store = VersionStore[bytes](keep)
        self._lock = threading.Lock()
        self.acknowledged = 0
        self.abandoned = 0

    def offer(self, info: VersionInfo, payloads: Mapping[PayloadKind, bytes]) -> None:
        with self._lock:
            kept = self._store.add(StoredVersion(info, payloads))
            self.acknowledged += kept
            self.abandoned += not kept

    def payload(self, version: int, kind: PayloadKind) -> NDArray[np.uint8]:
        with self._lock:
            found = self._store.version(version, kind)
        if found is None:
            raise KeyError(version)
        return np.frombuffer(found[1], np.uint8)

    def pull_if_newer(self, version: int, kind: PayloadKind, wait: float = 0.0) -> tuple[VersionInfo, bytes] | None:
        with self._lock:
            return self._store.newer(version, kind)


def main(url: str, folder: Path) -> None:
    ended = until_terminated()
    run = soak_run(url)
    registry = Registry(run.learner.versions_kept)
    relay = WeightRelay(registry, lambda: connect(url), WeightKeys(STREAM), every=run.learner.publish_every / 4)
    learner = LearnerShell(run, stream=STREAM, sink=registry, checkpoint=None, version=0)
    checkpoints = folder / "checkpoints"

    def tell(status: LearnerStatus) -> None:
        dump("learner", asdict(status) | {"relayed": relay.version, "metrics_port": learner.metrics_port()}, folder)

    snapshots = written = 0
    due = time.monotonic() + SNAPSHOT_EVERY
    while not ended.wait(1.0):
        tell(learner.status())
        if time.monotonic() >= due:
            due += SNAPSHOT_EVERY
            snapshots += 1
            snapshot = learner.snapshot(written)
            if snapshots % SAVED == 0:
                save(snapshot, checkpoints, keep=1)
                written = snapshot.state["number"]
            del snapshot  # else two of them at the next
    status, last = learner.stop(DRAIN)
    save(last, checkpoints, keep=1)
    end = time.monotonic() + DRAIN
    while relay.version < status.version and time.monotonic() < end:
        time.sleep(0.05)
    relay.close()
    tell(status)
    dump("published", {str(version): hashed for version, hashed in learner.published().items()}, folder)


if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    main(asked["url"], Path(asked["folder"]))
