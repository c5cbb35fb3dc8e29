"""Memory, disks, files, ports, worlds, secrets: each where it is good, and where it is not."""

import os
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.options import URL_VARIABLE
from deploy.address import NAME
from deploy.control.server import TOKEN_VARIABLE
from deploy.doctor.disk import kept_bytes
from deploy.doctor.finding import Case, State
from deploy.doctor.gpu import driver
from deploy.doctor.machine import open_files, shared_memory
from deploy.doctor.trial import attempt
from tests.deploy.doctor.cases import look, run_of


def test_memory_is_there_or_not() -> None:
    assert look("memory", run_of()).state is State.OK
    huge = look("memory", run_of(learner__replay__capacity=10**10))
    assert huge.state is State.FAILED
    assert "learner.replay.capacity" in huge.found
    assert "are free" in huge.fix


def test_more_threads_than_cpus_are_a_warning() -> None:
    assert look("cpu", run_of(actors__count=50)).state is State.WARNING
    assert look("cpu", run_of(actors__count=1, evaluator__enabled=False, actors__edge=0)).needed is False


@pytest.fixture
def tiny_disk() -> Iterator[Path]:
    """A real file system of one MiB, whose path is short."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount")
    folder = Path(tempfile.mkdtemp())
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        folder.rmdir()
        pytest.skip(f"no mounts here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)
    folder.rmdir()


def test_shared_memory(tiny_disk: Path, tmp_path: Path) -> None:
    assert shared_memory(tiny_disk, 2**21).state is State.WARNING
    assert shared_memory(tmp_path, 2**10).state is State.OK


def test_room_for_the_run(tiny_disk: Path, tmp_path: Path) -> None:
    run = run_of(run_dir=str(tiny_disk / "deep" / "run"))
    found = look("run directory", run)
    assert found.state is State.FAILED
    assert "checkpoints_kept" in found.fix
    assert look("run directory", run_of(run_dir=str(tmp_path / "run"))).state is State.OK
    assert kept_bytes(run_of(stream__durability="aof")) > kept_bytes(run_of())


def test_the_temporary_folder(tiny_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = Path(tempfile.gettempdir())
    for folder, state in ((tiny_disk, State.WARNING), (tmp_path / ("x" * 80), State.FAILED), (usual, State.OK)):
        folder.mkdir(exist_ok=True)
        monkeypatch.setattr("tempfile.tempdir", str(folder))
        assert look("temporary files", run_of()).state is state, folder


def test_open_files() -> None:
    assert open_files(1024, -1).state is State.OK
    assert open_files(1024, 65536).state is State.OK
    assert open_files(256, 2048).state is State.WARNING
    assert open_files(256, 512).state is State.FAILED


def test_a_gpu_that_is_not_here() -> None:
    found = look("gpu", run_of(learner__device="cuda:99"))
    assert found.state is State.FAILED
    assert "learner.device" in found.found
    assert look("gpu", run_of(learner__device="cpu")).state in (State.OK, State.SKIPPED)


def test_a_driver_is_told_from_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert driver() == []


def test_ports_that_others_have(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = int(taken.getsockname()[1])
        metrics = look("metrics port", run_of(metrics_port=port))
        assert metrics.state is State.FAILED
        assert f"process {os.getpid()}" in metrics.found
        assert look("control port", run_of(control__port=port)).state is State.WARNING
        beyond = look("control port", run_of(control__port=port, control__host="0.0.0.0"))
        assert beyond.state is State.FAILED
    assert look("metrics port", run_of(metrics_port=port)).state is State.OK
    assert look("control port", run_of(control__port=port)).state is State.OK
    assert look("control port", run_of(control__host="192.0.2.1")).state is State.FAILED


def test_vrchat_listens_and_its_answers_have_a_port() -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as vrchat,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other,
    ):
        vrchat.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        run = run_of(
            "vrchat",
            world__vrchat__osc_port=vrchat.getsockname()[1],
            world__vrchat__feedback_port=other.getsockname()[1],
        )
        assert look("osc", run).state is State.OK
        assert look("osc feedback", run).state is State.WARNING
    assert look("osc", run).state is State.WARNING
    assert look("osc feedback", run).state is State.OK
    assert look("osc", run_of()).state is State.SKIPPED


def test_vrchats_log(tmp_path: Path) -> None:
    run = run_of("vrchat", world__vrchat__logs=str(tmp_path))
    assert look("vrchat log", run).state is State.WARNING
    log = tmp_path / "output_log_2026-11-26_10-00-00.txt"
    log.write_text("2026.11.26 10:00:00 Log        -  hello\n")
    assert look("vrchat log", run).state is State.OK
    os.utime(log, (1e9, 1e9))
    assert "has not grown" in look("vrchat log", run).found


def test_a_camera_that_is_a_film_and_one_that_is_not_there(tmp_path: Path) -> None:
    pytest.importorskip("pamiq_vrchat")
    import cv2
    import numpy as np

    film = str(tmp_path / "film.avi")
    writer = cv2.VideoWriter(film, cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for shade in range(5):
        writer.write(np.full((48, 64, 3), 40 * shade, np.uint8))
    writer.release()
    found = look("camera", run_of("vrchat", world__vrchat__camera=film))
    assert (found.state, found.found) == (State.OK, f"camera {film} shows 64 x 48 pixels")
    assert look("camera", run_of("vrchat", world__vrchat__camera=str(tmp_path / "none"))).state is State.FAILED


def test_doom_starts_and_a_world_that_is_none_does_not() -> None:
    assert look("doom", run_of()).state is State.OK
    assert look("worlds", run_of(world__worlds=["freedoom2:map99"])).state is State.FAILED
    found = attempt("doom", "freedoom2:map99", patience=60, fix="another")
    assert found.state is State.FAILED
    assert "map99" in found.found
    assert look("doom", run_of("vrchat")).state is State.SKIPPED


def test_what_hangs_is_ended_with_its_children() -> None:
    found = attempt("camera", "/dev/zero", patience=0.1, fix="wait")
    assert found.state is State.FAILED
    assert "hangs" in found.found


def test_the_control_token(monkeypatch: pytest.MonkeyPatch) -> None:
    outside = run_of(control__host="0.0.0.0")
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    assert look("control token", outside).state is State.FAILED
    monkeypatch.setenv(TOKEN_VARIABLE, "short")
    short = look("control token", outside)
    assert short.state is State.FAILED
    assert "short" not in short.found
    monkeypatch.setenv(TOKEN_VARIABLE, "a long enough secret")
    assert look("control token", outside).state is State.OK
    assert look("control token", run_of()).state is State.SKIPPED


def test_files_that_others_can_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for variable in (URL_VARIABLE, "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(f"{variable}_FILE" if variable == URL_VARIABLE else variable, raising=False)
    case = Case(run=run_of(), runs=tmp_path / "runs")
    assert look("secret files", case).state is State.SKIPPED
    address = tmp_path / "runs" / "a" / NAME
    address.parent.mkdir(parents=True)
    address.write_text("{}")
    address.chmod(0o600)
    assert look("secret files", case).state is State.OK
    rays = tmp_path / ".ray" / "auth_token"
    rays.parent.mkdir()
    rays.write_text("Secret-2")
    rays.chmod(0o644)
    assert look("secret files", case).state is State.WARNING
    joining = Case(run=run_of(cluster="head:6379"), runs=case.runs)
    assert look("secret files", joining).state is look("ray token", joining).state is State.FAILED
    rays.chmod(0o600)
    assert look("ray token", joining).state is State.OK
    secret = tmp_path / "url"
    secret.write_text("redis://:Secret-1@host")
    secret.chmod(0o640)
    monkeypatch.setenv(f"{URL_VARIABLE}_FILE", str(secret))
    found = look("secret files", case)
    assert found.state is State.FAILED
    assert found.fix == f"chmod 600 {secret}"
    assert "Secret-1" not in found.found


def test_the_probe_sets_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert look("probe set", run_of(evaluator__cache=str(tmp_path / "file" / "cache"))).state is State.FAILED
    assert look("probe set", run_of(evaluator__cache=str(tmp_path / "cache"))).state is State.OK


def test_the_clock_matters_to_several_hosts_only() -> None:
    assert look("clock", run_of()).state is State.SKIPPED
    assert look("clock", run_of(cluster="head:6379")).state in (State.OK, State.WARNING, State.SKIPPED)


def test_windows_of_a_real_desktop() -> None:
    from tests.actors.screen.stage import Program, virtual_screen

    with virtual_screen(320, 240):
        whole = run_of("screen", world__screen__title="", world__screen__control=False)
        assert look("window", whole).state is State.OK
        missing = look("window", run_of("screen", world__screen__title="no such window"))
        assert missing.state is State.WARNING
        assert "no such window" in missing.found
        game = Program("A game", 200, 100)
        there = run_of("screen", world__screen__title="a game")
        assert look("window", there).found == "'a game', 200 x 100 pixels"
        game.do("hide")
        assert look("window", there).state is State.WARNING
        game.do("quit")
