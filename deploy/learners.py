"""All who learn from a run's stream: the learner whose weights act, and in a cohort the others beside it."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# Ray's handles are untyped.

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from common.catalogue import Role
from common.config import RunConfig
from common.errors import EngramError
from common.metrics import Metrics
from common.status import RunStatus
from common.weights import WeightSource
from deploy.cluster import Cluster
from deploy.discovery import MetricsDirectory
from deploy.member import Cohort, LastWord, Member
from deploy.parts import Stage
from deploy.placement import Placement, equal_shares, of_curiosity, of_learner
from deploy.rundir import RunDirectory
from deploy.supervision import Supervisor
from evaluator.probeset import ProbeSpec


class Learners:
    """Runs all members of a cohort, or the one learner of a run.

    Args:
        run: The run's configuration.
        directory: The run directory.
        cohort: Who else learns.
        supervisor: Watches their parts.
        resumed: The directories hold an earlier part of this run, to be continued.
        saved: Called on a thread when a checkpoint is on disk.
        elapsed: Gives the seconds since the start of the run.
        heard: Told of each event, as a line.
    """

    def __init__(
        self,
        run: RunConfig,
        directory: RunDirectory,
        cohort: Cohort,
        *,
        supervisor: Supervisor,
        resumed: bool,
        saved: Callable[[], object],
        elapsed: Callable[[], float],
        heard: Callable[[str], None],
    ) -> None:
        self._cohort = cohort
        self._curiosity = of_curiosity(run)
        self._heard = heard
        enrolled = {cohort.acting: (run, directory)}
        enrolled |= {name: (one.run, one.directory) for name, one in cohort.others.items()}
        self._members = [
            Member(
                name,
                own,
                folder,
                supervisor=supervisor,
                acts=number == 0,
                first=own.learner.checkpoint_every * (1 - number / len(enrolled)),
                resumed=resumed,
                saved=saved,
                elapsed=elapsed,
                heard=heard,
            )
            for number, (name, (own, folder)) in enumerate(enrolled.items())
        ]
        self.acting, *self._others = self._members

    @property
    def readers(self) -> list[str]:
        """Names of all parts that read the stream."""
        return [name for member in self._members for name in member.readers]

    def begin(self, stage: Stage, cluster: Cluster, *, url: str) -> tuple[WeightSource, Placement]:
        """Makes the weight registries, and has the probe sets recorded.

        Args:
            stage: What all parts of the run have in common.
            cluster: Where they are to live.
            url: The stream's server.

        Returns:
            The weights that act, and where the parts of the member whose they are live.

        Raises:
            ConfigError: The cluster lacks what they need.
        """
        shares = self._gpu_shares(cluster)
        recorded: set[ProbeSpec] = set()
        found: list[tuple[WeightSource, Placement]] = []
        for member in self._members:
            run = replace(member.run, redis_url=url)
            placement = cluster.placement(run, gpus=shares.get(member.name), learners=len(self._members))
            probes = member.probe_set
            parts = member.begin(stage, placement, records=probes is not None and probes not in recorded)
            if probes is not None:
                recorded.add(probes)
            found.append((parts.weights(), placement))
        return found[0]

    def _gpu_shares(self, cluster: Cluster) -> dict[str, float]:
        """What each member takes of a GPU; nothing to say where there is one learner."""
        if not self._others:
            return {}
        trains = {member.name: of_learner(member.run) > 0 for member in self._members}
        given = {name: share for name, share in self._cohort.gpus.items() if trains[name]}
        shares = equal_shares(given, gpus=cluster.gpus(), beside=self._curiosity)
        return {name: shares.get(name, 0.0) for name in trains}

    def launch_learners(self) -> None:
        """Starts the learners."""
        for member in self._members:
            member.launch_learner()

    def launch_evaluators(self) -> None:
        """Starts the evaluators."""
        for member in self._members:
            member.launch_evaluator()

    def are_there(self) -> bool:
        """Whether all learners and evaluators have come up, and said so."""
        return all(part.status is not None for member in self._members for part in member.parts.values())

    def list_in(self, found: MetricsDirectory, of_all: Callable[[], RunStatus]) -> None:
        """Has the driver show Prometheus of the others what it shows of the acting member under its own name.

        Args:
            found: Lists what Prometheus scrapes.
            of_all: What a run's status holds beside its learner; called from the server's threads.
        """
        for member in self._others:
            told = Metrics(Role.DRIVER, own=False)
            told.follow(partial(_whole, member, of_all))
            found.register("member", told.exposition, member=member.name)

    def look(self, found: MetricsDirectory, *, here: str) -> None:
        """Does what is due.

        Raises:
            RunError: As `Member.look`.
        """
        for member in self._members:
            found.look(member.parts, here=here, member=member.name)
            member.look()

    def hasten(self) -> None:
        """Takes all next checkpoints and states as soon as possible."""
        for member in self._members:
            member.hasten()

    def restarted(self, part: str, reason: str) -> Member | None:
        """Notes that a part was started anew; returns whose it is, None for nobody's here."""
        for member in self._members:
            if part in member.readers:
                member.restarted(part, reason)
                return member
        return None

    def ask_evaluators_to_stop(self) -> list[Any]:
        """Has the evaluators give up what is under way; returns what `end` waits for."""
        return [member.ask_evaluator_to_stop() for member in self._members]

    def end_learners(self, last_word: LastWord) -> list[EngramError]:
        """Lets all drain at once, and writes their last checkpoints; returns what went wrong with some of them."""
        failed: list[EngramError] = []
        asked = [(member, member.ask_learner_to_stop()) for member in self._members]
        for member, references in asked:
            try:
                member.end_learner(references, last_word)
            except EngramError as error:  # the others' checkpoints are written all the same
                failed.append(error)
        return failed

    def end_evaluators(self, asked: list[Any], last_word: LastWord) -> None:
        """Writes their last rows and states."""
        for member, references in zip(self._members, asked, strict=True):
            member.end_evaluator(references, last_word)

    def all_read(self) -> bool:
        """Whether nobody has left anything unread."""
        learners = [member.learner() for member in self._members]
        return not any(counts.unread for learner in learners for counts in learner.counts.values())

    def status(self, of_all: RunStatus) -> RunStatus:
        """Completes a run's status with the member that acts, and with a word on the others."""
        status = replace(self.acting.of_run(of_all), member=self.acting.name)
        return replace(status, members=tuple(member.brief() for member in self._others))

    def write_metrics(self, of_all: RunStatus) -> None:
        """Writes rows of metrics into each member's run directory."""
        for member in self._members:
            member.write_metrics(member.of_run(of_all))

    def say(self, kind: str, **details: Any) -> None:
        """Notes an event that concerns all members."""
        for member in self._members:
            member.directory.event(kind, **details)
        words = " ".join(f"{name}={value}" for name, value in details.items())
        self._heard(f"{kind} {words}".strip())

    def say_stopped(self, stood: float) -> None:
        """Notes that the run has ended in order.

        Args:
            stood: Seconds that it has stood still.
        """
        for member in self._members:
            member.directory.event("stopped", step=member.learner().step, stood=stood)
        self._heard(f"stopped step={self.acting.learner().step} stood={stood}")

    def close(self) -> None:
        """Waits for what is being written."""
        for member in self._members:
            member.close()


def _whole(member: Member, of_all: Callable[[], RunStatus]) -> RunStatus:
    return member.of_run(of_all())
