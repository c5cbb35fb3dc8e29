"""The numbers of a trial: their names, what they are called, and which way is better."""

from dataclasses import dataclass

from evaluator.continual.metrics import Metric
from evaluator.evaluation import EncoderName
from evaluator.probes import Task

RANKED = (Task.WORLD, Task.PLACE, Task.DEPTH)
"""Tasks whose mean gain puts variants in order."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Quantity:
    """One number of a trial.

    Attributes:
        key: Its name in data and tables.
        label: What it is called.
        unit: Its unit; may be empty.
        better: 1 where more is better, −1 where less is, 0 where neither.
    """

    key: str
    label: str
    unit: str = ""
    better: int = 0

    @property
    def title(self) -> str:
        """Label with its unit."""
        return f"{self.label} ({self.unit})" if self.unit else self.label


def gain(task: Task) -> str:
    """Key of the gain over random-init in a task."""
    return f"gain.{task}"


def probe(task: Task, encoder: EncoderName) -> str:
    """Key of a probe."""
    return f"probe.{task}.{encoder}"


def continual(metric: Metric) -> str:
    """Key of a continual metric."""
    return f"continual.{metric}"


EPISODIC, EPISODIC_LAST = "memory.episodic", "memory.episodic_last"
WORLD, WORLD_LAST = "memory.world", "memory.world_last"
MEMORISED, MEMORISED_REHEARSED = "memory.memorised", "memory.memorised_rehearsed"
RANKME, FEATURE_STD, DORMANT, UNHEALTHY = "health.rankme", "health.feature_std", "health.dormant", "health.unhealthy"
FLOPS, CPU, IMAGES_A_SECOND, ENERGY = "compute.flops", "compute.cpu", "compute.images_a_second", "compute.energy"

_UNITS = {Task.WORLD: "accuracy", Task.PLACE: "accuracy", Task.HEADING: "R²", Task.DEPTH: "R²"}
_CONTINUAL = {
    Metric.ACC: ("place accuracy at the end, ACC", 1),
    Metric.BWT: ("backward transfer, BWT", 1),
    Metric.FWT: ("forward transfer, FWT", 1),
    Metric.FORGETTING: ("forgetting of places (Chaudhry)", -1),
    Metric.FORGETTING_UNSEEN: ("the same in worlds never visited", 0),
    Metric.MIN_ACC: ("min-ACC", 1),
    Metric.WC_ACC: ("WC-ACC", 1),
    Metric.GAP_DEPTH: ("stability gap", -1),
    Metric.GAP_DEPTH_UNSEEN: ("the same in worlds never visited", 0),
    Metric.RECOVERY: ("recovery after a change of world", -1),
}


def unit_of(task: Task) -> str:
    """Unit of a task's score."""
    return _UNITS.get(task, "R²")


def _catalogue() -> list[Quantity]:
    found = [
        Quantity(key=EPISODIC, label="episodic contrast D, mean over versions", unit="bits", better=1),
        Quantity(key=EPISODIC_LAST, label="episodic contrast D at the end", unit="bits", better=1),
        Quantity(key=WORLD, label="world contrast, mean over versions", unit="bits", better=1),
        Quantity(key=WORLD_LAST, label="world contrast at the end", unit="bits", better=1),
        Quantity(key=MEMORISED, label="share memorised by the end", better=1),
        Quantity(key=MEMORISED_REHEARSED, label="share memorised of the rehearsed", better=1),
    ]
    for task in Task:
        found.append(Quantity(key=gain(task), label=f"gain in {task}", unit=unit_of(task), better=1))
        found += [
            Quantity(key=probe(task, encoder), label=f"{task}, {encoder}", unit=unit_of(task), better=1)
            for encoder in EncoderName
        ]
    for metric, (label, better) in _CONTINUAL.items():
        unit = "s" if metric is Metric.RECOVERY else "accuracy"
        found.append(Quantity(key=continual(metric), label=label, unit=unit, better=better))
    return [
        *found,
        Quantity(key=RANKME, label="RankMe", better=1),
        Quantity(key=FEATURE_STD, label="deviation of features", better=0),
        Quantity(key=DORMANT, label="share of dormant dimensions", better=-1),
        Quantity(key=UNHEALTHY, label="share of unhealthy versions", better=-1),
        Quantity(key=FLOPS, label="operations of training", unit="FLOP"),
        Quantity(key=CPU, label="CPU time, training and evaluation", unit="s"),
        Quantity(key=IMAGES_A_SECOND, label="images a CPU second of training", unit="1/s", better=1),
        Quantity(key=ENERGY, label="energy, estimated", unit="Wh"),
    ]


CATALOGUE = {quantity.key: quantity for quantity in _catalogue()}
