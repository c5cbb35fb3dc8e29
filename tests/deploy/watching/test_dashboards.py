"""The dashboards by themselves: Grafana's schema, names of the catalogue, and that a person can read them."""

import json
import re
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from tests.deploy.watching.boards import (
    BOARDS,
    FOLDER,
    VARIABLES,
    Question,
    panels,
    parse,
    questions,
    recorded,
    strangers,
)
from tests.deploy.watching.monitor import ROOT, SETTINGS

DATASOURCE = {"type": "prometheus", "uid": "engram-prometheus"}
KINDS = {"timeseries", "stat", "bargauge", "heatmap", "state-timeline", "table"}
PLUGIN_FIELDS = re.compile(
    r"\.annotations\.list\[\d+\]\.(?:target\.(?:expr|interval|refId)|titleFormat|textFormat|tagKeys|useValueForTime)"
)
"""What only Grafana's Prometheus plugin knows of an annotation: its schema leaves queries of annotations open."""


def test_there_are_the_five() -> None:
    assert {name: board["title"] for name, board in BOARDS.items()} == {
        "overview": "Engram: overview",
        "actors": "Engram: actors and stream",
        "learner": "Engram: learner",
        "memory": "Engram: memory and forgetting",
        "cohort": "Engram: cohort",
    }
    assert all(board["uid"] == f"engram-{name}" for name, board in BOARDS.items())


@pytest.mark.parametrize("name", BOARDS)
def test_the_json_is_as_grafana_writes_it(name: str) -> None:
    text = (FOLDER / f"{name}.json").read_text("utf-8")
    assert text == json.dumps(BOARDS[name], indent=2, ensure_ascii=False) + "\n"


@pytest.mark.parametrize("name", BOARDS)
def test_grafanas_own_models_know_every_field(name: str) -> None:
    """Decoded into the typed models of Grafana's schema and encoded again, nothing is gone and nothing has changed."""
    register_default_plugins()
    back = json.loads(JSONEncoder(sort_keys=True).encode(Dashboard.from_json(BOARDS[name])))
    assert [path for path in differences(BOARDS[name], back) if not PLUGIN_FIELDS.fullmatch(path)] == []
    wrong = json.loads(json.dumps(BOARDS[name]))
    panels(wrong)[0]["options"]["graphMod"] = "none"
    again = json.loads(JSONEncoder(sort_keys=True).encode(Dashboard.from_json(wrong)))
    assert any(path.endswith("options.graphMod") for path in differences(wrong, again)), "a misspelt field is seen"


def differences(ours: Any, theirs: Any, path: str = "") -> Iterator[str]:
    """Paths of what we have and they have not, or have otherwise."""
    if isinstance(ours, dict):
        for key, value in ours.items():  # pyright: ignore[reportUnknownVariableType]
            if not isinstance(theirs, dict) or key not in theirs:
                yield f"{path}.{key}"
            else:
                yield from differences(value, theirs[key], f"{path}.{key}")
    elif isinstance(ours, list):
        if not isinstance(theirs, list) or len(ours) != len(theirs):  # pyright: ignore[reportUnknownArgumentType]
            yield path
        else:
            for index, (one, other) in enumerate(zip(ours, theirs, strict=True)):  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
                yield from differences(one, other, f"{path}[{index}]")
    elif ours != theirs:
        yield path


@pytest.mark.parametrize("name", BOARDS)
def test_a_dashboard_is_whole(name: str) -> None:
    board = BOARDS[name]
    assert board["schemaVersion"] == 41
    assert board["tags"] == ["engram"]
    assert board["description"].strip()
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    places = [panel["gridPos"] for panel in board["panels"]]
    for one, other in combinations(places, 2):
        apart_x = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        apart_y = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert apart_x or apart_y, (one, other)
    assert all(place["x"] >= 0 and place["x"] + place["w"] <= 24 for place in places)
    assert len(panels(board)) <= 16, "too much for one look"
    titles = [panel["title"] for panel in panels(board)]
    assert len(set(titles)) == len(titles)


@pytest.mark.parametrize("name", BOARDS)
def test_every_panel_says_what_it_shows(name: str) -> None:
    for panel in panels(BOARDS[name]):
        assert panel["type"] in KINDS, panel["title"]
        assert panel["title"][0].isupper()
        assert panel["description"].endswith("."), panel["title"]
        assert panel["datasource"] == DATASOURCE, panel["title"]
        defaults = panel["fieldConfig"]["defaults"]
        assert defaults["unit"], panel["title"]
        levels = [step["value"] for step in defaults["thresholds"]["steps"]]
        assert levels[0] is None
        assert levels[1:] == sorted(levels[1:]), panel["title"]
        assert [target["refId"] for target in panel["targets"]] == list("ABCDEFGH"[: len(panel["targets"])])
        for target in panel["targets"]:
            assert target["datasource"] == DATASOURCE
            assert target["range"] is not target["instant"]
            assert panel["type"] == "table" or target["legendFormat"], panel["title"]


@pytest.mark.parametrize("name", BOARDS)
def test_variables_are_there_and_are_used(name: str) -> None:
    variables = BOARDS[name]["templating"]["list"]
    assert {variable["name"] for variable in variables} == set(VARIABLES)
    for variable in variables:
        assert variable["datasource"] == DATASOURCE
        assert variable["multi"]
        assert variable["includeAll"]
        (inner,) = re.findall(r"label_values\((.*), (?:run|model|part|world)\)", variable["query"]["query"])
        assert strangers(inner) == []
    text = " ".join(target["expr"] for panel in panels(BOARDS[name]) for target in panel["targets"])
    assert {used for used in VARIABLES if f"${used}" in text} == set(VARIABLES)


@pytest.mark.parametrize("question", list(questions()), ids=lambda q: f"{q.board}: {q.panel}")
def test_a_query_asks_for_what_there_is(question: Question) -> None:
    assert strangers(question.expr) == []
    assert "vector(" not in question.expr, "an empty panel must be empty"
    for selector in re.findall(r"\{[^}]*\}", question.expr):
        assert 'run=~"$run", model=~"$model"' in selector, selector


@pytest.mark.parametrize("name", BOARDS)
def test_annotations_mark_visits_rollbacks_and_restarts(name: str) -> None:
    notes = {note["name"]: note for note in BOARDS[name]["annotations"]["list"] if not note.get("builtIn")}
    assert {"Visits", "Rollbacks", "Restarts", "Alerts"} == set(notes)
    for note in notes.values():
        assert note["datasource"] == DATASOURCE
        assert strangers(note["target"]["expr"]) == []
        assert note["titleFormat"]
    assert "engram_actor_world_info" in notes["Visits"]["target"]["expr"]
    assert "engram_learner_rollbacks_total" in notes["Rollbacks"]["target"]["expr"]
    assert "engram_driver_restarts_total" in notes["Restarts"]["target"]["expr"]


def test_the_reader_of_queries_sees_what_is_wrong() -> None:
    assert strangers("rate(engram_actor_captured_frames_total[1m])") == []
    assert strangers("rate(engram_actor_captures_total[1m])") == ["engram_actor_captures_total"]
    assert strangers("node_load1 > 2") == ["node_load1"]
    assert strangers('engram_learner_loss{measure="x"}') == ["engram_learner_loss{measure}"]
    assert strangers("sum by (world) (engram_learner_loss)") == ["by (world)"]
    assert strangers("engram_actor_step_seconds") == ["engram_actor_step_seconds"], "a histogram has no plain series"
    parsed = parse('sum by (run) (up{job="a,b{c}"} == 1e3) unless on (run) (x:y:z offset 15s)')
    assert parsed.selectors == (("up", frozenset({"job"})), ("x:y:z", frozenset()))
    assert parsed.grouping == {"run"}


def test_recorded_series_and_alerts_ask_for_what_there_is() -> None:
    groups = yaml.safe_load((SETTINGS / "alerts.yaml").read_text("utf-8"))["groups"]
    for expr in (*recorded().values(), *(rule["expr"] for group in groups for rule in group["rules"])):
        assert strangers(expr) == []


def test_recorded_series_are_used() -> None:
    alerts = (SETTINGS / "alerts.yaml").read_text("utf-8")
    text = alerts + "".join(question.expr for question in questions())
    assert [name for name in recorded() if name not in text] == []


def test_grafana_is_provisioned_from_these_files() -> None:
    folder = ROOT / "deploy" / "grafana" / "provisioning"
    (source,) = yaml.safe_load((folder / "datasources" / "prometheus.yaml").read_text("utf-8"))["datasources"]
    assert {"type": source["type"], "uid": source["uid"]} == DATASOURCE
    assert source["url"] == "http://127.0.0.1:9090"
    interval = yaml.safe_load((SETTINGS / "prometheus.yml").read_text("utf-8"))["global"]["scrape_interval"]
    assert source["jsonData"]["timeInterval"] == interval, "or $__rate_interval is too short for two scrapes"
    (provider,) = yaml.safe_load((folder / "dashboards" / "engram.yaml").read_text("utf-8"))["providers"]
    assert provider["type"] == "file"
