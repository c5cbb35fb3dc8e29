"""What no short real run shows: panels of memory with numbers in them, and each alert under its fault.

A real Prometheus with the real rules scrapes real metrics of a made-up status (`synthetic.py`). Windows and waits of
the rules are twenty times shorter; no other number of them is changed.
"""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.status import ReaderCounts, WriterCounts
from tests.deploy.watching.boards import EVERYTHING, questions
from tests.deploy.watching.monitor import RealPrometheus, needs_prometheus, prometheus
from tests.deploy.watching.synthetic import MIB, Life, shown
from tests.deploy.watching.test_dashboards_live import RATE_INTERVAL, UNMEASURED
from tests.deploy.watching.test_rules import ALERTS
from tests.runs import wait_until

pytestmark = [needs_prometheus, pytest.mark.timeout(300)]

FACTOR = 20.0
HEALTHY = 25.0
"""Seconds for which nothing may fire: longer than all windows and waits that a short life could fill."""


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[tuple[Life, RealPrometheus]]:
    life = Life()
    with (
        shown(life, "synthetic") as directory,
        prometheus(tmp_path / "prometheus", directory.url, factor=FACTOR) as server,
    ):
        yield life, server


def test_panels_of_memory_show_what_a_long_run_finds(watched: tuple[Life, RealPrometheus]) -> None:
    _, server = watched
    asked = {q.panel: q.asked(EVERYTHING, rate_interval=RATE_INTERVAL) for q in questions() if q.panel in UNMEASURED}
    assert set(asked) == set(UNMEASURED)
    for panel, expr in asked.items():
        wait_until(lambda expr=expr: bool(server.vector(expr)), 30, f"{panel}: {expr}")
    (found,) = server.vector('engram_driver_memory_time_seconds{time="t_mem", bound="high"}').values()
    assert found == 75.0


def inject(life: Life) -> None:
    """Every fault at once, each in its own numbers."""
    now = time.monotonic()
    life.silenced = life.stalled = life.late = now
    stuck = life.actor_status("actor-0")
    life.actor = {
        "weights_version": stuck.weights_version,
        "counts": WriterCounts(captured=stuck.frames + 30, written=stuck.frames, dropped={"spool_full": 30}),
    }
    life.learner = {
        "version": stuck.weights_version + 20,
        "held": {"rankme": 2},
        "counts": {"actor-0": ReaderCounts(unread=900, admitted=stuck.frames)},
    }
    life.evaluator = {"version": 1, "age": 1000.0}
    life.store = {"up": False, "memory": 120 * MIB}
    life.run = {"disk_free": 10**9, "restarts": {"learner": 3}}


def test_each_alert_fires_under_its_fault_and_not_before(tmp_path: Path) -> None:
    life = Life()
    with (
        shown(life, "synthetic") as directory,
        prometheus(tmp_path / "prometheus", directory.url, factor=FACTOR) as server,
    ):
        wait_until(lambda: len(server.vector("up == 1")) == 5, 30, "all are scraped")
        end = time.monotonic() + HEALTHY
        while time.monotonic() < end:
            assert server.firing() == {}
            time.sleep(1)
        inject(life)
        seen: dict[str, str] = {}

        def all_but_one() -> bool:
            for name, alerts in server.firing().items():
                seen[name] = "\n".join(str(alert["annotations"]["summary"]) for alert in alerts)
            return set(seen) >= set(ALERTS) - {"EngramRunGone"} and "actor-1" in seen["EngramActorSilent"]

        wait_until(all_but_one, 90, f"all fire: {sorted(set(ALERTS) - set(seen))} do not")
        directory.close()
        wait_until(lambda: "EngramRunGone" in server.firing(), 40, "the driver is missed")
        assert server.rule_problems() == []
    for name, summary in seen.items():
        assert "synthetic" in summary, name
        assert "no value" not in summary, name
        assert "error" not in summary, name
    assert "actor-1" in seen["EngramActorSilent"]
    assert "actor-0" in seen["EngramFramesLate"]
    assert "spool_full" in seen["EngramFramesDropped"]
    assert "learner was restarted" in seen["EngramRestartLoop"]
    assert "rankme" in seen["EngramRepresentationCollapse"]
