"""Every metric declared once: name, kind, help, labels, buckets.

Dashboards and alerts are tested against this list; `common.metrics` feeds and exports it.
"""

from dataclasses import dataclass
from enum import Enum, StrEnum, unique

_FRAME_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.15, 0.2, 0.35, 0.5, 1.0, 2.0, 5.0, 30.0)
"""Seconds, dense around the 100 ms of a frame."""
_SLOW_BUCKETS = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 3.0, 5.0, 8.0, 13.0, 21.0, 34.0, 60.0, 120.0, 300.0, 1800.0)
"""Seconds, for what waits for a publication or for its turn in the replay buffer."""


class Role(StrEnum):
    """Which kind of process a metric belongs to; the second word of its name."""

    ACTOR = "actor"
    LEARNER = "learner"
    EVALUATOR = "evaluator"
    CURIOSITY = "curiosity"
    DRIVER = "driver"


class Kind(StrEnum):
    """How Prometheus treats a metric."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Spec:
    """The declaration of one metric.

    Attributes:
        kind: Counter, gauge or histogram.
        name: Full name `engram_<part>_<what>_<unit>[_total]`, as Prometheus shows it.
        help: One sentence.
        labels: Label names, in the order in which samples give their values.
        buckets: Upper bounds of a histogram's buckets, in its unit, rising.
    """

    kind: Kind
    name: str
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()

    @property
    def role(self) -> Role:
        """The kind of process that exports it."""
        return Role(self.name.split("_")[1])


def _counter(name: str, help: str, *labels: str) -> Spec:
    return Spec(Kind.COUNTER, f"engram_{name}", help, labels)


def _gauge(name: str, help: str, *labels: str) -> Spec:
    return Spec(Kind.GAUGE, f"engram_{name}", help, labels)


def _histogram(name: str, help: str, *buckets: float, labels: tuple[str, ...] = ()) -> Spec:
    return Spec(Kind.HISTOGRAM, f"engram_{name}", help, labels, buckets)


@unique
class Metric(Enum):
    """The catalogue. Dashboards and alerts are tested against it."""

    ACTOR_CAPTURED = _counter("actor_captured_frames_total", "Frames captured over the actor's whole life.")
    ACTOR_WRITTEN = _counter("actor_written_frames_total", "Frames that the Redis server acknowledged.")
    ACTOR_DROPPED = _counter("actor_dropped_frames_total", "Frames given up, by cause.", "cause")
    ACTOR_SPOOLED = _gauge("actor_spooled_frames", "Frames waiting in memory for the Redis server.")
    ACTOR_SESSION = _counter("actor_session_frames_total", "Frames captured by this process.")
    ACTOR_LATE = _counter("actor_late_steps_total", "Steps begun over a fifth of an interval after their deadline.")
    ACTOR_FPS = _gauge("actor_speed_frames_per_second", "Frames a second over the last ten seconds.")
    ACTOR_STEP_SECONDS = _histogram(
        "actor_step_seconds", "Time of one observe-step-affect, without the wait.",
        0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.5, 1.0,
    )  # fmt: skip
    ACTOR_STEP_MEDIAN = _gauge("actor_step_median_seconds", "Median time of one observe-step-affect.")
    ACTOR_INTERVAL_SECONDS = _histogram(
        "actor_interval_seconds", "Time between two captures.",
        0.01, 0.02, 0.033, 0.05, 0.075, 0.095, 0.1, 0.105, 0.12, 0.15, 0.2, 0.5, 1.0, 5.0,
    )  # fmt: skip
    ACTOR_INTERVAL_P99 = _gauge("actor_interval_p99_seconds", "99th percentile of the interval, last minute.")
    ACTOR_VERSION = _gauge("actor_weights_version", "Weights version that acts now; 0 before the first.")
    ACTOR_WORLD = _gauge("actor_world_info", "1 for the world that the actor is in.", "world")
    ACTOR_CELLS = _gauge("actor_explored_cells", "Map cells entered in this visit, by ground truth.")
    ACTOR_COVERED = _gauge("actor_covered_cells", "Map cells ever entered, by ground truth.", "world")
    ACTOR_REWARD = _gauge("actor_intrinsic_reward", "Mean intrinsic reward of the last hundred steps, nats.")
    ACTOR_ENTROPY = _gauge("actor_policy_entropy_nats", "Mean entropy of the policy over the last hundred steps.")
    ACTOR_VALUE = _gauge("actor_policy_value", "Discounted normalised reward that the policy expects, mean.")
    ACTOR_FORESIGHT_ERROR = _gauge(
        "actor_foresight_error", "Squared error of features foreseen so many steps ahead, standardised.", "ahead"
    )
    ACTOR_PERSISTENCE_ERROR = _gauge("actor_persistence_error", "The same of foreseeing that nothing changes.", "ahead")
    ACTOR_ROLLOUTS = _counter("actor_written_rollouts_total", "Rollouts that the Redis server acknowledged.")
    ACTOR_LOST_ROLLOUTS = _counter("actor_dropped_rollouts_total", "Rollouts given up, by cause.", "cause")
    ACTOR_UNFIT = _counter(
        "actor_unfit_frames_total", "Frames that show nothing to learn of and are not written, by reason.", "reason"
    )
    ACTOR_RECONNECTS = _counter("actor_reconnects_total", "Times the connection to Redis was made anew.")

    ACTOR_WRITE_SECONDS = _histogram(
        "actor_capture_to_stream_seconds", "From capture to the server's acknowledgement.", *_FRAME_BUCKETS
    )
    ACTOR_LIVE_SECONDS = _histogram(
        "actor_published_to_live_seconds", "From a version's making to its first frame in this actor.", *_SLOW_BUCKETS
    )
    ACTOR_GLASS_SECONDS = _histogram(
        "actor_gradient_to_glass_seconds", "From a version's last gradient to its first frame here.", *_SLOW_BUCKETS
    )

    LEARNER_INGEST_SECONDS = _histogram(
        "learner_stream_to_ingest_seconds", "From sending an entry to reading it.", *_FRAME_BUCKETS
    )
    LEARNER_FIRST_SAMPLE_SECONDS = _histogram(
        "learner_ingest_to_first_sample_seconds",
        "From a frame's admission to its first use; frames replaced before that are not seen here.",
        *_SLOW_BUCKETS,
    )
    LEARNER_GRADIENT_SECONDS = _histogram(
        "learner_sample_to_gradient_seconds", "From drawing a batch to the end of its step.", *_FRAME_BUCKETS
    )
    LEARNER_PUBLISH_SECONDS = _histogram(
        "learner_gradient_to_published_seconds", "From the last gradient to the offer of a version.", *_SLOW_BUCKETS
    )
    LEARNER_GLASS_SECONDS = _histogram(
        "learner_glass_to_gradient_seconds", "From capture to the end of a frame's first step.", *_SLOW_BUCKETS
    )
    LEARNER_UNREAD = _gauge("learner_unread_entries", "Entries of the stream not read yet.", "actor")
    LEARNER_READ = _counter(
        "learner_read_entries_total",
        "Entries accounted for, by fate: missed, quarantined, gated, guard, withheld, admitted.",
        "actor", "fate",
    )  # fmt: skip
    LEARNER_DUPLICATES = _counter(
        "learner_duplicate_entries_total", "Entries numbered like earlier ones, and dropped.", "actor"
    )
    LEARNER_FOREIGN = _counter("learner_foreign_entries_total", "Entries that the actor did not write.", "actor")
    LEARNER_RANKS = _gauge("learner_ranks", "Processes that train this network together.")
    LEARNER_RANK_WAIT = _counter(
        "learner_rank_wait_seconds_total", "Time that this rank's host has waited for the others, idle rounds included."
    )
    LEARNER_STEP = _gauge("learner_step", "Optimiser steps of the weights; goes back with a rollback or a restart.")
    LEARNER_PARAMETERS = _gauge("learner_parameters", "Numbers that are trained: context encoder and predictor.")
    LEARNER_IMAGES = _counter("learner_images_total", "Frames used in gradient steps.")
    LEARNER_SPEED = _gauge("learner_speed_images_per_second", "Frames used a second, over the last ten seconds.")
    LEARNER_LOSS = _gauge("learner_loss", "Mean I-JEPA loss of the last steps; alone no evidence of learning.")
    LEARNER_LR = _gauge("learner_learning_rate", "Learning rate of the last step.")
    LEARNER_RING = _gauge("learner_ring_frames", "Frames in the replay buffer.")
    LEARNER_CAPACITY = _gauge("learner_ring_capacity_frames", "Frames that fit into the replay buffer.")
    LEARNER_LEFT_OUT = _counter(
        "learner_left_out_frames_total", "Frames admitted that the replay buffer, full, did not keep."
    )
    LEARNER_REPLAY = _gauge("learner_replay_ratio", "Frames sampled for training ÷ frames admitted.")
    LEARNER_FORFEITED = _counter(
        "learner_forfeited_samples_total", "Samples that the replay ratio allowed and the learner was too slow to take."
    )
    LEARNER_WAITING = _gauge("learner_waiting", "1 for the reason why the learner does not train now.", "reason")
    LEARNER_VERSION = _gauge("learner_weights_version", "Newest weights version.")
    LEARNER_ACKNOWLEDGED = _counter(
        "learner_versions_acknowledged_total", "Versions of this process that the registry has said it keeps."
    )
    LEARNER_ABANDONED = _counter(
        "learner_versions_abandoned_total",
        "Versions that the registry refused or failed, or that newer ones displaced before it answered.",
    )
    LEARNER_STALENESS_VERSIONS = _histogram(
        "learner_staleness_versions", "Newest minus acting weights version of an admitted frame.",
        0.0, 1.0, 2.0, 3.0, 5.0, 8.0, 13.0, 21.0, 50.0, 100.0,
    )  # fmt: skip
    LEARNER_STALENESS_SECONDS = _histogram(
        "learner_staleness_seconds", "Age of the weights that acted on an admitted frame.",
        0.5, 1.0, 2.0, 3.0, 5.0, 8.0, 13.0, 21.0, 60.0, 300.0, 1800.0,
    )  # fmt: skip
    LEARNER_STALENESS_MEDIAN_VERSIONS = _gauge("learner_staleness_median_versions", "Median staleness, lately.")
    LEARNER_STALENESS_MEDIAN_SECONDS = _gauge("learner_staleness_median_seconds", "Median staleness, lately.")
    LEARNER_STALENESS_LATEST_VERSIONS = _gauge("learner_staleness_latest_versions", "Staleness of the newest frame.")
    LEARNER_STALENESS_LATEST_SECONDS = _gauge("learner_staleness_latest_seconds", "Staleness of the newest frame.")
    LEARNER_STALENESS_MEAN_VERSIONS = _gauge("learner_staleness_mean_versions", "Mean staleness, lately.")
    LEARNER_STALENESS_MEAN_SECONDS = _gauge("learner_staleness_mean_seconds", "Mean staleness, lately.")
    LEARNER_STALENESS_MAX_VERSIONS = _gauge("learner_staleness_max_versions", "Greatest staleness, lately.")
    LEARNER_STALENESS_MAX_SECONDS = _gauge("learner_staleness_max_seconds", "Greatest staleness, lately.")
    LEARNER_EXPERIENCES = _gauge("learner_ledger_experiences", "Experiences in the ledger.")
    LEARNER_RESETS = _counter("learner_stream_resets_total", "Times the Redis server was found restarted empty.")
    LEARNER_HEALTH = _gauge("learner_health", "Health of the newest candidate, by measure.", "measure")
    LEARNER_HELD = _counter("learner_candidates_held_total", "Candidates kept from actors, by reason.", "reason")
    LEARNER_ROLLBACKS = _counter("learner_rollbacks_total", "Returns to the last healthy weights.", "reason")

    EVALUATOR_EVALUATIONS = _counter("evaluator_evaluations_total", "Evaluations finished by this process.")
    EVALUATOR_SKIPPED = _counter("evaluator_skipped_versions_total", "Versions that came and went unmeasured.")
    EVALUATOR_SECONDS = _gauge("evaluator_evaluation_seconds", "Length of the last evaluation.")
    EVALUATOR_EVERY = _gauge("evaluator_interval_seconds", "Shortest time between two evaluations.")
    EVALUATOR_AGE = _gauge(
        "evaluator_age_seconds", "Time since the last evaluation ended; before the first, since it could begin."
    )
    EVALUATOR_SHARE = _gauge("evaluator_core_share_ratio", "CPU seconds ÷ wall seconds since the start.")
    EVALUATOR_VERSION = _gauge("evaluator_weights_version", "Version of the last finished evaluation.")
    EVALUATOR_STEP = _gauge("evaluator_step", "Optimiser steps of that version.")
    EVALUATOR_PROBE = _gauge("evaluator_probe_score", "Score of a probe (accuracy or R²).", "probe", "encoder")
    EVALUATOR_LOSS = _gauge("evaluator_experience_loss", "Mean fixed-mask loss by kind of experience.", "kind")
    EVALUATOR_MEMORY = _gauge(
        "evaluator_memory", "Mean score of memory by kind of experience and measure.", "kind", "measure"
    )
    EVALUATOR_BITS = _histogram(
        "evaluator_memory_bits", "Memory bits of each measurement of an experience.",
        -4.0, -2.0, -1.0, -0.5, -0.2, -0.1, 0.0, 0.1, 0.2, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 7.5, 8.0,
        labels=("kind",),
    )  # fmt: skip
    EVALUATOR_CPU = _gauge("evaluator_evaluation_cpu_seconds", "CPU time of the last evaluation, by part.", "component")
    EVALUATOR_HEALTH = _gauge("evaluator_health", "Health of the representation, by measure.", "measure")
    EVALUATOR_EXPERIENCES = _gauge("evaluator_followed_experiences", "Experiences that are followed.")
    EVALUATOR_MEASURED = _gauge("evaluator_measured_experiences", "Experiences measured at the last evaluation.")
    EVALUATOR_POSTPONED = _gauge(
        "evaluator_postponed_experiences", "Experiences that were due then and had no room in the budget."
    )
    EVALUATOR_THINNED = _counter("evaluator_thinned_experiences_total", "Experiences given up for newer ones.")

    CURIOSITY_ROLLOUTS = _counter(
        "curiosity_read_rollouts_total", "Rollouts accounted for, by fate: fed, missed, refused.", "fate"
    )
    CURIOSITY_KEPT = _gauge("curiosity_kept_rollouts", "Rollouts that are trained on.")
    CURIOSITY_UPDATES = _counter("curiosity_dynamics_updates_total", "Gradient steps of the forward dynamics.")
    CURIOSITY_SURPRISE = _gauge(
        "curiosity_surprise_nats", "Surprise so many steps ahead, a dimension, at the last training.", "ahead"
    )
    CURIOSITY_MASKED = _gauge(
        "curiosity_masked_ratio", "Share of steps left out of it, since visit or encoder had changed."
    )
    CURIOSITY_TRAININGS = _counter("curiosity_policy_trainings_total", "Trainings of the policy.")
    CURIOSITY_POLICY = _gauge("curiosity_policy", "Diagnostics of the policy's last training.", "measure")
    CURIOSITY_SHARE = _gauge("curiosity_core_share_ratio", "CPU seconds ÷ wall seconds since the start.")

    DRIVER_TIME = _gauge(
        "driver_memory_time_seconds", "Median time of memory so far, with its 95 % interval.", "time", "bound"
    )
    DRIVER_OUTCOMES = _gauge(
        "driver_memory_experiences", "Experiences by time of memory and by what they came to.", "time", "outcome"
    )
    DRIVER_THRESHOLD = _gauge("driver_memory_threshold_bits", "Contrast from which an experience counts as memorised.")
    DRIVER_CONTRAST = _gauge(
        "driver_memory_contrast_bits", "Contrast of memory at the last evaluation, with its 95 % interval.",
        "contrast", "bound",
    )  # fmt: skip
    DRIVER_MEMORY = _gauge(
        "driver_memory_ratio", "False memories, margin and saving so far, with 95 % intervals.", "what", "bound"
    )
    DRIVER_CONTINUAL = _gauge(
        "driver_continual_score", "Continual metric of place accuracy so far, with its 95 % interval.",
        "metric", "bound",
    )  # fmt: skip

    DRIVER_ELAPSED = _gauge("driver_elapsed_seconds", "Time since the start of the run.")
    DRIVER_DURATION = _gauge("driver_duration_seconds", "Length that the run will have; 0 for no end.")
    DRIVER_PHASE = _gauge("driver_phase", "1 for the phase that the run is in.", "phase")
    DRIVER_RESTARTS = _counter("driver_restarts_total", "Restarts of a part.", "process")
    DRIVER_UNREACHABLE = _counter(
        "driver_unreachable_parts_total", "Times that a part's metrics could not be fetched for Prometheus.", "process"
    )
    DRIVER_DISK_FREE = _gauge("driver_disk_free_bytes", "Bytes left on the disk of the run directory.")
    DRIVER_STORE_UP = _gauge("driver_store_up", "1 if the Redis server answered.")
    DRIVER_STORE_MEMORY = _gauge("driver_store_memory_bytes", "Memory used by the Redis server.")
    DRIVER_STORE_LIMIT = _gauge(
        "driver_store_limit_bytes", "Memory that the Redis server allows itself; 0 for no limit."
    )
    DRIVER_STORE_BUDGET = _gauge("driver_store_budget_bytes", "Bytes that all streams may hold together.")
    DRIVER_STORE_RESTARTS = _counter("driver_store_restarts_total", "Times the embedded Redis server was brought back.")
    DRIVER_STORE_RELAYED = _gauge(
        "driver_store_weights_version", "Newest weights version that Redis holds for hosts outside Ray; 0 for none."
    )
    DRIVER_STORE_ENTRIES = _gauge("driver_store_entries", "Entries in an actor's stream.", "actor")
