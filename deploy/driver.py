"""The driver of a run: starts all parts, watches them, writes the run directory, stops everything.

    store (Redis) ◄── frames ── actors ◄── weights ── registry ◄── weights ── learner ◄── frames ── store
                                                         │ candidates
                                                     evaluator ◄── frames ── store

    driver, twice a second: status of each part ─► live view · metrics.jsonl · Prometheus
                            console, edge actors ◄─► pause, resume, save, shut down
                            silence or death    ─► start anew · events.jsonl
                            every minute        ─► learner.snapshot(), state() of the others ─► disk (writer threads)
                            new rows            ─► evaluations.jsonl ─► times of memory so far

The driver waits for nothing but the clock: every question to a part is asked now and its answer fetched when it is
there. Only at the end it waits, each time for a bounded while: actors stop capture, learner drains, checkpoint, close.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# Ray's handles are untyped.

import logging
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any, cast

import ray
import ray.exceptions

from actors.belongings import is_actor
from common.config import RunConfig
from common.curiosity.status import TrainersStatus
from common.errors import EngramError, RunError
from common.metrics import rows
from common.status import ActorStatus, EvaluatorStatus, LearnerStatus, RunStatus, StoreStatus, together
from deploy.checkpointing import Checkpointer
from deploy.cluster import cluster_of
from deploy.control.panel import ControlPanel
from deploy.discovery import MetricsDirectory
from deploy.edges import EdgeActors
from deploy.evaluations import Evaluations
from deploy.guardian import Guardian
from deploy.keeping import StateKeeper, bring_home
from deploy.memory import object_store_bytes
from deploy.nodes import address
from deploy.page.live import LivePage
from deploy.parts import Parts
from deploy.rundir import RunDirectory
from deploy.stream_server import StreamServer
from deploy.supervision import Supervisor
from learner import checkpoint as checkpoints
from learner.curiosity.shell import PART as CURIOSITY
from learner.ranks import part_name

TICK = 0.5
ROWS_EVERY = 5.0
DRAIN = 15.0
PATIENCE = 30.0

_log = logging.getLogger(__name__)


class Driver:
    """Runs one configuration from start to end.

    Args:
        run: The configuration.
        directory: The run directory, new or reopened.
        show: Called twice a second with the newest status.
        resumed: The directory holds an earlier part of this run, to be continued.
    """

    def __init__(
        self, run: RunConfig, directory: RunDirectory, *, show: Callable[[RunStatus], None], resumed: bool = False
    ) -> None:
        self._run = run
        self._directory = directory
        self._show = show
        self._resumed = resumed
        self._ranks = [part_name(rank) for rank in range(run.learner.ranks)]
        self._stopping = threading.Event()
        self._messages: deque[str] = deque(maxlen=50)
        self._phase = "starting"
        self._began = time.monotonic()
        self._living_since: float | None = None
        self._supervisor = Supervisor(limit=run.restarts, silence=run.silence, cut=run.cut, report=self._restarted)
        self._checkpointer = Checkpointer(
            directory,
            every=run.learner.checkpoint_every,
            keep=run.learner.checkpoints_kept,
            saved=lambda: self._server and self._server.snapshot(),
        )
        self._keeper = StateKeeper(directory, every=run.learner.checkpoint_every)
        self._evaluations = Evaluations(directory, elapsed=lambda: self.elapsed)
        self._findings_seen = 0
        self._recording: Any = None
        self._cluster = cluster_of(run, object_store_bytes(run))
        self._server: StreamServer | None = None
        self._done = False
        self._store = StoreStatus(budget=run.stream.budget)
        self._finals: dict[str, ActorStatus | LearnerStatus | TrainersStatus] = {}
        self._found: MetricsDirectory | None = None
        self._panel: ControlPanel | None = None
        self._edges: EdgeActors | None = None
        self._guardian: Guardian | None = None
        self._parts: Parts | None = None

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
        parts = self._supervisor.parts
        told = [self._finals.get(name) or (name in parts and parts[name].status) for name in self._ranks]
        learners = cast(list[LearnerStatus], [status for status in told if status])
        evaluator, mind = parts.get("evaluator"), parts.get(CURIOSITY)
        return RunStatus(
            elapsed=self.elapsed,
            duration=self._run.duration,
            run_dir=str(self._directory.path),
            phase="paused" if self._panel and self._panel.paused and self._phase == "running" else self._phase,
            actors=(*self._ours(), *(self._edges.statuses if self._edges else ())),
            learner=together(learners) if learners else LearnerStatus(),
            evaluator=cast(EvaluatorStatus, evaluator.status or EvaluatorStatus()) if evaluator else None,
            study=self._evaluations.study if evaluator else None,
            trainers=cast(TrainersStatus | None, self._finals.get(CURIOSITY) or (mind.status if mind else None)),
            store=self._store,
            restarts=self._supervisor.restarts(),
            parts=tuple(parts),
            disk_free=self._directory.free,
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
        self._server = StreamServer(self._run, self._directory, say=self._say)
        if self._server.temporary is not None:
            self._guardian.watch(self._server.temporary.folder)
        self._run = replace(self._run, redis_url=self._server.url)
        self._store = self._server.look()
        self._found = MetricsDirectory.of(self._run, self._directory.path.name, self.status)
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
        self._parts = parts = Parts(
            self._run,
            access=self._server.access,
            stream=self.stream,
            directory=self._directory,
            version=self._highest_version,
            stood=lambda: self._panel.behind if self._panel else (0.0, None),
            placement=self._cluster.placement(self._run),
        )
        self._server.relay(parts.weights())
        if self._run.evaluator.enabled:
            self._recording = parts.record_probe_set()
        parts.launch(self._supervisor)
        for host in parts.strangers():
            self._say("other_code", host=host.address, version=host.version or "none")
        self._say("resumed" if self._resumed else "started", stream=self.stream, host=socket.gethostname())

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
            self._supervisor.look(self._server.beats(), here=here)
            self._panel.look(self._supervisor.parts.values(), self._edges.present)
            self._edges.look(self._panel.wanted)
            self._note_first_frames()
            self._store = self._server.look()
            self._found.look(self._supervisor.parts, here=here)
            self._watch_recording()
            self._evaluations.look(self._supervisor.parts.get("evaluator"))
            self._note_findings()
            self._checkpointer.look([self.handle(name) for name in self._ranks])
            self._keeper.look({name: part for name, part in self._supervisor.parts.items() if name not in self._ranks})
            if time.monotonic() >= next_rows:
                next_rows += ROWS_EVERY
                self._write_metrics()
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
        evaluator = parts["evaluator"].handle.stop.remote() if "evaluator" in parts else None
        for name, reference in stops.items():
            self._finals[name] = self._last_word(name, reference) or parts[name].status
            self._keeper.save(name, self._last_word(name, parts[name].handle.state.remote()))
        self._edges.end(self._panel.wanted, DRAIN)
        if CURIOSITY in parts:
            said = self._last_word(CURIOSITY, parts[CURIOSITY].handle.stop.remote(DRAIN))
            self._finals[CURIOSITY], state = said or (parts[CURIOSITY].status, None)
            self._keeper.save(CURIOSITY, state)
        self._show(self.status())
        stops = {name: parts[name].handle.stop.remote(DRAIN) for name in self._ranks}
        final = {name: self._last_word(name, reference) for name, reference in stops.items()}
        if all(final.values()):
            self._finals |= {name: status for name, (status, _) in final.items()}
            self._checkpointer.save(checkpoints.gather([snapshot for _, snapshot in final.values()]))
        if self._parts and not self._parts.shared:
            for name in filter(is_actor, parts):
                if bring_home(self._directory, self._last_word(name, parts[name].handle.belongings.remote())):
                    self._last_word(name, parts[name].handle.belongings.remote(leave=True))
        if evaluator is not None:
            asked = self._evaluations.asked
            early = self._last_word("evaluator", asked) if asked is not None else None
            found, state = self._last_word("evaluator", evaluator) or ((), None)
            self._evaluations.write([*(early or ()), *found])
            self._keeper.save("evaluator", state)
        assert self._server is not None
        self._store = self._server.look()
        self._write_metrics()
        self._say("stopped", step=self.status().learner.step, stood=self._stood())
        if not all(final.values()):
            before = checkpoints.latest(self._directory.checkpoints)
            hint = "nothing can be resumed" if before is None else f"the run can be resumed from {before.name}"
            raise RunError(f"the learner gave no last checkpoint: {hint}")
        # What a durable stream still holds unread is left there for a resume.
        self._done = not any(counts.unread for counts in self.status().learner.counts.values())

    def _close(self) -> None:
        """Ends every process and frees every port, whatever state the run is in."""
        self._checkpointer.close()
        self._keeper.close()
        self._evaluations.close()
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
        self._checkpointer.hasten()
        self._keeper.hasten()

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
        live = all(actor.frames for actor in ours) if ours else any(actor.frames for actor in self._edges.statuses)
        if self._living_since is None and live:
            self._living_since = time.monotonic() - self._stood()
            self._phase = "running"
            self._say("all_actors_live", seconds=round(time.monotonic() - self._began, 1))

    def _watch_recording(self) -> None:
        if self._recording is None or not ray.wait([self._recording], timeout=0)[0]:
            return
        try:
            if ray.get(self._recording):
                self._say("probe_set_recorded")
        except ray.exceptions.RayError as error:
            cause = getattr(error, "cause", None) or error
            raise RunError(f"the probe set cannot be recorded: {type(cause).__name__}: {cause}") from error
        finally:
            self._recording = None

    def _note_findings(self) -> None:
        """Makes events of what the learner's guardrail found."""
        status = self._supervisor.parts["learner"].status
        for finding in status.findings if status else ():
            if finding.number > self._findings_seen:
                self._findings_seen = finding.number
                known = {name: value for name, value in asdict(finding).items() if value is not None}
                self._say(f"guardrail_{known.pop('action')}", **known)
                if finding.action == "rollback":  # what is on disk may hold what was undone
                    self._checkpointer.hasten()

    def _write_metrics(self) -> None:
        for row in rows(self.status(), t=time.time()):
            self._directory.metrics(row)

    def _highest_version(self, known: int) -> int:
        """A number that no version of this run has passed, so that none is ever given twice.

        Args:
            known: The newest version in the registry.
        """
        learner = self._supervisor.parts.get("learner")
        seen = [known, learner.status.version if learner and learner.status else 0]
        if self._resumed:
            seen.append(self._directory.highest_version(2 + int(ROWS_EVERY / self._run.learner.publish_every)))
        return max(seen)

    def _restarted(self, part: str, reason: str) -> None:
        if part == "learner":
            self._checkpointer.forget()
            self._findings_seen = 0
        if part == "evaluator":
            self._evaluations.forget()
            if self._parts and self._recording is None:  # it may be on another host now
                self._recording = self._parts.record_probe_set()
        self._keeper.forget(part)
        self._say("restart", part=part, reason=reason)
        self._cluster.keep_logs(part, self._directory.path / "logs")

    def _say(self, kind: str, **details: Any) -> None:
        self._directory.event(kind, **details)
        words = " ".join(f"{name}={value}" for name, value in details.items())
        self._messages.append(f"{kind} {words}".strip())
