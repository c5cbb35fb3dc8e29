"""Cases to be examined, and one check at a time."""

from pathlib import Path
from typing import Any

from common.config import RunConfig
from common.config.files import with_values
from common.config.presets import preset
from deploy.doctor.examination import all_checks, examine
from deploy.doctor.finding import Case, Finding


def run_of(name: str = "demo", **values: Any) -> RunConfig:
    """A preset with fields changed; a double underscore stands for the dot."""
    return with_values(preset(name), {path.replace("__", "."): value for path, value in values.items()})


def look(check: str, case: Case | RunConfig) -> Finding:
    """How one check comes out."""
    wanted = [one for one in all_checks() if one.name == check]
    assert len(wanted) == 1, f"no check {check!r}"
    (finding,) = examine(case if isinstance(case, Case) else Case(run=case, runs=Path("no-such-folder")), wanted)
    return finding
