"""Trials that were done again, held against earlier ones."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from common.errors import ConfigError
from deploy.studies.expected import compare
from deploy.studies.trial import RESULT
from tests.deploy.studies.streams import trial

RESULT_OF: dict[str, Any] = {
    "v": 1,
    "weights": "a",
    "numbers": "b",
    "stream": {"digest": "c"},
    "machine": {"cpu": "x", "threads": 1, "torch": "2", "gpu": None},
}


def save(folder: Path, **changes: Any) -> None:
    content = copy.deepcopy(RESULT_OF)
    for path, value in changes.items():
        group, _, name = path.rpartition("__")
        (content[group] if group else content)[name] = value
    (folder / "only-s0").mkdir(parents=True, exist_ok=True)
    (folder / "only-s0" / RESULT).write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "only-s0: equal to the bit"),
        ({"weights": "z"}, "only-s0: weights differ on an equal machine"),
        ({"numbers": "z", "machine__cpu": "y"}, "only-s0: numbers differ (cpu differ)"),
        ({"stream__digest": "z", "numbers": "z"}, "only-s0: stream, numbers differ on an equal machine"),
    ],
)
def test_what_differs_is_said_and_whether_the_machines_do(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    save(tmp_path / "before" / "trials")
    save(tmp_path / "now", **changes)
    (found,) = compare([trial(Path())], tmp_path / "now", tmp_path / "before")
    assert found.text() == said


def test_results_of_other_trials_are_no_expectation(tmp_path: Path) -> None:
    save(tmp_path / "now")
    with pytest.raises(ConfigError, match=r"expect.*1 lack one, first only-s0"):
        compare([trial(Path())], tmp_path / "now", tmp_path / "before")
