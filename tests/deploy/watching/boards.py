"""The dashboards as Grafana would read them, and what their PromQL is made of."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import yaml

from common.catalogue import Kind, Metric
from tests.deploy.watching.monitor import ROOT, SETTINGS

FOLDER = ROOT / "deploy" / "grafana" / "dashboards"
BOARDS: dict[str, dict[str, Any]] = {path.stem: json.loads(path.read_text("utf-8")) for path in FOLDER.glob("*.json")}
TARGET_LABELS = frozenset({"run", "model", "part", "host", "job", "instance"})
"""Labels that every series of the job `engram` has: the driver's `/sd` gives them, or Prometheus itself."""
PROMETHEUS_OWN = {"up": TARGET_LABELS, "ALERTS": frozenset({*TARGET_LABELS, "alertname", "alertstate", "severity"})}

_KEYWORDS = {"and", "or", "unless", "offset", "bool", "by", "on", "without", "ignoring", "group_left", "group_right"}
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_LISTS = re.compile(r"\b(?:by|on|without|ignoring|group_left|group_right)\s*\(([^()]*)\)")
_TIMES = re.compile(r"\[[^\]]*\]|\boffset\s+\w+")
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_SELECTOR = re.compile(r"(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)\s*(?:\{(?P<labels>[^}]*)\})?\s*(?P<call>\()?")


VARIABLES: tuple[str, ...] = ("run", "model", "actor", "world")
EVERYTHING: dict[str, str] = dict.fromkeys(VARIABLES, ".*")
"""What Grafana puts for the variables where nothing is chosen."""


@dataclass(frozen=True, slots=True)
class Question:
    """One query of one panel."""

    board: str
    panel: str
    expr: str

    def asked(self, values: Mapping[str, str], *, rate_interval: str) -> str:
        """The query with its variables replaced, as Grafana sends it."""
        expr = self.expr.replace("$__rate_interval", rate_interval)
        for name, value in values.items():
            expr = re.sub(rf"\${name}\b", value.replace("\\", r"\\"), expr)
        assert "$" not in expr, expr
        return expr


def panels(board: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All panels that show something."""
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def questions() -> Iterator[Question]:
    """All queries of all panels."""
    for name, board in sorted(BOARDS.items()):
        for panel in panels(board):
            for target in panel["targets"]:
                yield Question(name, panel["title"], target["expr"])


@cache
def recorded() -> dict[str, str]:
    """Recorded names and their expressions."""
    groups = yaml.safe_load((SETTINGS / "recording.yaml").read_text("utf-8"))["groups"]
    return {rule["record"]: rule["expr"] for group in groups for rule in group["rules"]}


@cache
def known_series() -> dict[str, frozenset[str]]:
    """Labels by name of every series that there can be."""
    found = dict(PROMETHEUS_OWN)
    for metric in Metric:
        spec = metric.value
        labels = TARGET_LABELS | set(spec.labels)
        if spec.kind is Kind.HISTOGRAM:
            found |= {f"{spec.name}_bucket": labels | {"le"}, f"{spec.name}_sum": labels, f"{spec.name}_count": labels}
        else:
            found[spec.name] = labels
    for name, expr in recorded().items():
        found[name] = frozenset(label for labels in _LISTS.findall(expr) for label in _NAME.findall(labels))
    return found


@dataclass(frozen=True, slots=True)
class Parsed:
    """What an expression asks for: labels that each selector names, and labels that it groups by."""

    selectors: tuple[tuple[str, frozenset[str]], ...]
    grouping: frozenset[str]


def parse(expr: str) -> Parsed:
    """Reads names and labels off an expression; promtool and Prometheus check the rest."""
    bare = _TIMES.sub(" ", _STRING.sub('""', expr))
    grouping = frozenset(label for labels in _LISTS.findall(bare) for label in _NAME.findall(labels))
    bare = _LISTS.sub(" ", bare)
    found: list[tuple[str, frozenset[str]]] = []
    for match in _SELECTOR.finditer(bare):
        if match["call"] or match["name"] in _KEYWORDS or re.match(r"[\d.]", bare[max(0, match.start() - 1)]):
            continue
        found.append((match["name"], frozenset(_NAME.findall(match["labels"] or ""))))
    return Parsed(tuple(found), grouping)


def strangers(expr: str) -> list[str]:
    """Names and labels of an expression that no series has."""
    known = known_series()
    parsed = parse(expr)
    wrong = [name for name, _ in parsed.selectors if name not in known]
    wrong += [
        f"{name}{{{label}}}" for name, labels in parsed.selectors for label in sorted(labels - known.get(name, labels))
    ]
    having = frozenset[str]().union(*(known.get(name, frozenset()) for name, _ in parsed.selectors))
    return wrong + sorted(f"by ({label})" for label in parsed.grouping - having)
