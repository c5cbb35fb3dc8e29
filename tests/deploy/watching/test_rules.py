"""The rules by themselves: promtool's own checks, and a test of when each alert fires and when not."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.watching.monitor import ROOT, SETTINGS, faster

RULES = Path(__file__).parent / "rules"
RUNBOOK = ROOT / "docs" / "runbook.md"
ALERTS: dict[str, dict[str, Any]] = {
    rule["alert"]: rule
    for group in yaml.safe_load((SETTINGS / "alerts.yaml").read_text("utf-8"))["groups"]
    for rule in group["rules"]
}

needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="Debian's prometheus is not here")


def promtool(*arguments: str | Path, folder: Path = RULES) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["promtool", *map(str, arguments)], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )


def file_of(alert: str) -> Path:
    """`EngramActorSilent` is tested in `actor_silent.yaml`."""
    return RULES / (re.sub(r"(?<!^)(?=[A-Z])", "_", alert.removeprefix("Engram")).lower() + ".yaml")


def anchors(text: str) -> set[str]:
    """What GitHub makes of the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@needs_promtool
def test_promtool_accepts_configuration_and_rules() -> None:
    found = promtool("check", "config", SETTINGS / "prometheus.yml")
    assert found.returncode == 0, found.stdout + found.stderr
    assert found.stdout.count("SUCCESS") == 4, "the configuration, and both files of rules that it names"


def test_there_is_an_alert_for_each_fault() -> None:
    assert set(ALERTS) == {
        "EngramActorSilent", "EngramDiskNearlyFull", "EngramEvaluatorBehind", "EngramFramesDropped",
        "EngramFramesLate", "EngramLearnerStalled", "EngramReaderBehind", "EngramRepresentationCollapse",
        "EngramRestartLoop", "EngramRunGone", "EngramStoreDown", "EngramStreamNearBudget", "EngramWeightsStale",
    }  # fmt: skip
    assert {path.name for path in RULES.glob("*.yaml")} == {file_of(alert).name for alert in ALERTS}


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_says_what_is_wrong_and_where_help_is(alert: str) -> None:
    rule = ALERTS[alert]
    notes = rule["annotations"]
    assert rule["labels"]["severity"] in {"warning", "critical"}
    assert set(notes) == {"summary", "description", "runbook"}
    assert "$labels.run" in notes["summary"]
    assert notes["description"].endswith(".")
    page, _, anchor = notes["runbook"].partition("#")
    assert ROOT / page == RUNBOOK
    assert anchor in anchors(RUNBOOK.read_text("utf-8"))


def test_the_runbook_has_no_page_too_many() -> None:
    used = {rule["annotations"]["runbook"].partition("#")[2] for rule in ALERTS.values()}
    assert anchors(RUNBOOK.read_text("utf-8")) - used == {"runbook"}


@needs_promtool
@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_fires_when_it_should_and_not_else(alert: str, tmp_path: Path) -> None:
    path = file_of(alert)
    found = promtool("test", "rules", path)
    assert found.returncode == 0, found.stdout + found.stderr
    for expr in ("vector(1) > 1", 'label_replace(vector(1), "run", "x", "", "")'):
        assert promtool("test", "rules", spoilt(path, alert, expr, tmp_path)).returncode == 1, f"passes with {expr}"


def spoilt(path: Path, alert: str, expr: str, folder: Path) -> Path:
    """A copy of a test whose alert has another expression: one that never fires, or always does."""
    rules = yaml.safe_load((SETTINGS / "alerts.yaml").read_text("utf-8"))
    for rule in rules["groups"][0]["rules"]:
        if rule["alert"] == alert:
            rule["expr"] = expr
    (folder / "alerts.yaml").write_text(yaml.safe_dump(rules), "utf-8")
    test = yaml.safe_load(path.read_text("utf-8"))
    test["rule_files"] = [str(SETTINGS / "recording.yaml"), str(folder / "alerts.yaml")]
    copy = folder / path.name
    copy.write_text(yaml.safe_dump(test), "utf-8")
    return copy


@needs_promtool
def test_rules_made_faster_for_tests_are_rules(tmp_path: Path) -> None:
    for name in ("recording.yaml", "alerts.yaml"):
        (tmp_path / name).write_text(faster((SETTINGS / name).read_text("utf-8"), 20.0), "utf-8")
        found = promtool("check", "rules", tmp_path / name)
        assert found.returncode == 0, found.stdout + found.stderr
    text = (tmp_path / "alerts.yaml").read_text("utf-8")
    assert "[10m]" not in text
    assert "for: 5m" not in text
    assert "[30s]" in text
