"""One learner on a run's stream, with its evaluator and its run directory: a plain run has one, a cohort several.

    registry ◄── weights ── learner ◄── frames ── store
       │ candidates                                 ▲
    evaluator ◄── frames ───────────────────────────┘

    twice a second: status of each part ─► metrics.jsonl · Prometheus
                    every minute        ─► learner.snapshot(), evaluator.state() ─► disk (writer threads)
                    new rows            ─► evaluations.jsonl ─► times of memory so far
                    findings            ─► events.jsonl

Like the driver, which calls it, it waits for nothing but at the end.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# Ray's handles are untyped.

import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Any, cast

import ray
import ray.exceptions

from common.cohort import of_member
from common.config import RunConfig
from common.errors import EngramError, RunError
from common.metrics import rows
from common.status import EvaluatorStatus, LearnerStatus, MemberStatus, RunStatus, together
from deploy.checkpointing import Checkpointer
from deploy.evaluations import Evaluations
from deploy.keeping import StateKeeper
from deploy.parts import LearningParts, Stage
from deploy.placement import Placement
from deploy.rundir import RunDirectory
from deploy.supervision import Part, Supervisor
from evaluator.probeset import ProbeSpec
from learner import checkpoint as checkpoints
from learner.ranks import part_name

ROWS_EVERY = 5.0
DRAIN = 15.0
"""Seconds that a learner has to read what is left."""

type LastWord = Callable[[str, Any], Any]
"""Given a part's name and what it was asked, waits for the answer; None where none comes."""


@dataclass(frozen=True, kw_only=True)
class Enrolled:
    """A member of a cohort that does not act.

    Attributes:
        run: Its configuration: that of the run, but for the learner, the evaluator and the seed.
        directory: Its run directory.
    """

    run: RunConfig
    directory: RunDirectory


@dataclass(frozen=True, kw_only=True)
class Cohort:
    """Who learns from a run's stream; by default the run's own learner alone, which then has no name.

    Attributes:
        acting: Name of the run's own learner, whose weights act.
        others: The others by name.
        gpus: What each member takes of a GPU, by name; NaN for an equal part of what is left.
    """

    acting: str = ""
    others: Mapping[str, Enrolled] = field(default_factory=dict[str, Enrolled])
    gpus: Mapping[str, float] = field(default_factory=dict[str, float])

    @property
    def names(self) -> list[str]:
        """All members, the one that acts first."""
        return [self.acting, *self.others]


class Member:
    """Runs one learner and its evaluator from start to end.

    Args:
        name: Its name; empty for the only one.
        run: Its configuration.
        directory: Its run directory, new or reopened.
        supervisor: Watches its parts, which bear its name.
        acts: Whether it is its weights that act.
        first: Seconds until its first checkpoint: members take theirs one after the other.
        resumed: The directory holds an earlier part of this run, to be continued.
        saved: Called on a thread when a checkpoint is on disk.
        elapsed: Gives the seconds since the start of the run.
        heard: Told of each event of its parts, as a line.
    """

    def __init__(
        self,
        name: str,
        run: RunConfig,
        directory: RunDirectory,
        *,
        supervisor: Supervisor,
        acts: bool,
        first: float,
        resumed: bool,
        saved: Callable[[], object],
        elapsed: Callable[[], float],
        heard: Callable[[str], None],
    ) -> None:
        self.name = name
        self.run = run
        self.directory = directory
        self._acts = acts
        self._resumed = resumed
        self._heard = heard
        self._supervisor = supervisor
        self.learners = [part_name(rank, name) for rank in range(run.learner.ranks)]
        """Names of the learner's ranks among all parts."""
        self.evaluator = of_member("evaluator", name) if run.evaluator.enabled else ""
        """Name of the evaluator; empty where there is none."""
        self._checkpointer = Checkpointer(
            directory,
            every=run.learner.checkpoint_every,
            keep=run.learner.checkpoints_kept,
            first=first,
            saved=saved,
        )
        self._keeper = StateKeeper(directory, every=run.learner.checkpoint_every)
        self._evaluations = Evaluations(directory, elapsed=elapsed)
        self._findings_seen = 0
        self._recording: Any = None
        self._records = False
        self._finals: dict[str, LearnerStatus] = {}
        self._parts: LearningParts | None = None

    @property
    def probe_set(self) -> ProbeSpec | None:
        """What its evaluator measures on; None where there is no evaluator."""
        return ProbeSpec.of(self.run) if self.evaluator else None

    @property
    def parts(self) -> dict[str, Part]:
        """Its parts that are watched, by their names without its own: `learner`, `evaluator`."""
        found = self._supervisor.parts
        shorts = [*(part_name(rank) for rank in range(len(self.learners))), "evaluator"]
        return {short: found[full] for short in shorts if (full := of_member(short, self.name)) in found}

    @property
    def readers(self) -> list[str]:
        """Names of those of its parts that read the stream."""
        return [*self.learners, *([self.evaluator] if self.evaluator else [])]

    def begin(self, stage: Stage, placement: Placement, *, records: bool) -> LearningParts:
        """Makes its weight registry, and has the probe set recorded.

        Args:
            stage: What all parts of the run have in common.
            placement: Where its parts are to live.
            records: Nobody else has the same probe set recorded.
        """
        self._parts = LearningParts(
            self.run,
            stage=stage,
            directory=self.directory,
            version=self._highest_version,
            placement=placement,
            member=self.name,
            acts=self._acts,
        )
        self._records = records and bool(self.evaluator)
        if self._records:
            self._recording = self._parts.record_probe_set()
        return self._parts

    def launch_learner(self) -> None:
        """Starts the learner; the supervisor starts it anew where need be."""
        for rank, name in enumerate(self.learners):
            self._supervisor.add(name, lambda rank=rank: self._learner(rank), group=self.learners[0])

    def launch_evaluator(self) -> None:
        """Starts the evaluator, where there is one."""
        if self.evaluator:
            assert self._parts is not None
            self._supervisor.add(self.evaluator, self._parts.evaluator)

    def _learner(self, rank: int) -> Any:
        assert self._parts is not None
        with self._by_name():
            return self._parts.learner(rank)

    def look(self) -> None:
        """Does what is due.

        Raises:
            RunError: The last checkpoint could not be written, or the probe set not recorded; named by member.
        """
        with self._by_name():
            self._watch_recording()
            parts = self.parts
            self._evaluations.look(parts.get("evaluator"))
            self._note_findings()
            self._checkpointer.look([self._supervisor.parts[name].handle for name in self.learners])
            self._keeper.look({short: part for short, part in parts.items() if short == "evaluator"})

    def restarted(self, part: str, reason: str) -> None:
        """Notes that one of its parts was started anew.

        Args:
            part: Its name among all parts.
            reason: Why.
        """
        if part == self.learners[0]:
            self._checkpointer.forget()
            self._findings_seen = 0
        if part == self.evaluator:
            self._evaluations.forget()
            if self._records and self._parts and self._recording is None:  # it may be on another host now
                self._recording = self._parts.record_probe_set()
        short = part.removesuffix(f".{self.name}")
        self._keeper.forget(short)
        self.say("restart", part=short, reason=reason)

    def hasten(self) -> None:
        """Takes the next checkpoint and the next states as soon as possible."""
        self._checkpointer.hasten()
        self._keeper.hasten()

    def ask_evaluator_to_stop(self) -> Any:
        """Has the evaluator give up what is under way; returns what to wait for in `end_evaluator`."""
        parts = self._supervisor.parts
        return parts[self.evaluator].handle.stop.remote() if self.evaluator in parts else None

    def ask_learner_to_stop(self) -> dict[str, Any]:
        """Has the learner read what is left and take a last checkpoint; returns what to wait for in `end_learner`."""
        return {name: self._supervisor.parts[name].handle.stop.remote(DRAIN) for name in self.learners}

    def end_learner(self, asked: Mapping[str, Any], last_word: LastWord) -> None:
        """Writes the last checkpoint.

        Raises:
            RunError: There is none, or it could not be written; named by member.
        """
        final = {name: last_word(name, reference) for name, reference in asked.items()}
        with self._by_name():
            if not all(final.values()):
                before = checkpoints.latest(self.directory.checkpoints)
                hint = "nothing can be resumed" if before is None else f"the run can be resumed from {before.name}"
                raise RunError(f"the learner gave no last checkpoint: {hint}")
            self._finals |= {name: status for name, (status, _) in final.items()}
            self._checkpointer.save(checkpoints.gather([snapshot for _, snapshot in final.values()]))

    def end_evaluator(self, asked: Any, last_word: LastWord) -> None:
        """Writes the last rows and the last state."""
        if asked is None:
            return
        pending = self._evaluations.asked
        early = last_word(self.evaluator, pending) if pending is not None else None
        found, state = last_word(self.evaluator, asked) or ((), None)
        self._evaluations.write([*(early or ()), *found])
        self._keeper.save("evaluator", state)

    def close(self) -> None:
        """Waits for what is being written."""
        self._checkpointer.close()
        self._keeper.close()
        self._evaluations.close()

    def learner(self) -> LearnerStatus:
        """Newest status of all ranks together."""
        parts = self._supervisor.parts
        told = [self._finals.get(name) or (name in parts and parts[name].status) for name in self.learners]
        learners = cast(list[LearnerStatus], [status for status in told if status])
        return together(learners) if learners else LearnerStatus()

    def restarts(self) -> dict[str, int]:
        """Restarts of its parts that had any, by their names without its own."""
        return {short: part.restarts for short, part in self.parts.items() if part.restarts}

    def brief(self) -> MemberStatus:
        """What is shown of it beside the member that acts."""
        learner = self.learner()
        return MemberStatus(name=self.name, learner=learner, restarts=sum(self.restarts().values()))

    def of_run(self, run: RunStatus) -> RunStatus:
        """The status of a run as if this was its learner.

        Args:
            run: What is known of the rest: actors, stream, phase.
        """
        evaluator = self._supervisor.parts.get(self.evaluator)
        return replace(
            run,
            run_dir=str(self.directory.path),
            learner=self.learner(),
            evaluator=cast(EvaluatorStatus, evaluator.status or EvaluatorStatus()) if evaluator else None,
            study=self._evaluations.study if evaluator else None,
            restarts={**run.restarts, **self.restarts()},
            parts=(*run.parts, *self.parts),
            disk_free=self.directory.free,
        )

    def write_metrics(self, run: RunStatus) -> None:
        """Writes a row of metrics for each part.

        Args:
            run: The status that `of_run` gave.
        """
        for row in rows(run, t=time.time()):
            self.directory.metrics(row)

    def say(self, kind: str, **details: Any) -> None:
        """Notes an event of its own."""
        self.directory.event(kind, **details)
        words = " ".join(f"{name}={value}" for name, value in details.items())
        self._heard(f"{f'{self.name}: ' if self.name else ''}{kind} {words}".strip())

    @contextmanager
    def _by_name(self) -> Generator[None]:
        """What goes wrong in here is said to be this member's."""
        try:
            yield
        except EngramError as error:
            if not self.name:
                raise
            raise RunError(f"{self.name}: {error}") from error

    def _watch_recording(self) -> None:
        if self._recording is None or not ray.wait([self._recording], timeout=0)[0]:
            return
        try:
            if ray.get(self._recording):
                self.say("probe_set_recorded")
        except ray.exceptions.RayError as error:
            cause = getattr(error, "cause", None) or error
            raise RunError(f"the probe set cannot be recorded: {type(cause).__name__}: {cause}") from error
        finally:
            self._recording = None

    def _note_findings(self) -> None:
        """Makes events of what the learner's guardrail found."""
        status = self._supervisor.parts[self.learners[0]].status
        for finding in status.findings if status else ():
            if finding.number > self._findings_seen:
                self._findings_seen = finding.number
                known = {name: value for name, value in asdict(finding).items() if value is not None}
                self.say(f"guardrail_{known.pop('action')}", **known)
                if finding.action == "rollback":  # what is on disk may hold what was undone
                    self._checkpointer.hasten()

    def _highest_version(self, known: int) -> int:
        """A number that no version of this learner has passed, so that none is ever given twice.

        Args:
            known: The newest version in the registry.
        """
        learner = self._supervisor.parts.get(self.learners[0])
        seen = [known, learner.status.version if learner and learner.status else 0]
        if self._resumed:
            seen.append(self.directory.highest_version(2 + int(ROWS_EVERY / self.run.learner.publish_every)))
        return max(seen)
