"""What each part says of itself when the driver asks: frozen records of plain numbers, the source of the live view."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from statistics import harmonic_mean

from common.curiosity.status import CuriosityStatus, TrainersStatus
from common.findings import GuardFinding


@dataclass(frozen=True, kw_only=True, slots=True)
class WriterCounts:
    """One actor's side of the accounting: captured = written + sum(dropped) + spooled, at every moment.

    Attributes:
        captured: Frames that were given a `seq`, over the actor's whole life (restarts included).
        written: Entries that the server acknowledged.
        dropped: Frames given up, by cause: `spool_full`, `died` (lost with a killed process), `rejected`,
            `closed` (no server at the end), `unfit` (shows nothing to learn of).
        spooled: Frames waiting in memory, those in flight included.
    """

    captured: int = 0
    written: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict[str, int])
    spooled: int = 0

    @property
    def lost(self) -> int:
        """Frames dropped that were fit to be written."""
        return sum(self.dropped.values()) - self.dropped.get("unfit", 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class ReaderCounts:
    """One reader's side, for one actor: written = unread + missed + quarantined + gated + guard + withheld + admitted.

    Attributes:
        unread: Entries in the stream behind the reader's position.
        missed: Entries that were trimmed away, or lost with a restarted server, before they were read.
        quarantined: Entries that did not decode and were kept aside.
        gated: Entries refused by a gate of the learner.
        guard: Entries in a guard band.
        withheld: Entries of withheld experiences.
        admitted: Entries handed to the replay buffer.
        duplicates: Entries numbered like earlier ones, and dropped; not part of the sum.
        foreign: Entries that the actor did not write; not part of the sum.
    """

    unread: int = 0
    missed: int = 0
    quarantined: int = 0
    gated: int = 0
    guard: int = 0
    withheld: int = 0
    admitted: int = 0
    duplicates: int = 0
    foreign: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class ActorStatus:
    """One actor at one moment.

    Attributes:
        name: The actor.
        world: World it is in.
        visit: Id of the visit.
        frames: Frames captured by this process.
        system_time: pamiq-core system time of the last capture, seconds.
        fps: Frames a second over the last ten seconds.
        mean_fps: Frames a second since this process's first, pauses included.
        interval_p99: 99th percentile of the time between captures over the last minute, seconds.
        late: Steps that began more than a fifth of an interval after their deadline.
        counts: The accounting.
        weights_version: Version that acts now; 0 before the first.
        step_seconds: Median time of one observe-step-affect, without the wait, seconds.
        cells: Map cells entered in this visit, where there is ground truth.
        covered: Map cells ever entered, by world.
        curiosity: What is known of its curiosity; None for other agents.
        rollouts: The accounting of its rollouts.
        reconnects: Times the connection to Redis was made anew.
        damaged: Data of a recording that were left out because their segments are damaged.
        ended: There is nothing more to see: a recording, or films that are shown once, came to their end.
        unfit: Frames of this process that were not fit to be written, by reason (`common.messages.Unfit`).
        unfit_now: Why the last frame was not; empty for a good one.
        paused: It stands still: nothing is captured and no control is held.
    """

    name: str
    world: str = ""
    visit: str = ""
    frames: int = 0
    system_time: float = 0.0
    fps: float = 0.0
    mean_fps: float = 0.0
    interval_p99: float = 0.0
    late: int = 0
    counts: WriterCounts = WriterCounts()
    weights_version: int = 0
    step_seconds: float = 0.0
    cells: int = 0
    covered: Mapping[str, int] = field(default_factory=dict[str, int])
    curiosity: CuriosityStatus | None = None
    rollouts: WriterCounts = WriterCounts()
    reconnects: int = 0
    damaged: int = 0
    ended: bool = False
    unfit: Mapping[str, int] = field(default_factory=dict[str, int])
    unfit_now: str = ""
    paused: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class LearnerStatus:
    """The learner at one moment: one rank, or `together` all.

    Attributes:
        ranks: Processes that train this network together.
        rank_wait_seconds: Time that a host has waited for what the others had to say, idle rounds included.
        step: Optimiser steps done over the run, resumes included.
        parameters: Numbers that are trained: context encoder and predictor.
        images: Frames used in gradient steps.
        images_per_second: Over the last ten seconds.
        loss: Mean I-JEPA loss of the last steps (smooth L1 to layer-normed targets, without regulariser).
        lr: Learning rate of the next step.
        ring: Frames in the replay buffer.
        capacity: Frames that fit into it.
        left_out: Frames admitted that the buffer, full, did not keep.
        replay_ratio: Frames sampled ÷ frames admitted.
        forfeited: Samples that the ratio allowed and the learner was too slow to take.
        waiting: Why the learner does not train just now: empty, `fill`, `ratio`, `new` or `paused`.
        version: Newest weights version.
        staleness_versions: Median of (newest − acting) version over the frames admitted lately.
        staleness_seconds: Median age of the acting weights over the same frames, seconds.
        staleness_latest_versions: Of the newest of these frames; likewise `staleness_latest_seconds`.
        staleness_mean_versions: Mean over these frames; likewise `staleness_mean_seconds`.
        staleness_max_versions: Most over these frames; likewise `staleness_max_seconds`.
        versions_acknowledged: Versions of this process that the registry has said it keeps.
        versions_abandoned: Versions of this process that it refused, failed, or that newer ones displaced first.
        experiences: Experiences in the ledger.
        counts: The accounting by actor.
        stream_resets: Times another server process was found behind the same address.
        health: What was measured at the newest candidate: `learner.candidates.examine`, and `learner.step.StepReport`
            of the batch before it, where `feature_std` is called `context_std`.
        held: Candidates that the guardrail kept from actors, by reason.
        rollbacks: Rollbacks, by reason.
        findings: The guardrail's newest findings, oldest first.
    """

    ranks: int = 1
    rank_wait_seconds: float = 0.0
    step: int = 0
    parameters: int = 0
    images: int = 0
    images_per_second: float = 0.0
    loss: float = float("nan")
    lr: float = 0.0
    ring: int = 0
    capacity: int = 0
    left_out: int = 0
    replay_ratio: float = 0.0
    forfeited: float = 0.0
    waiting: str = ""
    version: int = 0
    staleness_versions: float = 0.0
    staleness_seconds: float = 0.0
    staleness_latest_versions: float = 0.0
    staleness_latest_seconds: float = 0.0
    staleness_mean_versions: float = 0.0
    staleness_mean_seconds: float = 0.0
    staleness_max_versions: float = 0.0
    staleness_max_seconds: float = 0.0
    versions_acknowledged: int = 0
    versions_abandoned: int = 0
    experiences: int = 0
    counts: Mapping[str, ReaderCounts] = field(default_factory=dict[str, ReaderCounts])
    stream_resets: int = 0
    health: Mapping[str, float] = field(default_factory=dict[str, float])
    held: Mapping[str, int] = field(default_factory=dict[str, int])
    rollbacks: Mapping[str, int] = field(default_factory=dict[str, int])
    findings: tuple[GuardFinding, ...] = ()


def together(ranks: Sequence[LearnerStatus]) -> LearnerStatus:
    """Makes one status of those of several ranks: what is counted or held is added up, the rest is the first rank's.

    Args:
        ranks: At least one, in their order, asked at about the same moment.
    """
    first = ranks[0]
    if len(ranks) == 1:
        return first
    summed = ("rank_wait_seconds", "images", "images_per_second", "ring", "capacity", "left_out", "forfeited")
    counts: dict[str, ReaderCounts] = {}
    for actor in dict.fromkeys(actor for rank in ranks for actor in rank.counts):
        shares = [rank.counts[actor] for rank in ranks if actor in rank.counts]
        counts[actor] = ReaderCounts(
            **{item.name: sum(getattr(share, item.name) for share in shares) for item in fields(ReaderCounts)}
        )
    return replace(
        first,
        **{name: sum(getattr(rank, name) for rank in ranks) for name in summed},
        counts=counts,
        replay_ratio=harmonic_mean(rank.replay_ratio for rank in ranks),  # all have sampled as many
        waiting=next((rank.waiting for rank in ranks if rank.waiting), ""),
        experiences=max(rank.experiences for rank in ranks),
        stream_resets=max(rank.stream_resets for rank in ranks),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluatorStatus:
    """The evaluator at one moment.

    Attributes:
        version: Version of the last finished evaluation; 0 before the first.
        step: Optimiser steps of that version.
        evaluations: Evaluations finished by this process.
        skipped: Versions that came and went unmeasured.
        seconds: Length of the last evaluation, seconds.
        every: Shortest time between two evaluations, seconds.
        age: Seconds since the last evaluation ended; before the first, since it could begin.
        core_share: CPU seconds ÷ wall seconds since the start.
        probes: Score by probe and encoder, for example `{"world": {"trained": 0.6, "random": 0.5, "pixels": 0.4}}`.
        health: `rankme`, `feature_std` and so on, at that version.
        losses: Mean fixed-mask loss by kind of experience: `exposed`, `withheld`, `placebo`.
        memory: Mean of each measure by kind, `{"exposed": {"loss": …, "nmse": …, "bits": …, "reference": …}, …}`.
        cost: CPU seconds of the last evaluation by part.
        experiences: Experiences that are followed.
        measured: Experiences measured at the last evaluation.
        postponed: Experiences that were due then and had no room in the budget.
        thinned: Experiences given up for newer ones.
        activity: What it does now, in a few words.
        paused: It measures nothing; the stream is read all the same.
    """

    version: int = 0
    step: int = 0
    evaluations: int = 0
    skipped: int = 0
    seconds: float = 0.0
    every: float = 0.0
    age: float = 0.0
    core_share: float = 0.0
    probes: Mapping[str, Mapping[str, float]] = field(default_factory=dict[str, Mapping[str, float]])
    health: Mapping[str, float] = field(default_factory=dict[str, float])
    losses: Mapping[str, float] = field(default_factory=dict[str, float])
    memory: Mapping[str, Mapping[str, float]] = field(default_factory=dict[str, Mapping[str, float]])
    cost: Mapping[str, float] = field(default_factory=dict[str, float])
    experiences: int = 0
    measured: int = 0
    postponed: int = 0
    thinned: int = 0
    activity: str = ""
    paused: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class StoreStatus:
    """The Redis server at one moment.

    Attributes:
        up: Whether it answered.
        entries: Entries in each actor's stream.
        memory: Bytes used by the server.
        limit: Bytes that it allows itself (`maxmemory`); 0 for no limit.
        budget: Bytes that the streams may hold.
        restarts: Times that an embedded server died and was brought back.
        relayed: Newest weights version that it holds for hosts outside Ray; 0 for none.
    """

    up: bool = False
    entries: Mapping[str, int] = field(default_factory=dict[str, int])
    memory: int = 0
    limit: int = 0
    budget: int = 0
    restarts: int = 0
    relayed: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Bounded:
    """A number with its 95 % interval.

    Attributes:
        value: The number.
        low: Lower end; None where there is none.
        high: Upper end, likewise.
    """

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyStatus:
    """What all evaluations of a run say together so far (docs/measures.md); what is not measurable is left out.

    Attributes:
        measure: Measure that it is about.
        threshold: θ, in the unit of the measure; None where there is none.
        times: Medians in seconds: `t_mem`, `t_forget` and so on.
        missing: Why a median is not measurable, by its name.
        outcomes: Experiences by time and by what they came to: `event`, `censored`, `collapse`.
        contrasts: `episodic`, `assigned`, `world` at the last version, in the unit of the measure.
        ratios: `false_memories`, `margin`, `saving`.
        continual: Continual metrics of place accuracy.
        seconds: How long reading it took.
    """

    measure: str = ""
    threshold: float | None = None
    times: Mapping[str, Bounded] = field(default_factory=dict[str, Bounded])
    missing: Mapping[str, str] = field(default_factory=dict[str, str])
    outcomes: Mapping[str, Mapping[str, int]] = field(default_factory=dict[str, Mapping[str, int]])
    contrasts: Mapping[str, Bounded] = field(default_factory=dict[str, Bounded])
    ratios: Mapping[str, Bounded] = field(default_factory=dict[str, Bounded])
    continual: Mapping[str, Bounded] = field(default_factory=dict[str, Bounded])
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class MemberStatus:
    """What is shown of a learner beside the one that acts.

    Attributes:
        name: Its name.
        learner: How it does.
        restarts: Restarts of its parts.
    """

    name: str
    learner: LearnerStatus = LearnerStatus()
    restarts: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class RunStatus:
    """Everything the live view shows.

    Attributes:
        elapsed: Seconds since the start of the run.
        duration: Length the run will have, seconds; 0 for no end.
        run_dir: The run directory.
        phase: `starting`, `running`, `paused`, `stopping`.
        actors: Newest status of each actor.
        learner: Newest status of the learner.
        evaluator: Newest status of the evaluator, or None where there is none.
        study: What the evaluations say so far, or None where there is no evaluator.
        trainers: Newest status of the curious agent's trainers, or None where there are none.
        store: Newest status of the Redis server.
        restarts: Restarts by part, for example `{"actor-0": 1}`.
        parts: Names of all parts that are watched.
        disk_free: Bytes left on the disk of the run directory.
        unreachable: Times that a part's metrics could not be fetched for Prometheus, by part.
        metrics_url: Where Prometheus finds all processes.
        control_url: Where pamiq-core's console steers the run; empty where nothing does.
        messages: Newest events, oldest first, one line each.
        member: Name of the learner in its cohort; empty for the only one.
        members: The others of its cohort.
    """

    elapsed: float = 0.0
    duration: float = 0.0
    run_dir: str = ""
    phase: str = "starting"
    actors: tuple[ActorStatus, ...] = ()
    learner: LearnerStatus = LearnerStatus()
    evaluator: EvaluatorStatus | None = None
    study: StudyStatus | None = None
    trainers: TrainersStatus | None = None
    store: StoreStatus = StoreStatus()
    restarts: Mapping[str, int] = field(default_factory=dict[str, int])
    parts: tuple[str, ...] = ()
    disk_free: int = 0
    unreachable: Mapping[str, int] = field(default_factory=dict[str, int])
    metrics_url: str = ""
    control_url: str = ""
    messages: tuple[str, ...] = ()
    member: str = ""
    members: tuple[MemberStatus, ...] = ()
