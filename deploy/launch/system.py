"""Builds a distributed pamiq-core system from factories, runs it, and takes it down."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# Ray's handles are untyped.

import inspect
import logging
import secrets
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import pamiq_core
import ray
from pamiq_core import time
from pamiq_core.data import DataBuffer
from pamiq_core.interaction import Interaction
from pamiq_core.model import TrainingModel
from pamiq_core.state_persistence import StateStore
from pamiq_core.trainer import Trainer

from actors.interaction_host import InteractionHost
from common.errors import ConfigError, RunError
from common.status import WriterCounts
from common.stream import StreamKeys, check_server, connect, remove
from common.system_clock import ClockReading
from deploy.cluster import LocalCluster, prepare_environment
from deploy.guardian import Guardian
from deploy.launch.board import BoardSink, BoardSource, ModelBoard
from deploy.launch.config import LaunchConfig
from deploy.launch.control import Control
from deploy.launch.remote import (
    ENDING,
    InteractionStates,
    Remote,
    RemoteInteractions,
    RemoteTrainers,
    TrainerStates,
)
from deploy.store import EmbeddedStore
from learner.trainer_host import TrainerHost

_OBJECTS = 512 * 2**20
"""Bytes of Ray's object store: models on their way."""

type InteractionFactory = Callable[[], Interaction[Any, Any]] | Callable[[int], Interaction[Any, Any]]
type ModelsFactory = Callable[[], Mapping[str, TrainingModel[Any]]]
type BuffersFactory = Callable[[], Mapping[str, DataBuffer[Any, Any]]]
type TrainersFactory = Callable[[], Mapping[str, Trainer]]

_log = logging.getLogger(__name__)


def launch(
    interaction: InteractionFactory,
    models: ModelsFactory,
    buffers: BuffersFactory,
    trainers: TrainersFactory,
    config: Mapping[str, Any] | pamiq_core.LaunchConfig | None = None,
) -> None:
    """Launches a pamiq-core system whose interactions and trainers live in processes of their own.

    Like `pamiq_core.launch`, but each part is given as a function that makes it: it is called in the process where the
    part lives. Blocks until the system is shut down, by its web API, its uptime, Ctrl-C or a failure, and saves its
    state then. States are those of `pamiq_core.launch`: what one has saved, the other loads.

    Args:
        interaction: Makes the interaction of one actor; is given the actor's number, from 0, if it takes an argument.
        models: Makes the models; called in the trainers' process and in each actor's.
        buffers: Makes the buffers; called in the trainers' process.
        trainers: Makes the trainers; called in the trainers' process.
        config: As in pamiq-core, or a `LaunchConfig` with more.

    Raises:
        ConfigError: A setting is unknown or cannot be; nothing was started.
        RunError: A part failed or died. The state was saved as far as it could be.
    """
    settings = LaunchConfig.of(config)
    factories = {"interaction": interaction, "models": models, "buffers": buffers, "trainers": trainers}
    for name, factory in factories.items():
        if not callable(factory):
            raise ConfigError(name, type(factory).__name__, "must be a function that makes it, such as lambda: …")
    stream = f"launch-{secrets.token_hex(4)}"
    prepare_environment()
    with _cluster() as guardian, _server(settings, stream, guardian) as url:
        _System(interaction, models, buffers, trainers, settings, url=url, stream=stream).run()


class _System:
    """All parts of one system."""

    def __init__(
        self,
        interaction: InteractionFactory,
        models: ModelsFactory,
        buffers: BuffersFactory,
        trainers: TrainersFactory,
        config: LaunchConfig,
        *,
        url: str,
        stream: str,
    ) -> None:
        self._config = config
        self._board: Any = ray.remote(ModelBoard).options(num_cpus=0, max_concurrency=1000).remote()
        self._trainers = Remote("trainers", threads=config.threads, options=config.trainer_options)
        self._actors = [
            Remote(f"actor-{number}", threads=config.threads, options=config.interaction_options)
            for number in range(config.actors)
        ]
        where = {"url": url, "stream": stream, "clock": ClockReading.take()}
        self._trainers.build(TrainerHost, models, buffers, trainers, sink=BoardSink(self._board), **where)
        names = self._trainers.call("buffer_names")
        for number, actor in enumerate(self._actors):
            actor.build(
                InteractionHost,
                _numbered(interaction, number),
                models,
                buffers=names,
                name=actor.name,
                budget=config.stream_budget // config.actors,
                spool=config.spool,
                source=BoardSource(self._board),
                log_every=config.log_tick_time_statistics_interval,
                **where,
            )
        self._store = StateStore(config.states_dir, config.state_name_format)
        interactions = InteractionStates(self._actors)
        self._store.register("interaction", interactions)
        for what in ("models", "data", "trainers"):
            self._store.register(what, TrainerStates(self._trainers, what, interactions))
        self._store.register("time", time.get_global_time_controller())

    def run(self) -> None:
        """Runs to the end, as `pamiq_core.launch` does."""
        config = self._config
        if config.saved_state_path is None:
            self._trainers.call("publish")
        else:
            _log.info("loading the state %s", config.saved_state_path)
            self._store.load_state(config.saved_state_path)
        control = Control(self._store, config)
        inference, training = RemoteInteractions(self._actors), RemoteTrainers([self._trainers])
        threads = (inference, training)
        for thread in threads:
            thread.attach_controller(control.controller)
        control.attach_thread_statuses({thread.THREAD_TYPE: thread.thread_status for thread in threads})
        time.set_time_scale(config.time_scale)
        try:
            for thread in threads:
                thread.start()
            control.run()
        except KeyboardInterrupt:
            _log.info("interrupted: shutting down")
        finally:
            for thread in threads:
                thread.join()
            time.set_time_scale(1.0)
            failures = [thread.failure for thread in threads if thread.failure is not None]
            self._save(failures)
            self._tell(inference.last)
        if failures:
            raise failures[0]

    def _save(self, failures: list[BaseException]) -> None:
        try:
            _log.info("the state is saved: %s", self._store.save_state())
        except RunError as error:
            _log.error("the state cannot be saved: %s", error)
            failures.append(error)

    def _tell(self, actors: Mapping[str, WriterCounts]) -> None:
        """Says how many data there were, and loudly if not all arrived."""
        try:
            fed: Mapping[str, int] = self._trainers.call("drain", ENDING)
        except RunError as error:
            _log.warning("how many data arrived is not known: %s", error)
            return
        collected = sum(counts.captured for counts in actors.values())
        dropped = sum(sum(counts.dropped.values()) for counts in actors.values())
        lost = dropped + fed["missed"] + fed["refused"]
        said = f"{collected} data collected, {fed['fed']} fed to the trainers' buffers, {lost} lost"
        (_log.warning if lost else _log.info)("%s", said)


def _numbered(factory: InteractionFactory, number: int) -> Callable[[], Interaction[Any, Any]]:
    """Tells an interaction's factory which actor it is for, if it wants to know."""
    takes = [one for one in inspect.signature(factory).parameters.values() if one.default is inspect.Parameter.empty]
    return partial(factory, number) if takes else factory  # pyright: ignore[reportReturnType, reportCallIssue]


@contextmanager
def _server(config: LaunchConfig, stream: str, guardian: Guardian | None) -> Generator[str]:
    """The Redis server for the time of a launch; nothing of it is left there."""
    if config.redis_url:
        check_server(config.redis_url, budget=config.stream_budget, stream=stream)
        try:
            yield config.redis_url
        finally:
            with connect(config.redis_url) as client:
                remove(client, StreamKeys(stream))
        return
    store = EmbeddedStore(config.stream_budget)
    if guardian is not None:
        guardian.watch(store.folder)
    try:
        yield store.url
    finally:
        store.stop()


@contextmanager
def _cluster() -> Generator[Guardian | None]:
    """The Ray cluster that this process is part of; a private one on this machine if it is of none."""
    if ray.is_initialized():
        yield None
        return
    guardian = Guardian()
    cluster = LocalCluster(_OBJECTS, talkative=True)
    guardian.watch(cluster.folder)
    try:
        cluster.start()
        yield guardian
    finally:
        cluster.stop()
        guardian.dismiss()
