"""Any pamiq-core trainers in a process of their own: the stream feeds their buffers, their models are published.

feed     stream ─► DataCollector of each DataUser      as data arrive, so that `min_new_data_count` counts them
thread   pamiq-core's: trainer.run() in turn ─► sync_models() ─► board
"""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, override

import redis
from pamiq_core.data import DataBuffer, DataUsersDict
from pamiq_core.model import TrainingModel, TrainingModelsDict
from pamiq_core.state_persistence import PersistentStateMixin
from pamiq_core.trainer import Trainer, TrainersDict

from common import saved_files
from common.errors import StreamError, WireError
from common.model_states import ModelSink, snapshot
from common.saved_files import SavedFiles
from common.stream import StreamKeys, StreamReader, connect
from common.system_clock import ClockReading
from common.thread_host import KeptTraining, ThreadHost
from common.values import unpack_value

_REST = 0.005
"""Seconds between two looks at a stream that had nothing new."""
_REFRESH = 0.5
"""Seconds between two looks for new actors."""

_log = logging.getLogger(__name__)


class PublishedModels(TrainingModelsDict):
    """Models whose `sync` publishes; no copy of them is made for inference, which happens elsewhere.

    Args:
        models: By name.
        sink: Where they are published.
    """

    @override
    def __init__(self, models: Mapping[str, TrainingModel[Any]], sink: ModelSink) -> None:
        self._sink = sink
        self._versions = Counter[str]()
        super().__init__(models)

    @override
    def __setitem__(self, key: str, model: TrainingModel[Any]) -> None:
        self.data[key] = model
        if model.has_inference_model:
            model.sync = partial(self.publish, key, always=False)

    def publish(self, name: str, *, always: bool = True) -> None:
        """Publishes a model; one that only ever acts does not change here, so it goes out only where it must."""
        model = self.data[name]
        if model.has_inference_model and (always or not model.inference_thread_only):
            self._versions[name] += 1
            self._sink.publish(name, self._versions[name], snapshot(model))

    def publish_all(self) -> None:
        """Publishes each: actors begin with the parameters that are here."""
        for name in self.data:
            self.publish(name)


class TrainerHost:
    """Hosts all trainers until they are stopped.

    Args:
        models: Makes the models.
        buffers: Makes the buffers.
        trainers: Makes the trainers.
        url: Redis server.
        stream: Id of the stream.
        sink: Where models are published.
        clock: System time of the control thread's process.
        rest: Seconds between two looks of the trainers' thread whether one may train; pamiq-core's loop never rests.
        positions: Where to read on, as `save_read` gave it; the beginning of the stream by default.
    """

    def __init__(
        self,
        models: Callable[[], Mapping[str, TrainingModel[Any]]],
        buffers: Callable[[], Mapping[str, DataBuffer[Any, Any]]],
        trainers: Callable[[], Mapping[str, Trainer]],
        *,
        url: str,
        stream: str,
        sink: ModelSink,
        clock: ClockReading,
        rest: float = 0.0,
        positions: Mapping[str, Mapping[str, int]] | None = None,
    ) -> None:
        self._models = PublishedModels(models(), sink)
        self._users = DataUsersDict.from_data_buffers(buffers())
        self._trainers = TrainersDict(trainers())
        self._trainers.attach_training_models(self._models)
        self._trainers.attach_data_users(self._users)
        self._saved: Mapping[str, PersistentStateMixin] = {
            "models": self._models,
            "data": self._users,
            "trainers": self._trainers,
        }
        self._client = connect(url)
        self._reader = StreamReader(self._client, keys=StreamKeys(stream), positions=positions)
        self._reading = threading.Lock()
        self._fed = 0
        self._refused = 0
        self._closing = threading.Event()
        self._feed = threading.Thread(target=self._run_feed, name="feed", daemon=True)
        self._failure: BaseException | None = None
        self._host = ThreadHost(KeptTraining(self._trainers, self._look), clock)
        self._rest = rest
        self.rounds = 0
        """How often the trainers' thread went round."""

    def save_read(self) -> tuple[SavedFiles, Mapping[str, Mapping[str, int]]]:
        """Gives the state of `data`, and how far each actor's data were read for it."""
        with self._reading:
            return self.save("data"), self._reader.state()

    def buffer_names(self) -> list[str]:
        """Names of the buffers, for which actors may collect."""
        return list(self._users)

    def publish(self) -> None:
        """Publishes all models as they are now."""
        self._models.publish_all()

    def start(self, clock: ClockReading) -> None:
        """Begins to train."""
        self._feed.start()
        self._host.start(clock)

    def pause(self, timeout: float) -> bool:
        """Stands still after the training under way; returns whether it does after so many seconds."""
        return self._host.pause(timeout)

    def resume(self, clock: ClockReading) -> None:
        """Goes on."""
        self._host.resume(clock)

    def check(self) -> dict[str, int]:
        """Counts data: `fed` to buffers, `missed` in the stream, `refused` because no value could be made of them.

        Raises:
            BaseException: What ended the training or the feed.
        """
        self._host.check()
        self._check_feed()
        positions = self._reader.positions.values()
        lost = sum(position.missed + position.quarantined for position in positions)
        return {"fed": self._fed, "missed": lost, "refused": self._refused}

    def drain(self, timeout: float) -> dict[str, int]:
        """Feeds all that the actors have written by now; to be called while they stand still.

        Raises:
            StreamError: It takes longer than so many seconds.
        """
        end = threading.Event()
        timer = threading.Timer(timeout, end.set)
        timer.start()
        try:
            while True:
                with self._reading:
                    self._reader.refresh()
                    self._take()
                    unread = sum(self._reader.unread().values())
                if not unread:
                    return self.check()
                if end.is_set():
                    raise StreamError(f"{unread} data are still unread after {timeout:g} s")
        finally:
            timer.cancel()

    def stop(self, timeout: float) -> None:
        """Ends training; what the actors have written is still fed, and states can still be saved."""
        self._host.stop(timeout)
        self._closing.set()
        if self._feed.is_alive():
            self._feed.join(timeout)

    def save(self, name: str) -> SavedFiles:
        """Gives the state of `models`, `data` or `trainers`."""
        return saved_files.save(self._saved[name].save_state, name)

    def load(self, name: str, files: SavedFiles) -> None:
        """Takes the state of `models`, `data` or `trainers`; models are published anew."""
        saved_files.load(self._saved[name].load_state, name, files)
        if name == "models":
            self._models.publish_all()

    def _look(self) -> None:
        self.rounds += 1
        self._check_feed()
        if self._rest:
            self._closing.wait(self._rest)

    def _check_feed(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _run_feed(self) -> None:
        try:
            rounds = 0
            while not self._closing.is_set():
                try:
                    with self._reading:
                        if rounds % round(_REFRESH / _REST) == 0:
                            self._reader.refresh()
                        taken = self._take()
                    rounds += 1
                except redis.RedisError as error:
                    _log.warning("the stream cannot be read (%s: %s); trying again", type(error).__name__, error)
                    self._closing.wait(1.0)
                    continue
                if not taken:
                    self._closing.wait(_REST)
        except BaseException as error:  # handed to the thread of the trainers
            _log.exception("the feed failed")
            self._failure = error

    def _take(self) -> int:
        data = self._reader.read()
        for datum in data:
            try:
                value = unpack_value(datum.data)
                self._users.data_collectors_dict[datum.buffer].collect(value)
                self._fed += 1
            except (WireError, KeyError) as error:
                self._refused += 1
                _log.error("%s, datum %d: %s", datum.actor, datum.seq, error)
        return len(data)
