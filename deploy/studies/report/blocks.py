"""Which trials may be put together, by their streams.

Trials are paired where seed, checksum and salt of the stream are equal. Over the seeds of a variant is pooled where the
stream is the seed's own, the same for all variants, or where a variant has one stream, or a stream of its own for every
seed. Otherwise a variant is shown apart by stream. Variants that saw different streams at the same seed come into
different blocks: they may stand side by side, but no difference between them is a paired one.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from deploy.studies.report.design import Design, Variant
from deploy.studies.report.trials import StreamOf, Trial


@dataclass(frozen=True, kw_only=True, slots=True)
class Condition:
    """Trials that are pooled: one variant, one a seed.

    Attributes:
        variant: The variant.
        block: Number of the block of streams that it belongs to.
        apart: Name of the stream, where the variant had to be split by stream; empty otherwise.
        trials: At least one, by seed.
    """

    variant: Variant
    block: int
    apart: str
    trials: Sequence[Trial]

    @property
    def name(self) -> str:
        """Name in figures and tables."""
        return f"{self.variant.name} on {self.apart}" if self.apart else self.variant.name

    @property
    def seeds(self) -> list[int]:
        """Seeds of its trials."""
        return [trial.seed for trial in self.trials]


@dataclass(frozen=True, kw_only=True, slots=True)
class Blocks:
    """The conditions of a study.

    Attributes:
        conditions: In the order of the variants.
        said: What had to be kept apart, in words; empty where everything is paired.
        count: Number of blocks.
        streams: Streams of all trials.
    """

    conditions: Sequence[Condition]
    said: str
    count: int
    streams: Sequence[StreamOf]

    def paired(self, one: Condition, other: Condition) -> list[tuple[int, int]]:
        """Places of the trials of both that are paired."""
        place = {trial.key: number for number, trial in enumerate(other.trials)}
        return [(number, place[trial.key]) for number, trial in enumerate(one.trials) if trial.key in place]


def arrange(design: Design, done: Sequence[Trial]) -> Blocks:
    """Sorts trials into conditions and blocks."""
    of_seed: defaultdict[int, set[StreamOf]] = defaultdict(set)
    by_variant: dict[str, list[Trial]] = {variant.name: [] for variant in design.variants}
    for trial in done:
        of_seed[trial.seed].add(trial.stream)
        by_variant[trial.variant].append(trial)
    streams = list(dict.fromkeys(trial.stream for trial in done))
    together = all(len(found) == 1 for found in of_seed.values())
    conditions: list[Condition] = []
    plans: list[dict[int, StreamOf]] = []
    for variant in design.variants:
        for apart, trials in _split(by_variant[variant.name], together=together):
            block = 0 if together else _block({trial.seed: trial.stream for trial in trials}, plans)
            ordered = sorted(trials, key=lambda trial: trial.seed)
            conditions.append(Condition(variant=variant, block=block, apart=apart, trials=ordered))
    said = "" if together else _words(conditions, of_seed)
    return Blocks(conditions=conditions, said=said, count=max(len(plans), 1), streams=streams)


def _split(trials: Sequence[Trial], *, together: bool) -> list[tuple[str, Sequence[Trial]]]:
    of_stream: defaultdict[StreamOf, list[Trial]] = defaultdict(list)
    for trial in trials:
        of_stream[trial.stream].append(trial)
    if not trials:
        return []
    if together or len(of_stream) in (1, len(trials)):
        return [("", trials)]
    return [(stream.short, found) for stream, found in of_stream.items()]


def _block(plan: Mapping[int, StreamOf], plans: list[dict[int, StreamOf]]) -> int:
    """First block whose streams this agrees with wherever both know one, and somewhere they do; a new one otherwise."""
    for number, known in enumerate(plans):
        shared = known.keys() & plan.keys()
        if shared and all(known[seed] == plan[seed] for seed in shared):
            known.update(plan)
            return number
    plans.append(dict(plan))
    return len(plans) - 1


def _words(conditions: Sequence[Condition], of_seed: Mapping[int, set[StreamOf]]) -> str:
    seeds = ", ".join(str(seed) for seed, found in sorted(of_seed.items()) if len(found) > 1)
    groups: defaultdict[int, list[str]] = defaultdict(list)
    for condition in conditions:
        groups[condition.block].append(condition.name)
    listed = "; ".join(", ".join(names) for names in groups.values())
    return (
        f"Trials of the same seed ({seeds}) saw different streams, so paired differences between these groups are "
        f"refused, and each is shown with a sign of its own: {listed}."
    )
