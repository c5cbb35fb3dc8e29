"""Python and packages, against locks that say something else."""

from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import pytest

from common.errors import ConfigError
from deploy.doctor.finding import Case, State
from deploy.doctor.packages import installed, read_lock
from tests.deploy.doctor.cases import look, run_of


def locked(folder: Path, text: str) -> Case:
    (folder / "some.lock").write_text(text)
    return Case(run=run_of(), lock=folder / "some.lock")


def test_this_environment_is_as_it_should_be() -> None:
    assert look("python", run_of()).state is State.OK
    assert look("names", run_of()).state is State.OK
    found = look("packages", run_of())
    assert found.state is State.OK, found
    versions = look("versions", run_of())
    assert versions.state is State.OK, versions
    assert int(versions.found.split()[0]) > 100


def test_another_version_than_the_locks_is_named(tmp_path: Path) -> None:
    numpy = version("numpy")
    found = look(
        "versions", locked(tmp_path, f"# by hand\nnumpy==0.1 \\\n    --hash=sha256:00\npytest=={version('pytest')}\n")
    )
    assert found.state is State.WARNING
    assert f"numpy {numpy} (lock: 0.1)" in found.found
    assert "pytest" not in found.found


def test_names_are_normalised_and_markers_are_read(tmp_path: Path) -> None:
    text = "Prometheus_Client==0.0.1\nnumpy==0.1 ; sys_platform == 'win32'\nno-such-package==1.0\n"
    case = locked(tmp_path, text)
    assert set(read_lock(case.lock)) == {"prometheus-client", "no-such-package"}
    found = look("versions", case)
    assert "prometheus-client" in found.found
    assert "numpy" not in found.found
    assert "no-such-package" not in found.found, "what is not installed may not be needed here"


def test_a_build_of_the_same_version_counts_as_the_same(tmp_path: Path) -> None:
    torch = installed("torch")
    assert torch is not None
    assert look("versions", locked(tmp_path, f"torch=={torch.public}\n")).state is State.OK


def test_a_lock_that_pins_nothing_is_said_to(tmp_path: Path) -> None:
    case = locked(tmp_path, "numpy>=2\n")
    with pytest.raises(ConfigError, match="line 1 must pin"):
        read_lock(case.lock)
    assert look("versions", case).state is State.WARNING


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "pamiq_engram-9.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: pamiq-engram\nVersion: 9\nRequires-Python: >=3.99\n"
        "Requires-Dist: no-such-package>=1\nRequires-Dist: numpy>=1\n"
        'Requires-Dist: not-on-this-one>=1; sys_platform == "win32"\nRequires-Dist: other; extra == "vrchat"\n'
    )
    cast(Any, monkeypatch).syspath_prepend(str(tmp_path))
    found = look("packages", run_of())
    assert (found.state, found.found) == (State.FAILED, "missing: no-such-package")
    assert look("packages", run_of("vrchat")).found == "missing: no-such-package, other"
    assert look("python", run_of()).state is State.FAILED
    (folder / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: pamiq-engram\nVersion: 9\nRequires-Dist: numpy>=99\n"
    )
    found = look("packages", run_of())
    assert found.state is State.FAILED
    assert found.found == f"numpy {version('numpy')} (>=99)"
