"""What becomes of checks that fail, raise or hang; the table and the command."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from common.config.presets import PRESETS
from common.errors import ConfigError
from deploy.cli import main
from deploy.doctor.examination import all_checks, examine
from deploy.doctor.finding import Case, Check, Finding, State, Verdict, beside, fine, poor, wrong
from deploy.doctor.table import conclusion, is_healthy, row
from tests.deploy.doctor.cases import run_of

ENGRAM = Path(sys.executable).parent / "engram"


def findings(*checks: Check) -> list[Finding]:
    return list(examine(Case(run=run_of()), checks))


def test_what_a_check_raises_is_its_finding() -> None:
    def raises(error: BaseException) -> Check:
        def look(_case: Case) -> Verdict:
            raise error

        return Check(name="one", look=look)

    config, other, strange, rude = findings(
        raises(ConfigError("a.b", 3, "must be 4")),
        raises(OSError("no\nsuch   device")),
        raises(ValueError()),
        raises(SystemExit(3)),
    )
    assert (config.state, config.found, config.fix) == (State.FAILED, "a.b = 3", "must be 4")
    assert (other.state, other.found) == (State.FAILED, "OSError: no such device")
    assert strange.state is rude.state is State.FAILED


def test_a_check_that_hangs_is_left_behind() -> None:
    began = time.monotonic()
    hangs, after = findings(
        Check(name="hangs", look=lambda _: (time.sleep(30), fine("late"))[1], patience=0.2),
        Check(name="after", look=lambda _: fine("here")),
    )
    assert time.monotonic() - began < 5
    assert hangs.state is State.FAILED
    assert "0.2 s" in hangs.found
    assert after.state is State.OK


def test_only_what_is_needed_fails_the_whole() -> None:
    optional = findings(
        Check(name="a", look=lambda _: wrong("bad", "mend"), needed=False),
        Check(name="b", look=lambda _: poor("so so", "mend")),
        Check(name="c", look=lambda _: beside("nothing to see")),
    )
    assert [finding.state for finding in optional] == [State.WARNING, State.WARNING, State.SKIPPED]
    assert is_healthy(optional)
    needed = findings(Check(name="d", look=lambda _: wrong("bad", "mend")))
    assert not is_healthy(needed)
    assert conclusion([*optional, *needed]) == "1 failed, 2 warnings, 0 fine; 1 not asked for by this configuration"


def test_every_check_has_a_name_of_its_own_and_fits_its_column() -> None:
    names = [check.name for check in all_checks()]
    assert len(names) == len(set(names)) > 30
    assert max(map(len, names)) <= 16


def test_lines_are_aligned_within_80_columns_and_without_colour() -> None:
    console = Console(width=80, no_color=True, record=True, file=Path(os.devnull).open("w"))  # noqa: SIM115
    long = Finding(name="a b", state=State.FAILED, found="[red]no markup[/]", fix="word " * 30, needed=True)
    console.print(row(long, console))
    first, *rest = console.export_text().splitlines()
    assert first.startswith("✗ a b              [red]no markup[/]")
    assert len(rest) >= 2
    assert all(line.startswith(" " * 19) and len(line) <= 80 for line in rest)


def test_an_old_terminal_gets_other_marks(tmp_path: Path) -> None:
    with (tmp_path / "out").open("w", encoding="ascii") as file:
        console = Console(width=80, file=file)
        finding = Finding(name="a", state=State.OK, found="all", fix="none", needed=True)
        console.print(row(finding, console))
    assert (tmp_path / "out").read_text("ascii").split()[0] == "+"


def doctor(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    code = main(["doctor", "--json", *words])
    return code, json.loads(capsys.readouterr().out, parse_constant=pytest.fail)


def test_json_has_every_check_and_the_exit_code_follows_it(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    cache = ["--evaluator.cache", str(tmp_path / "cache")]
    code, said = doctor(capsys, *cache)
    assert [check for check in said["checks"] if check["state"] == "failed"] == []
    assert code == 0
    assert set(said) == {"v", "preset", "healthy", "checks"}
    assert (said["v"], said["preset"], said["healthy"]) == (1, "demo", True)
    assert [check["name"] for check in said["checks"]] == [check.name for check in all_checks()]
    for check in said["checks"]:
        assert set(check) == {"name", "state", "found", "fix", "needed"}
        assert check["state"] in ("ok", "warning", "skipped")
        assert check["found"]
        assert check["fix"] or check["state"] != "warning"
    states = {check["name"]: check["state"] for check in said["checks"]}
    assert states["embedded server"] == states["doom"] == states["packages"] == "ok"
    assert states["redis"] == states["camera"] == states["nodes"] == "skipped"
    code, said = doctor(capsys, *cache, "--redis-url", "redis://:Secret-1@127.0.0.1:1")
    assert (code, said["healthy"]) == (1, False)
    assert "Secret-1" not in json.dumps(said)
    (redis,) = (check for check in said["checks"] if check["name"] == "redis")
    assert redis["state"] == "failed"
    assert redis["needed"]


def test_a_configuration_that_cannot_be_is_refused_before(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--preset", "nothing"]) == 2
    said = capsys.readouterr().err
    assert all(name in said for name in PRESETS)


def test_the_table_in_a_pipe_is_plain(tmp_path: Path) -> None:
    done = subprocess.run(
        [ENGRAM, "doctor", "--preset", "vrchat", "--evaluator.cache", str(tmp_path / "cache")],
        cwd=tmp_path,
        env={**os.environ, "HOME": str(tmp_path), "COLUMNS": "80"},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr
    assert done.stderr == ""
    assert not re.search(r"\x1b", done.stdout)
    assert all(len(line) <= 80 for line in done.stdout.splitlines())
    assert re.search(r"^✓ python ", done.stdout, re.MULTILINE)
    assert re.search(r"^! osc .*nobody listens at 9000", done.stdout, re.MULTILINE)
    assert re.search(r"^! vrchat log ", done.stdout, re.MULTILINE)
    assert re.search(r"^✗ camera ", done.stdout, re.MULTILINE)
    assert "vrchat: " in done.stdout.splitlines()[-1]
    assert done.returncode == 1, "there is no camera on a machine that runs tests"


@pytest.mark.parametrize("theme", ["private", "network"])
def test_themes_that_need_no_ray_are_looked_at_without_it(theme: str) -> None:
    code = f"""
import sys
sys.modules["ray"] = None
import deploy.doctor.{theme}
print(len(deploy.doctor.{theme}.CHECKS))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 0
