"""The checks of a cluster that is not there: one question, and what it says of tokens."""

import time
from pathlib import Path

import pytest

from deploy.doctor.examination import examine
from deploy.doctor.finding import Case, State
from deploy.doctor.trial import attempt
from tests.deploy.doctor.cases import look, run_of
from tests.security.servers import free_port


@pytest.mark.timeout(200)
def test_a_cluster_that_does_not_answer_is_asked_once() -> None:
    case = Case(run=run_of(cluster=f"127.0.0.1:{free_port()}"))
    began = time.monotonic()
    found = {one.name: one for one in examine(case) if one.name.startswith("node")}
    assert time.monotonic() - began < 100, "seconds; one question may take 45"
    assert set(found) == {"nodes", "node versions", "node code", "node clocks", "node resources"}
    assert found.pop("nodes").state is State.FAILED
    assert {one.state for one in found.values()} == {State.SKIPPED}


def test_a_token_must_be_there_and_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    token, run = tmp_path / "token", run_of(cluster="127.0.0.1:1")
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(token))
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    assert look("ray token", run).state is State.FAILED
    token.write_text("secret-1")
    token.chmod(0o644)
    assert look("ray token", run).state is State.FAILED
    assert "chmod 600" in look("secret files", run).fix
    token.chmod(0o600)
    found = look("ray token", run)
    assert found.state is State.OK
    monkeypatch.setenv("RAY_AUTH_TOKEN", "secret-1")
    shown = look("ray token", run)
    assert shown.state is State.WARNING
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    none = look("ray token", run)
    assert none.state is State.FAILED
    assert "runs code there" in none.found
    assert not any("secret-1" in one.found + one.fix for one in (found, shown, none))


def test_what_hangs_or_fails_in_a_process_of_its_own_is_a_finding() -> None:
    hangs = attempt("doom", "freedoom2:map01", patience=0.1, fix="look again")
    assert (hangs.state, hangs.found) == (State.FAILED, "hangs: nothing within 0.1 s")
    fails = attempt("doom", "freedoom2:map99", patience=60.0, fix="look again")
    assert fails.state is State.FAILED
    assert fails.found
    assert "\n" not in fails.found
