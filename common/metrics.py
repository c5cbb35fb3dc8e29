"""What a process exports: its status as samples, and the one Prometheus registry of it.

    status ──► samples() ─┬─► Metrics.follow ──► registry ──► http://127.0.0.1:port/metrics ──► Prometheus
                          └─► rows() ──────────► metrics.jsonl
    Metrics.observe ────────► histograms ─────────┘

Counters and gauges have their truth in a status record (`common.status`) and are read off it at each scrape, so no
number is counted in two places; only histograms are fed by hand. Samples carry no `run` or `part` label: those are
target labels, given by the driver's `/sd`. Were they on both sides, Prometheus would rename ours to `exported_part`.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from threading import Thread
from typing import override
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, Histogram, ProcessCollector, generate_latest, start_http_server
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from common.catalogue import Kind, Metric, Role
from common.curiosity.status import CuriosityStatus, TrainersStatus
from common.findings import Reason
from common.messages import Unfit
from common.status import ActorStatus, EvaluatorStatus, LearnerStatus, RunStatus, StudyStatus
from common.stream.journal import DropCause

type Status = ActorStatus | LearnerStatus | EvaluatorStatus | TrainersStatus | RunStatus
"""What one process says of itself; the driver's is `RunStatus`."""

WAIT_REASONS = ("fill", "ratio", "new", "paused")
PHASES = ("starting", "running", "paused", "stopping")
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


@dataclass(frozen=True, slots=True)
class Sample:
    """One number of one metric at one moment.

    Attributes:
        metric: Which metric.
        value: The number, in the metric's unit; NaN where there is none yet.
        labels: Label values, in the order of the metric's label names.
    """

    metric: Metric
    value: float
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        assert len(self.labels) == len(self.metric.value.labels), f"{self.metric.value.name} wants other labels"

    @property
    def key(self) -> str:
        """Name and labels as Prometheus writes them: `engram_learner_health{measure="grad_norm"}`."""
        if not self.labels:
            return self.metric.value.name
        pairs = zip(self.metric.value.labels, self.labels, strict=True)
        text = ",".join(f'{name}="{value.translate(_ESCAPES)}"' for name, value in pairs)
        return f"{self.metric.value.name}{{{text}}}"


def samples(status: Status) -> Iterator[Sample]:
    """Lists every counter and gauge that a status holds.

    A `RunStatus` gives the driver's own numbers only: the parts inside it have their own endpoints and rows.
    """
    match status:
        case ActorStatus():
            return _actor(status)
        case LearnerStatus():
            return _learner(status)
        case EvaluatorStatus():
            return _evaluator(status)
        case TrainersStatus():
            return _trainers(status)
        case RunStatus():
            return _driver(status)


def _one_of(metric: Metric, names: tuple[str, ...], now: str) -> Iterator[Sample]:
    for name in names:
        yield Sample(metric, float(name == now), (name,))


def _by_name(metric: Metric, values: Mapping[str, float]) -> Iterator[Sample]:
    for name, value in values.items():
        yield Sample(metric, value, (name,))


def _actor(status: ActorStatus) -> Iterator[Sample]:
    counts = status.counts
    yield Sample(Metric.ACTOR_CAPTURED, counts.captured)
    yield Sample(Metric.ACTOR_WRITTEN, counts.written)
    yield from _by_name(Metric.ACTOR_DROPPED, dict.fromkeys(map(str, DropCause), 0) | dict(counts.dropped))
    yield Sample(Metric.ACTOR_SPOOLED, counts.spooled)
    yield Sample(Metric.ACTOR_SESSION, status.frames)
    yield Sample(Metric.ACTOR_LATE, status.late)
    yield Sample(Metric.ACTOR_FPS, status.fps)
    yield Sample(Metric.ACTOR_STEP_MEDIAN, status.step_seconds)
    yield Sample(Metric.ACTOR_INTERVAL_P99, status.interval_p99)
    yield Sample(Metric.ACTOR_VERSION, status.weights_version)
    if status.world:
        yield Sample(Metric.ACTOR_WORLD, 1, (status.world,))
    yield Sample(Metric.ACTOR_CELLS, status.cells)
    yield from _by_name(Metric.ACTOR_COVERED, status.covered)
    yield Sample(Metric.ACTOR_RECONNECTS, status.reconnects)
    yield from _by_name(Metric.ACTOR_UNFIT, dict.fromkeys(map(str, Unfit), 0) | dict(status.unfit))
    if status.curiosity is not None:
        yield from _curiosity(status.curiosity)
        yield Sample(Metric.ACTOR_ROLLOUTS, status.rollouts.written)
        lost = dict.fromkeys(map(str, DropCause), 0) | dict(status.rollouts.dropped)
        yield from _by_name(Metric.ACTOR_LOST_ROLLOUTS, lost)


def _ahead(metric: Metric, values: Sequence[float]) -> Iterator[Sample]:
    for ahead, value in enumerate(values, start=1):
        yield Sample(metric, value, (str(ahead),))


def _curiosity(status: CuriosityStatus) -> Iterator[Sample]:
    yield Sample(Metric.ACTOR_REWARD, status.reward)
    yield Sample(Metric.ACTOR_ENTROPY, status.entropy)
    yield Sample(Metric.ACTOR_VALUE, status.value)
    yield from _ahead(Metric.ACTOR_FORESIGHT_ERROR, status.errors)
    yield from _ahead(Metric.ACTOR_PERSISTENCE_ERROR, status.persistence)


def _trainers(status: TrainersStatus) -> Iterator[Sample]:
    for fate, count in (("fed", status.rollouts), ("missed", status.missed), ("refused", status.refused)):
        yield Sample(Metric.CURIOSITY_ROLLOUTS, count, (fate,))
    yield Sample(Metric.CURIOSITY_KEPT, status.kept)
    yield Sample(Metric.CURIOSITY_UPDATES, status.updates)
    yield from _ahead(Metric.CURIOSITY_SURPRISE, status.surprises)
    yield Sample(Metric.CURIOSITY_MASKED, status.masked)
    yield Sample(Metric.CURIOSITY_TRAININGS, status.trainings)
    yield from _by_name(Metric.CURIOSITY_POLICY, status.policy)
    yield Sample(Metric.CURIOSITY_SHARE, status.share)


def _learner(status: LearnerStatus) -> Iterator[Sample]:
    for actor, counts in status.counts.items():
        yield Sample(Metric.LEARNER_UNREAD, counts.unread, (actor,))
        for fate in ("missed", "quarantined", "gated", "guard", "withheld", "admitted"):
            yield Sample(Metric.LEARNER_READ, getattr(counts, fate), (actor, fate))
        yield Sample(Metric.LEARNER_DUPLICATES, counts.duplicates, (actor,))
        yield Sample(Metric.LEARNER_FOREIGN, counts.foreign, (actor,))
    yield Sample(Metric.LEARNER_RANKS, status.ranks)
    yield Sample(Metric.LEARNER_RANK_WAIT, status.rank_wait_seconds)
    yield Sample(Metric.LEARNER_STEP, status.step)
    yield Sample(Metric.LEARNER_PARAMETERS, status.parameters)
    yield Sample(Metric.LEARNER_IMAGES, status.images)
    yield Sample(Metric.LEARNER_SPEED, status.images_per_second)
    yield Sample(Metric.LEARNER_LOSS, status.loss)
    yield Sample(Metric.LEARNER_LR, status.lr)
    yield Sample(Metric.LEARNER_RING, status.ring)
    yield Sample(Metric.LEARNER_CAPACITY, status.capacity)
    yield Sample(Metric.LEARNER_LEFT_OUT, status.left_out)
    yield Sample(Metric.LEARNER_REPLAY, status.replay_ratio)
    yield Sample(Metric.LEARNER_FORFEITED, status.forfeited)
    yield from _one_of(Metric.LEARNER_WAITING, WAIT_REASONS, status.waiting)
    yield Sample(Metric.LEARNER_VERSION, status.version)
    yield Sample(Metric.LEARNER_ACKNOWLEDGED, status.versions_acknowledged)
    yield Sample(Metric.LEARNER_ABANDONED, status.versions_abandoned)
    yield Sample(Metric.LEARNER_STALENESS_MEDIAN_VERSIONS, status.staleness_versions)
    yield Sample(Metric.LEARNER_STALENESS_MEDIAN_SECONDS, status.staleness_seconds)
    yield Sample(Metric.LEARNER_STALENESS_LATEST_VERSIONS, status.staleness_latest_versions)
    yield Sample(Metric.LEARNER_STALENESS_LATEST_SECONDS, status.staleness_latest_seconds)
    yield Sample(Metric.LEARNER_STALENESS_MEAN_VERSIONS, status.staleness_mean_versions)
    yield Sample(Metric.LEARNER_STALENESS_MEAN_SECONDS, status.staleness_mean_seconds)
    yield Sample(Metric.LEARNER_STALENESS_MAX_VERSIONS, status.staleness_max_versions)
    yield Sample(Metric.LEARNER_STALENESS_MAX_SECONDS, status.staleness_max_seconds)
    yield Sample(Metric.LEARNER_EXPERIENCES, status.experiences)
    yield Sample(Metric.LEARNER_RESETS, status.stream_resets)
    yield from _by_name(Metric.LEARNER_HEALTH, status.health)
    none = dict.fromkeys(map(str, Reason), 0)
    yield from _by_name(Metric.LEARNER_HELD, none | dict(status.held))
    yield from _by_name(Metric.LEARNER_ROLLBACKS, none | dict(status.rollbacks))


def _evaluator(status: EvaluatorStatus) -> Iterator[Sample]:
    yield Sample(Metric.EVALUATOR_EVALUATIONS, status.evaluations)
    yield Sample(Metric.EVALUATOR_SKIPPED, status.skipped)
    yield Sample(Metric.EVALUATOR_SECONDS, status.seconds)
    yield Sample(Metric.EVALUATOR_EVERY, status.every)
    yield Sample(Metric.EVALUATOR_AGE, status.age)
    yield Sample(Metric.EVALUATOR_SHARE, status.core_share)
    yield Sample(Metric.EVALUATOR_VERSION, status.version)
    yield Sample(Metric.EVALUATOR_STEP, status.step)
    for probe, scores in status.probes.items():
        for encoder, score in scores.items():
            yield Sample(Metric.EVALUATOR_PROBE, score, (probe, encoder))
    yield from _by_name(Metric.EVALUATOR_LOSS, status.losses)
    for kind, measures in status.memory.items():
        for measure, score in measures.items():
            yield Sample(Metric.EVALUATOR_MEMORY, score, (kind, measure))
    yield from _by_name(Metric.EVALUATOR_CPU, status.cost)
    yield from _by_name(Metric.EVALUATOR_HEALTH, status.health)
    yield Sample(Metric.EVALUATOR_EXPERIENCES, status.experiences)
    yield Sample(Metric.EVALUATOR_MEASURED, status.measured)
    yield Sample(Metric.EVALUATOR_POSTPONED, status.postponed)
    yield Sample(Metric.EVALUATOR_THINNED, status.thinned)


def _driver(status: RunStatus) -> Iterator[Sample]:
    yield Sample(Metric.DRIVER_ELAPSED, status.elapsed)
    yield Sample(Metric.DRIVER_DURATION, status.duration)
    yield from _one_of(Metric.DRIVER_PHASE, PHASES, status.phase)
    none = dict.fromkeys(status.parts, 0)
    yield from _by_name(Metric.DRIVER_RESTARTS, none | dict(status.restarts))
    yield from _by_name(Metric.DRIVER_UNREACHABLE, none | dict(status.unreachable))
    yield Sample(Metric.DRIVER_DISK_FREE, status.disk_free)
    yield Sample(Metric.DRIVER_STORE_UP, status.store.up)
    yield Sample(Metric.DRIVER_STORE_MEMORY, status.store.memory)
    yield Sample(Metric.DRIVER_STORE_LIMIT, status.store.limit)
    yield Sample(Metric.DRIVER_STORE_BUDGET, status.store.budget)
    yield Sample(Metric.DRIVER_STORE_RESTARTS, status.store.restarts)
    yield Sample(Metric.DRIVER_STORE_RELAYED, status.store.relayed)
    yield from _by_name(Metric.DRIVER_STORE_ENTRIES, status.store.entries)
    if status.study is not None:
        yield from _study(status.study)


def _study(status: StudyStatus) -> Iterator[Sample]:
    for metric, found in (
        (Metric.DRIVER_TIME, status.times),
        (Metric.DRIVER_CONTRAST, status.contrasts),
        (Metric.DRIVER_MEMORY, status.ratios),
        (Metric.DRIVER_CONTINUAL, status.continual),
    ):
        for name, number in found.items():
            for bound, value in (("value", number.value), ("low", number.low), ("high", number.high)):
                if value is not None:
                    yield Sample(metric, value, (name, bound))
    if status.threshold is not None:
        yield Sample(Metric.DRIVER_THRESHOLD, status.threshold)
    for name, counts in status.outcomes.items():
        for outcome, count in counts.items():
            yield Sample(Metric.DRIVER_OUTCOMES, count, (name, outcome))


def rows(status: RunStatus, *, t: float) -> Iterator[dict[str, float | str | None]]:
    """Flattens a run into rows of `metrics.jsonl`, one a part.

    Args:
        status: The whole run.
        t: Wall clock of the row, seconds since the epoch.

    Yields:
        `{"t": …, "part": "actor-0", "engram_actor_captured_frames_total": 100.0, …}`; what is not finite is None.
    """
    parts: list[tuple[str, Status]] = [("driver", status), *((actor.name, actor) for actor in status.actors)]
    parts.append(("learner", status.learner))
    if status.evaluator is not None:
        parts.append(("evaluator", status.evaluator))
    if status.trainers is not None:
        parts.append(("curiosity", status.trainers))
    for name, part in parts:
        row: dict[str, float | str | None] = {"t": t, "part": name}
        for sample in samples(part):
            row[sample.key] = float(sample.value) if math.isfinite(sample.value) else None
        yield row


class _Follower(Collector):
    """Reads a status at each scrape."""

    def __init__(self, role: Role, source: Callable[[], Status]) -> None:
        self._metrics = [m for m in Metric if m.value.role is role and m.value.kind is not Kind.HISTOGRAM]
        self._source = source

    def describe(self) -> Iterable[Family]:
        """Names without samples, so that registering asks for no status yet."""
        return [_family(metric) for metric in self._metrics]

    @override
    def collect(self) -> Iterable[Family]:
        by_metric: defaultdict[Metric, list[Sample]] = defaultdict(list)
        for sample in samples(self._source()):
            by_metric[sample.metric].append(sample)
        for metric in self._metrics:
            family = _family(metric)
            for sample in by_metric[metric]:
                family.add_metric(sample.labels, sample.value)
            yield family


def _family(metric: Metric) -> CounterMetricFamily | GaugeMetricFamily:
    spec = metric.value
    family = CounterMetricFamily if spec.kind is Kind.COUNTER else GaugeMetricFamily
    return family(spec.name, spec.help, labels=spec.labels)


class Metrics:
    """The registry and the HTTP endpoint of one process.

    Args:
        role: What the process is; decides which histograms it has and which status it may follow.
        own: Off to export for another process, of which only the status is known: without histograms, and without
            what the operating system tells of a process.
    """

    def __init__(self, role: Role, *, own: bool = True) -> None:
        self.role = role
        self.registry = CollectorRegistry()
        if own:
            ProcessCollector(registry=self.registry)
        self._histograms = {
            metric: Histogram(spec.name, spec.help, spec.labels, buckets=spec.buckets, registry=self.registry)
            for metric in Metric
            if own and (spec := metric.value).role is role and spec.kind is Kind.HISTOGRAM
        }
        self._server: tuple[WSGIServer, Thread] | None = None

    def follow(self, source: Callable[[], Status]) -> None:
        """Exports the counters and gauges of what `source` returns, asked anew at each scrape.

        Args:
            source: Returns the newest status of this process; called from the endpoint's thread, so it must be quick
                and hand out a finished record.
        """
        self.registry.register(_Follower(self.role, source))

    def observe(self, metric: Metric, value: float, *labels: str) -> None:
        """Puts one value into a histogram of this process.

        Args:
            metric: A histogram of this role.
            value: In the metric's unit.
            *labels: Label values, in the order of the metric's label names.

        Raises:
            KeyError: The metric is no histogram of this role.
        """
        histogram = self._histograms[metric]
        (histogram.labels(*labels) if labels else histogram).observe(value)

    def exposition(self) -> bytes:
        """Everything in Prometheus' text format, as the endpoint would show it now."""
        return generate_latest(self.registry)

    def serve(self, host: str = "127.0.0.1", port: int = 0) -> int:
        """Starts the endpoint in a thread.

        Args:
            host: Address to listen on.
            port: TCP port; 0 takes a free one.

        Returns:
            The port taken.
        """
        assert self._server is None, "serves already"
        self._server = start_http_server(port, host, self.registry)
        return self._server[0].server_port

    def close(self) -> None:
        """Stops the endpoint and frees its port."""
        if self._server is not None:
            server, thread = self._server
            server.shutdown()
            server.server_close()
            thread.join()
            self._server = None
