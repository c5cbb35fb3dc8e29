"""An actor as a plain object: one thread that lives, helpers that write and fetch, counters that anybody may read.

    loop thread     observe ─► agent.step (encode, decide, collect) ─► affect ─► wait for the next deadline
    stream-writer   spool ─► Redis             waits for data; wakes on put()
    weights         registry ─► spare module   waits a second; the loop swaps
    models          trainers ─► spare modules  likewise, of a curious agent (`actors.mind`)

Nothing in the loop waits for Redis, the registry or the learner.
"""

import logging
import threading
import time as wall
from collections import deque
from concurrent.futures import Future
from pathlib import Path
from statistics import median

import numpy as np
from pamiq_core import time
from pamiq_core.data import DataCollectorsDict
from pamiq_core.interaction import FixedIntervalInteraction
from pamiq_core.model import InferenceModelsDict

from actors.agents import AgentSettings, make_agent
from actors.agents.curious import CuriousAgent
from actors.context import BUFFER, SituatedEnvironment, StepContext, StreamCollector
from actors.coverage import Coverage
from actors.inference import FollowingEncoder
from actors.mind import ActorMind
from actors.pacing import DeadlineAdjustor
from actors.track import TrackLog
from actors.worlds import make_environment
from actors.worlds.kinds import WorldEnded
from common import saved_files
from common.catalogue import Metric, Role
from common.codec import Codec
from common.config import RunConfig
from common.exposure import ExposureRule
from common.messages import VersionInfo
from common.metrics import Metrics
from common.status import ActorStatus, WriterCounts
from common.stream import CaptureJournal, Heartbeat, StreamKeys, StreamWriter, connect
from common.weights import WeightSource

ENCODER = "encoder"
"""Name of the inference model."""

_STATE = "interaction"
"""Under which name pamiq-core saves an interaction."""

_log = logging.getLogger(__name__)


class ActorHost:
    """Hosts one pamiq-core interaction until it is closed.

    Args:
        run: The run's configuration; `redis_url` is where the stream is.
        index: Number of the actor, from 0.
        stream: Id of the stream.
        source: The weight registry.
        folder: Where the actor keeps its journal and its track, and the sensor its own log.
        state: What `state` of an earlier process of this actor gave, to go on from; None begins anew.
        life: As `CaptureJournal` takes it.
    """

    def __init__(
        self,
        run: RunConfig,
        *,
        index: int,
        stream: str,
        source: WeightSource,
        folder: Path,
        state: bytes | None = None,
        life: int = 0,
    ) -> None:
        config = run.actors
        self.name = f"actor-{index}"
        keys = StreamKeys(stream)
        seed = run.seed * 1000 + index
        self._context = StepContext()
        self.metrics = Metrics(Role.ACTOR)
        self._journal = CaptureJournal(folder / f"{self.name}.journal", life=life)
        self._writer = StreamWriter(
            lambda: connect(run.redis_url),
            keys=keys,
            actor=self.name,
            journal=self._journal,
            budget=run.stream.budget // config.total,
            spool=max(1, round(config.spool * config.fps)),
            spool_bytes=config.spool_bytes,
            codec=Codec(run.stream.codec),
            quality=run.stream.jpeg_quality,
            written=lambda seconds: self.metrics.observe(Metric.ACTOR_WRITE_SECONDS, seconds),
        )
        self._collector = StreamCollector(
            buffer=BUFFER,
            actor=self.name,
            generation=self._journal.generation,
            context=self._context,
            rule=ExposureRule.of(run),
            writer=self._writer,
        )
        self._encoder = FollowingEncoder(
            run.learner.model,
            run.world.image_size,
            context=self._context,
            source=source,
            every=config.pull_every,
            seed=run.seed,
            swapped=self._note_version,
        )
        self._agent = make_agent(
            config.agent,
            AgentSettings(
                seed=seed + 7919 * self._journal.generation,
                encoder=ENCODER,
                collector=BUFFER,
                boredom=config.boredom,
                actor=self.name,
                script=config.script,
                curiosity=run.curiosity,
            ),
        )
        mind = ActorMind(run, stream=stream, actor=self.name, folder=folder) if run.curious else None
        self._mind = mind
        models = {ENCODER: self._encoder} | (mind.models if mind else {})
        self._agent.attach_inference_models(InferenceModelsDict(models))
        collectors = {BUFFER: self._collector} | (mind.collectors if mind else {})
        self._agent.attach_data_collectors(DataCollectorsDict(collectors))
        self._coverage = Coverage()
        self._track = TrackLog(folder / f"{self.name}.track", generation=self._journal.generation)
        environment = make_environment(
            run.world,
            fps=config.fps,
            seed=seed + 7919 * self._journal.generation,
            actor_index=index,
            sensor_log=folder / f"{self.name}.sensor",
        )
        self._pace = DeadlineAdjustor(1.0 / config.fps)
        self._interaction = FixedIntervalInteraction(
            self._agent, SituatedEnvironment(environment, self._context), self._pace
        )
        if state is not None:
            saved_files.load(self._interaction.load_state, _STATE, saved_files.unpack(state))
        self._asked: Future[bytes] | None = None
        self._captures: deque[int] = deque(maxlen=max(2, round(60 * config.fps)))
        self._works: deque[float] = deque(maxlen=600)
        self.metrics.follow(self.status)
        self.metrics_port = self.metrics.serve()
        self._closing = threading.Event()
        self._paused = threading.Event()
        self._resting = False
        self._rounds = 0
        self._ended = False
        self._first_ns = 0
        self.failure: BaseException | None = None
        self._heartbeat = Heartbeat(
            connect(run.redis_url),
            keys=keys,
            part=self.name,
            every=run.stream.heartbeat,
            progress=lambda: self._rounds,
        )
        self._thread = threading.Thread(target=self._run, name="loop", daemon=True)

    def start(self) -> None:
        """Begins to live."""
        if self._mind is not None:
            self._mind.start()
        self._thread.start()

    def pause(self) -> None:
        """Stops acting after the step that is under way; system time of this process stands still."""
        self._paused.set()

    def resume(self) -> None:
        """Acts again."""
        self._paused.clear()

    def state(self, timeout: float = 10.0) -> bytes:
        """Gives the state of agent and environment, between two steps: hidden states, what waits, where to go on.

        Raises:
            TimeoutError: The step under way did not end.
        """
        if not self._thread.is_alive():
            return self._saved()
        asked = self._asked = Future[bytes]()
        return asked.result(timeout)

    def _saved(self) -> bytes:
        return saved_files.pack(saved_files.save(self._interaction.save_state, _STATE))

    def _answer(self) -> None:
        asked, self._asked = self._asked, None
        if asked is not None:
            try:
                asked.set_result(self._saved())
            except Exception as error:
                asked.set_exception(error)

    def stop_capture(self, timeout: float = 10.0) -> None:
        """Ends the loop and closes the world; what was captured may still be on its way to Redis.

        Raises:
            TimeoutError: The loop did not end.
        """
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(timeout)
            if self._thread.is_alive():
                raise TimeoutError(f"{self.name}: the step under way did not end within {timeout:g} s")

    def close(self) -> ActorStatus:
        """Stops capture, writes what waits, ends all threads, and says how it ended."""
        self.stop_capture()
        self._heartbeat.close()
        self._encoder.close()
        self._writer.close()
        self._track.close()
        if self._mind is not None:
            self._mind.close()
        self.metrics.close()
        last = self.status()
        self._journal.close()
        return last

    def acting_digest(self) -> tuple[int, str]:
        """Names the weights version that acts, and hashes the parameters that do."""
        return self._encoder.acting_digest()

    def intervals(self) -> list[float]:
        """Times between the captures of the last minute, seconds."""
        return (np.diff(np.array(self._captures, np.float64)) / 1e9).tolist()

    def status(self) -> ActorStatus:
        """Says how the actor does.

        Raises:
            BaseException: What ended the loop.
        """
        if (failure := self.failure or self._writer.failure) is not None:
            raise failure
        seen = self._context.observation
        intervals = self.intervals()
        recent = intervals[-round(10 / self._pace.interval) :]
        return ActorStatus(
            name=self.name,
            world=seen.world if seen else "",
            visit=self._collector.visit(seen.visit) if seen else "",
            frames=self._context.frames,
            system_time=self._context.system_time,
            fps=len(recent) / sum(recent) if recent else 0.0,
            mean_fps=self._mean_fps(),
            interval_p99=float(np.percentile(intervals, 99)) if intervals else 0.0,
            late=self._pace.late,
            counts=self._writer.counts(),
            weights_version=self._context.weights_version,
            step_seconds=median(self._works) if self._works else 0.0,
            cells=self._coverage.cells,
            covered={world: len(cells) for world, cells in list(self._coverage.worlds.items())},
            curiosity=self._agent.tally.status() if isinstance(self._agent, CuriousAgent) else None,
            rollouts=self._mind.check() if self._mind else WriterCounts(),
            reconnects=max(0, self._writer.connections - 1),
            ended=self._ended,
            unfit={str(reason): count for reason, count in self._context.unfit.items()},
            unfit_now=str(seen.unfit or "") if seen else "",
            paused=self._resting,
        )

    def _run(self) -> None:
        try:
            if self._paused.is_set():  # whoever joins in a pause touches no control before it ends
                self._stand_still()
            if self._closing.is_set():
                return
            self._interaction.setup()
            try:
                while not self._closing.is_set():
                    self._rounds += 1
                    self._answer()
                    if self._paused.is_set():
                        self._rest()
                        continue
                    if self._ended:
                        self._closing.wait(0.1)
                        continue
                    began = time.perf_counter()
                    waited = self._pace.waited
                    try:
                        self._interaction.step()
                    except WorldEnded:
                        self._ended = True
                        continue
                    self._note_step(time.perf_counter() - began - (self._pace.waited - waited))
            finally:
                self._interaction.teardown()
        except BaseException as error:  # handed to whoever asks for the status, which ends or restarts the actor
            _log.exception("%s: the loop failed", self.name)
            self.failure = error

    def _note_step(self, seconds: float) -> None:
        seen = self._context.observation
        assert seen is not None
        if (spot := self._coverage.see(seen)) is not None:
            self._track.add(spot)
        self._first_ns = self._first_ns or seen.captured_ns
        if self._captures:
            self.metrics.observe(Metric.ACTOR_INTERVAL_SECONDS, (seen.captured_ns - self._captures[-1]) / 1e9)
        self.metrics.observe(Metric.ACTOR_STEP_SECONDS, seconds)
        self._captures.append(seen.captured_ns)
        self._works.append(seconds)

    def _note_version(self, info: VersionInfo) -> None:
        now = wall.time_ns()
        self.metrics.observe(Metric.ACTOR_LIVE_SECONDS, (now - info.created_ns) / 1e9)
        if info.gradient_ns:
            self.metrics.observe(Metric.ACTOR_GLASS_SECONDS, (now - info.gradient_ns) / 1e9)

    def _mean_fps(self) -> float:
        seen = self._context.observation
        if seen is None or seen.captured_ns == self._first_ns:
            return 0.0
        return (self._context.frames - 1) * 1e9 / (seen.captured_ns - self._first_ns)

    def _rest(self) -> None:
        self._interaction.on_paused()
        self._stand_still()
        self._interaction.on_resumed()
        self._pace.restart()
        self._captures.clear()

    def _stand_still(self) -> None:
        time.pause()
        self._resting = True
        while self._paused.is_set() and not self._closing.wait(0.02):
            self._rounds += 1
            self._answer()
        self._resting = False
        time.resume()
