"""Whether trials that were done again have found what was found before: to the bit, or not.

Committed results keep `trial.json` of each trial. On the same kind of processor, with the same threads and the same
torch, `weights` and `numbers` must be equal; elsewhere sums are rounded otherwise, training multiplies the difference,
and numbers can be compared within a tolerance alone: `engram report OUT --expect FOLDER`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import ConfigError
from deploy.studies.plan import Trial
from deploy.studies.trial import RESULT, result_of

_MACHINE = ("cpu", "vectors", "threads", "torch", "gpu")


@dataclass(frozen=True, kw_only=True, slots=True)
class Agreement:
    """How a trial compares with an earlier one of its name.

    Attributes:
        trial: Its name.
        differs: What is not equal: `stream`, `numbers`, `weights`; empty where all is.
        machines: What is not equal of the two machines, and so may be why.
    """

    trial: str
    differs: tuple[str, ...]
    machines: tuple[str, ...]

    def text(self) -> str:
        """One line."""
        if not self.differs:
            return f"{self.trial}: equal to the bit"
        why = f" ({', '.join(self.machines)} differ)" if self.machines else " on an equal machine"
        return f"{self.trial}: {', '.join(self.differs)} differ{why}"


def compare(trials: Sequence[Trial], folder: Path, expected: Path) -> list[Agreement]:
    """Compares trials with earlier ones.

    Args:
        trials: Of the study; those that have not ended are left out.
        folder: Where theirs are.
        expected: Folder of a study, or of committed results, with `trials/<name>/trial.json`.

    Raises:
        ConfigError: There are no earlier results of some trials.
    """
    check(trials, expected)
    found: list[Agreement] = []
    for trial in trials:
        now, before = result_of(folder / trial.name), result_of(expected / "trials" / trial.name)
        if now is not None and before is not None:
            found.append(_compare(trial.name, now, before))
    return found


def check(trials: Sequence[Trial], expected: Path) -> None:
    """Makes sure that there are earlier results of all trials.

    Raises:
        ConfigError: Of some there are none.
    """
    missing = [trial.name for trial in trials if result_of(expected / "trials" / trial.name) is None]
    if missing:
        allowed = f"must hold trials/NAME/{RESULT} of every trial; {len(missing)} lack one, first {missing[0]}"
        raise ConfigError("expect", str(expected), allowed)


def _compare(name: str, now: Mapping[str, Any], before: Mapping[str, Any]) -> Agreement:
    differs = [what for what in ("numbers", "weights") if now[what] != before[what]]
    if now["stream"]["digest"] != before["stream"]["digest"]:
        differs.insert(0, "stream")
    ours, theirs = now["machine"], before["machine"]
    machines = [what for what in _MACHINE if what in ours and what in theirs and ours[what] != theirs[what]]
    return Agreement(trial=name, differs=tuple(differs), machines=tuple(machines))
