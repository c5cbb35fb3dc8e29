"""The curious agent's ties to its trainers: networks that follow theirs, rollouts that go to them."""

from pathlib import Path

import redis
from pamiq_core.data import DataCollector
from pamiq_core.model import InferenceModel

from actors.following import FollowedModels
from actors.value_collector import ValueCollector
from common.config import RunConfig
from common.curiosity.models import training_models
from common.curiosity.rollout import ROLLOUTS
from common.errors import WireError
from common.model_channel import RedisModelSource
from common.status import WriterCounts
from common.stream import CaptureJournal, StreamKeys, StreamWriter, connect, rollouts_of

_SPOOL = 64
"""Rollouts that may wait while Redis is slow or gone; then the oldest is dropped and counted."""


class ActorMind:
    """Networks and rollouts of one actor.

    Args:
        run: The run's configuration; `redis_url` is where the stream is.
        stream: Id of the run's stream.
        actor: Name of the actor.
        folder: Where it keeps the journal of its rollouts.
    """

    def __init__(self, run: RunConfig, *, stream: str, actor: str, folder: Path) -> None:
        self._client = connect(run.redis_url)
        self._models = FollowedModels(
            training_models(run.curiosity, run.learner.model.dim, seed=run.seed),
            RedisModelSource(self._client, stream),
            name=actor,
            forgiven=(redis.RedisError, WireError),
        )
        self._journal = CaptureJournal(folder / f"{actor}.rollouts")
        self._writer = StreamWriter(
            lambda: connect(run.redis_url),
            keys=StreamKeys(rollouts_of(stream)),
            actor=actor,
            journal=self._journal,
            budget=run.curiosity.budget // run.actors.total,
            spool=_SPOOL,
        )
        self._last: WriterCounts | None = None
        self._collector = ValueCollector(ROLLOUTS, actor, self._writer)

    @property
    def models(self) -> dict[str, InferenceModel]:
        """The models that act, by name."""
        return dict(self._models.inference)

    @property
    def collectors(self) -> dict[str, DataCollector[object]]:
        """Where rollouts go, by buffer."""
        return {ROLLOUTS: self._collector}

    def start(self) -> None:
        """Begins to follow the trainers."""
        self._models.start()

    def check(self) -> WriterCounts:
        """Counts rollouts.

        Raises:
            BaseException: What ended a thread.
        """
        for failure in (self._models.failure, self._writer.failure):
            if failure is not None:
                raise failure
        return self._last or self._writer.counts()

    def versions(self) -> dict[str, int]:
        """Version of each model that acts."""
        return dict(self._models.versions)

    def close(self) -> None:
        """Writes what waits, and ends all threads."""
        self._models.close()
        self._writer.close()
        self._last = self._writer.counts()
        self._journal.close()
