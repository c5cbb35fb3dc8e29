"""Recorders of a live stream: real ones, in processes of their own, beside a real server."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import psutil
import pytest

from common.config import RunConfig
from common.config.files import to_yaml
from common.messages import Datum
from common.recording import Recording
from common.stream import CaptureJournal, StreamKeys, StreamWriter, connect
from deploy.address import StreamAddress, withdraw
from deploy.cli import main
from deploy.store import EmbeddedStore

type Make = Callable[..., Datum]

STREAM = "live-test"


@pytest.fixture
def run_dir(tmp_path: Path, store: EmbeddedStore) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.yaml").write_text(to_yaml(RunConfig()))
    StreamAddress.publish(folder, stream=STREAM, url=store.url)
    return folder


@pytest.fixture
def writer(tmp_path: Path, store: EmbeddedStore) -> Iterator[StreamWriter]:
    journal = CaptureJournal(tmp_path / "actor-0.journal")
    writer = StreamWriter(
        lambda: connect(store.url),
        keys=StreamKeys(STREAM),
        actor="actor-0",
        journal=journal,
        length=40,
        spool=1000,
    )
    yield writer
    writer.close()
    journal.close()


def recorder(out: Path, run_dir: Path, *options: str) -> "subprocess.Popen[bytes]":
    program = "import sys; from deploy.cli import main; sys.exit(main())"
    words = ["record", str(out), "--from", str(run_dir), *options]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-c", program, *words], env=environment, stdout=subprocess.PIPE)


def until(condition: Callable[[], object], seconds: float = 40.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.02)


def recorded(out: Path) -> int:
    return Recording(out).counted.data if (out / "manifest.json").exists() else 0


def test_what_passes_is_recorded_to_the_bit_and_what_was_gone_is_counted(
    tmp_path: Path, run_dir: Path, writer: StreamWriter, make_datum: Make
) -> None:
    early = [make_datum() for _ in range(70)]
    for datum in early:
        writer.put(datum)
    until(lambda: writer.counts().written == 70)
    out = tmp_path / "live.rec"
    process = recorder(out, run_dir)
    until(lambda: recorded(out))
    late = [make_datum() for _ in range(30)]
    for datum in late:
        writer.put(datum)
    until(lambda: writer.counts().written == 100)
    time.sleep(1.5)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    manifest = Recording(out).manifest
    assert manifest.whole
    assert manifest.data + manifest.missed["actor-0"] == 100
    assert f"{manifest.data} data, {manifest.missed['actor-0']} missed".encode() in output
    found = list(Recording(out))
    assert [datum.seq for datum in found] == list(range(101 - len(found), 101))
    for one, other in zip(found, (early + late)[-len(found) :], strict=True):
        assert np.array_equal(np.asarray(one.data), np.asarray(other.data))
        assert one.visit_time == other.visit_time
        assert one.labels is not None
        assert other.labels is not None
        assert one.labels.depth.tobytes() == other.labels.depth.tobytes()
    assert Recording(out).config() == RunConfig()


def test_a_recorder_that_is_killed_loses_less_than_five_seconds(
    tmp_path: Path, run_dir: Path, writer: StreamWriter, make_datum: Make
) -> None:
    out = tmp_path / "live.rec"
    process = recorder(out, run_dir)
    sent: list[int] = []

    def live(seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            sent.append(time.time_ns())
            writer.put(make_datum(captured_ns=sent[-1]))
            time.sleep(0.05)

    while recorded(out) == 0:
        live(0.2)
    live(4.0)
    killed = time.time_ns()
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    found = [datum.captured_ns for datum in Recording(out)]
    assert found
    assert killed - found[-1] < 5e9
    between = [moment for moment in sent if found[0] <= moment <= found[-1]]
    assert set(found) <= set(between)
    # The stream here keeps two seconds: a disk that takes longer for a segment costs data, which are counted.
    missed = sum(number for segment in Recording(out).segments.values() for number in segment.missed.values())
    assert len(between) - len(found) <= missed
    assert not Recording(out).manifest.whole
    assert main(["recordings", "check", str(out)]) in (0, 1)  # 1 where it died within a segment, whose drafts are named


def test_recording_ends_with_the_run(tmp_path: Path, run_dir: Path, writer: StreamWriter, make_datum: Make) -> None:
    out = tmp_path / "live.rec"
    driver = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        address = StreamAddress.find(run_dir, url="")
        (run_dir / "stream.json").unlink()
        began = psutil.Process(driver.pid).create_time()
        (run_dir / "stream.json").write_text(json.dumps(asdict(address) | {"pid": driver.pid, "began": began}))
        writer.put(make_datum())
        process = recorder(out, run_dir, "--quality", "lossy")
        until(lambda: recorded(out))
        driver.kill()
        driver.wait()
        assert process.wait(20) == 0
    finally:
        driver.kill()
        driver.wait()
    assert Recording(out).manifest.whole


@pytest.mark.parametrize("left", [b"", b"{}", b'{"stream": "s", "url": "redis://x", "pid": 1, "began": 3.0}'])
def test_a_run_that_is_over_is_refused(
    tmp_path: Path, run_dir: Path, left: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    (run_dir / "stream.json").write_bytes(left)
    assert main(["record", str(tmp_path / "a"), "--from", str(run_dir)]) == 2
    assert "of a run that" in capsys.readouterr().err
    withdraw(run_dir)
    assert main(["record", str(tmp_path / "a"), "--from", str(run_dir)]) == 2
    assert not (tmp_path / "a").exists()


def test_the_address_is_for_its_owner_alone(run_dir: Path) -> None:
    assert (run_dir / "stream.json").stat().st_mode & 0o777 == 0o600
