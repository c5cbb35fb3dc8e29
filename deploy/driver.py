"""The driver of a run: starts all parts, watches them, writes the run directory, stops everything.

    store (Redis) ◄── frames ── actors ◄── weights ── registry ◄── weights ── learner ◄── frames ── store
                                                      └─ deploy/member.py; in a cohort more of these, which do not act

    driver, twice a second: status of each part ─► live view · metrics.jsonl · Prometheus
                            console, edge actors ◄─► pause, resume, save, shut down
                            silence or death    ─► start anew · events.jsonl
                            every minute        ─► state() of actors and curiosity ─► disk (a writer thread)
                            each member         ─► checkpoints, evaluations, findings

The driver waits for nothing but the clock: every question to a part is asked now and its answer fetched when it is
there. Only at the end it waits, each time for a bounded while: actors stop capture, learners drain, checkpoint, close.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# Ray's handles are untyped.

import logging
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, cast

import ray
import ray.exceptions

from actors.belongings import is_actor
from common.config import RunConfig
from common.curiosity.status import TrainersStatus
from common.errors import EngramError
from common.status import ActorStatus, RunStatus, StoreStatus
from deploy.cluster import cluster_of
from deploy.control.panel import ControlPanel
from deploy.discovery import MetricsDirectory
from deploy.edges import EdgeActors
from deploy.guardian import Guardian
from deploy.keeping import StateKeeper, bring_home
from deploy.learners import Learners
from deploy.member import DRAIN, ROWS_EVERY, Cohort
from deploy.memory import object_store_bytes
from deploy.nodes import address
from deploy.page.live import LivePage
from deploy.parts import ActingParts, Stage
from deploy.placement import Placement
from deploy.rundir import RunDirectory
from deploy.stream_server import StreamServer
from deploy.supervision import Part, Supervisor
from learner.curiosity.shell import PART as CURIOSITY

TICK = 0.5
PATIENCE = 30.0
GATHERING = 120.0
"""Seconds for which the actors of a cohort wait at most until all members are there."""

_log = logging.getLogger(__name__)


class Driver:
    """Runs one configuration from start to end.

    Args:
        run: The configuration.
        directory: The run directory, new or reopened.
        show: Called twice a second with the newest status.
        resumed: The directory holds an earlier part of this run, to be continued.
        cohort: Who learns from its stream; by default one learner.
    """

    def __init__(
        self,
        run: RunConfig,
        directory: RunDirectory,
        *,
        show: Callable[[RunStatus], None],
        resumed: bool = False,
        cohort: Cohort | None = None,
    ) -> None:
        self._run = run
        self._directory = directory
        self._show = show
        self._resumed = resumed
        self._cohort = cohort or Cohort()
        self._stopping = threading.Event()
        self._messages: deque[str] = deque(maxlen=50)
        self._phase = "starting"
        self._began = time.monotonic()
        self._living_since: float | None = None
        self._supervisor = Supervisor(limit=run.restarts, silence=run.silence, cut=run.cut, report=self._restarted)
        self._learners = Learners(
            run,
            directory,
            self._cohort,
            supervisor=self._supervisor,
            resumed=resumed,
            saved=lambda: self._server and self._server.snapshot(),
            elapsed=lambda: self.elapsed,
            heard=self._messages.append,
        )
        self._keeper = StateKeeper(directory, every=run.learner.checkpoint_every)
        self._cluster = cluster_of(run, object_store_bytes(run, *(one.run for one in self._cohort.others.values())))
        self._server: StreamServer | None = None
        self._done = False
        self._store = StoreStatus(budget=run.stream.budget)
        self._finals: dict[str, ActorStatus | TrainersStatus] = {}
        self._found: MetricsDirectory | None = None
        self._panel: ControlPanel | None = None
        self._edges: EdgeActors | None = None
        self._guardian: Guardian | None = None
        self._placement: Placement | None = None
        self._acting: ActingParts | None = None

    @property
    def redis_url(self) -> str:
        """Where the stream is, password included."""
        return self._run.redis_url

    @property
    def stream(self) -> str:
        """Id of the stream; empty before it is known."""
        return self._server.stream if self._server else ""

    def handle(self, part: str) -> Any:
        """The Ray actor that is a part now, for questions that the driver itself does not ask."""
        return self._supervisor.parts[part].handle

    def stop(self) -> None:
        """Asks the run to end; safe from a signal handler."""
        self._stopping.set()

    def _ours(self) -> list[ActorStatus]:
        """Newest status of each actor within Ray."""
        return [
            cast(ActorStatus, self._finals.get(name) or part.status or ActorStatus(name=name))
            for name, part in self._supervisor.parts.items()
            if is_actor(name)
        ]

    def status(self) -> RunStatus:
        """Everything the live view shows."""
        return self._learners.status(self._of_all())

    def _living(self) -> dict[str, Part]:
        """The parts that are no member's: actors, and curiosity's trainers."""
        return {name: part for name, part in self._supervisor.parts.items() if is_actor(name) or name == CURIOSITY}

    def _of_all(self) -> RunStatus:
        """What a run's status holds beside its learner."""
        living = self._living()
        mind = living.get(CURIOSITY)
        return RunStatus(
            elapsed=self.elapsed,
            duration=self._run.duration,
            phase="paused" if self._panel and self._panel.paused and self._phase == "running" else self._phase,
            actors=(*self._ours(), *(self._edges.statuses if self._edges else ())),
            trainers=cast(TrainersStatus | None, self._finals.get(CURIOSITY) or (mind.status if mind else None)),
            store=self._store,
            restarts={name: part.restarts for name, part in living.items() if part.restarts},
            parts=tuple(living),
            unreachable=self._found.unreachable if self._found else {},
            metrics_url=self._found.url if self._found else "",
            control_url=self._panel.url if self._panel else "",
            messages=tuple(self._messages),
        )

    @property
    def elapsed(self) -> float:
        """Seconds lived since every actor had its first frame, pauses excluded; 0 before."""
        return 0.0 if self._living_since is None else time.monotonic() - self._stood() - self._living_since

    def _stood(self) -> float:
        return self._panel.stood if self._panel else 0.0

    def execute(self) -> RunStatus:
        """Runs to the end.

        Returns:
            The last status.

        Raises:
            EngramError: The run could not start or could not go on; everything is stopped all the same.
        """
        self._guardian = Guardian()
        try:
            self._start()
            self._loop()
            self._finish()
        except EngramError as error:
            self._say("failed", error=str(error))
            raise
        finally:
            self._phase = "stopping"
            self._close()
        return self.status()

    def _start(self) -> None:
        assert self._guardian is not None
        if self._cluster.folder:
            self._guardian.watch(self._cluster.folder)
        self._server = StreamServer(self._run, self._directory, say=self._say, members=self._cohort.names)
        if self._server.temporary is not None:
            self._guardian.watch(self._server.temporary.folder)
        self._run = replace(self._run, redis_url=self._server.url)
        self._store = self._server.look()
        name = self._directory.path.name
        self._found = MetricsDirectory.of(self._run, name, self.status, member=self._cohort.acting)
        self._panel = ControlPanel(
            self._run.control,
            stop=self.stop,
            save=self._save_soon,
            say=self._say,
            stood=self._directory.stood() if self._resumed else 0.0,
            page=LivePage(
                self.status,
                url=self._server.access.url("viewer"),
                stream=self.stream,
                key=self._server.access.key,
                run_dir=self._directory.path,
            ),
        )
        self._server.announce(metrics_url=self._found.url, control_url=self._panel.url)
        self._edges = EdgeActors(self._run, stream=self.stream, key=self._server.access.key)
        self._edges.list_in(self._found)
        self._show(self.status())
        self._cluster.start()
        self._launch(self._server, self._found)
        for host in self._placement.strangers() if self._placement else ():
            self._say("other_code", host=host.address, version=host.version or "none")
        self._say("resumed" if self._resumed else "started", stream=self.stream, host=socket.gethostname())

    def _launch(self, server: StreamServer, found: MetricsDirectory) -> None:
        """Starts all parts; the supervisor starts them anew where need be."""
        stage = Stage(
            access=server.access,
            stream=server.stream,
            stood=lambda: self._panel.behind if self._panel else (0.0, None),
        )
        source, self._placement = self._learners.begin(stage, self._cluster, url=server.url)
        server.relay(source)
        self._acting = ActingParts(
            self._run,
            stage=stage,
            directory=self._directory,
            placement=self._placement,
            source=source,
            readers=self._learners.readers,
        )
        if not self._cohort.others:
            self._launch_actors(self._acting)
        self._learners.launch_learners()
        if self._run.curious:
            self._supervisor.add(CURIOSITY, self._acting.curiosity)
        self._learners.launch_evaluators()
        self._learners.list_in(found, self._of_all)

    def _launch_actors(self, parts: ActingParts) -> None:
        for index in range(self._run.actors.count):
            self._supervisor.add(f"actor-{index}", partial(parts.actor, index))

    def _gather(self) -> None:
        """Has the actors of a cohort begin when all members are there: many that start at once would slow them."""
        if self._acting is None or self._ours():
            return
        if self._learners.are_there() or time.monotonic() - self._began > GATHERING:
            self._launch_actors(self._acting)

    def _loop(self) -> None:
        assert self._server is not None
        assert self._panel is not None
        assert self._edges is not None
        assert self._found is not None
        here, next_rows = address(), time.monotonic()
        while not self._stopping.is_set():
            if self._run.duration and self.elapsed >= self._run.duration:
                return
            if (ours := self._ours()) and all(actor.ended for actor in ours):
                self._say("recording_ended")
                return
            self._gather()
            self._supervisor.look(self._server.beats(), here=here)
            self._panel.look(self._supervisor.parts.values(), self._edges.present)
            self._edges.look(self._panel.wanted)
            self._note_first_frames()
            self._store = self._server.look()
            self._found.look(self._living(), here=here)
            self._keeper.look(self._living())
            self._learners.look(self._found, here=here)
            if time.monotonic() >= next_rows:
                next_rows += ROWS_EVERY
                self._learners.write_metrics(self._of_all())
            self._show(self.status())
            self._stopping.wait(TICK)

    def _finish(self) -> None:
        """Stops the parts in the order of the data's way, so that what was captured is accounted for."""
        self._phase = "stopping"
        assert self._panel is not None
        assert self._edges is not None
        self._panel.end()
        self._show(self.status())
        parts = self._supervisor.parts
        stops = {name: part.handle.stop.remote() for name, part in parts.items() if is_actor(name)}
        evaluators = self._learners.ask_evaluators_to_stop()
        for name, reference in stops.items():
            self._finals[name] = self._last_word(name, reference) or parts[name].status
            self._keeper.save(name, self._last_word(name, parts[name].handle.state.remote()))
        self._edges.end(self._panel.wanted, DRAIN)
        if CURIOSITY in parts:
            said = self._last_word(CURIOSITY, parts[CURIOSITY].handle.stop.remote(DRAIN))
            self._finals[CURIOSITY], state = said or (parts[CURIOSITY].status, None)
            self._keeper.save(CURIOSITY, state)
        self._show(self.status())
        failed = self._learners.end_learners(self._last_word)
        if self._placement and not self._placement.shared:
            for name in filter(is_actor, parts):
                if bring_home(self._directory, self._last_word(name, parts[name].handle.belongings.remote())):
                    self._last_word(name, parts[name].handle.belongings.remote(leave=True))
        self._learners.end_evaluators(evaluators, self._last_word)
        assert self._server is not None
        self._store = self._server.look()
        self._learners.write_metrics(self._of_all())
        self._learners.say_stopped(self._stood())
        if failed:
            raise failed[0]
        # What a durable stream still holds unread is left there for a resume.
        self._done = self._learners.all_read()

    def _close(self) -> None:
        """Ends every process and frees every port, whatever state the run is in."""
        self._keeper.close()
        self._learners.close()
        for part in (self._found, self._panel, self._edges):
            if part is not None:
                part.close()
        if self._server is not None:
            self._server.stop_relay()
        self._cluster.stop()
        if self._server is not None:
            self._server.close(done=self._done)
        assert self._guardian is not None
        left = self._guardian.dismiss()
        if left:
            _log.info("%d processes had to be ended", left)

    def _save_soon(self) -> None:
        self._keeper.hasten()
        self._learners.hasten()

    def _last_word(self, name: str, reference: Any) -> Any:
        assert self._server is not None
        try:
            end = time.monotonic() + DRAIN + PATIENCE
            while not ray.wait([reference], timeout=TICK)[0] and time.monotonic() < end:
                self._store = self._server.look()  # parts still drain into it
            return ray.get(reference, timeout=0)
        except ray.exceptions.RayError as error:
            cause = getattr(error, "cause", None) or error
            self._say("no_last_word", part=name, error=f"{type(cause).__name__}: {str(cause).partition(chr(10))[0]}")
            return None

    def _note_first_frames(self) -> None:
        """The run begins when all actors live, so that its duration is time lived and not time spent starting."""
        assert self._edges is not None
        ours = self._ours()
        if len(ours) < self._run.actors.count:
            return
        live = all(actor.frames for actor in ours) if ours else any(actor.frames for actor in self._edges.statuses)
        if self._living_since is None and live:
            self._living_since = time.monotonic() - self._stood()
            self._phase = "running"
            self._say("all_actors_live", seconds=round(time.monotonic() - self._began, 1))

    def _restarted(self, part: str, reason: str) -> None:
        owner = self._learners.restarted(part, reason)
        if owner is None:
            self._keeper.forget(part)
            self._say("restart", part=part, reason=reason)
        self._cluster.keep_logs(part, (owner.directory if owner else self._directory).path / "logs")

    def _say(self, kind: str, **details: Any) -> None:
        self._learners.say(kind, **details)
