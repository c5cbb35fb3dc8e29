"""A study, read once: what was asked for, what has ended, and what each condition says."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from deploy.studies.report.blocks import Blocks, arrange
from deploy.studies.report.design import Design, read_design
from deploy.studies.report.findings import Findings, find
from deploy.studies.report.measured import Measured, measure
from deploy.studies.report.trials import Absent, Trial, find_trials


@dataclass(frozen=True, kw_only=True, eq=False)
class Material:
    """All that a report is made of.

    Attributes:
        design: What was asked for.
        trials: Trials that have ended and could be read.
        absent: The others.
        blocks: What may be put together.
        findings: Of each condition that has a trial, in the order of the variants.
        watts: Power of one busy core that energy is estimated with.
    """

    design: Design
    trials: Sequence[Trial]
    absent: Sequence[Absent]
    blocks: Blocks
    findings: Sequence[Findings]
    watts: float

    def named(self, variant: str | None) -> Findings | None:
        """The first condition of a variant."""
        return next((one for one in self.findings if one.condition.variant.name == variant), None)


def gather(folder: Path, watts: float, told: Callable[[str], None] = lambda _: None) -> Material:
    """Reads a study.

    Args:
        folder: Where `study.json` is.
        watts: Power of one busy core.
        told: Called with the name of each trial that was read.

    Raises:
        ConfigError: `study.json` cannot be used.
    """
    design = read_design(folder)
    found = find_trials(design)
    blocks = arrange(design, found.done)
    absent = list(found.absent)
    findings: list[Findings] = []
    for condition in blocks.conditions:
        measured: list[Measured] = []
        for trial in condition.trials:
            one = measure(trial, watts)
            told(trial.name)
            if isinstance(one, Absent):
                absent.append(one)
            else:
                measured.append(one)
        if measured:
            findings.append(find(condition, measured))
    trials = [trial for one in findings for trial in one.condition.trials]
    kept = replace(blocks, conditions=[one.condition for one in findings])
    return Material(design=design, trials=trials, absent=absent, blocks=kept, findings=findings, watts=watts)
