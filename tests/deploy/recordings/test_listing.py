"""`engram recordings` through the command line."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from common.messages import Datum
from common.recording import Manifest, Recording, RecordingWriter
from common.recording.manifest import segment_line
from deploy.cli import main

type Make = Callable[..., Datum]


@pytest.fixture
def recorded(tmp_path: Path, make_datum: Make) -> Path:
    with RecordingWriter(tmp_path / "a.rec", of=Manifest.new("tour")) as writer:
        for number in range(20):
            writer.write(make_datum(seq=number, captured_ns=number * 10**8, world=f"w{number // 15}"))
            if number % 5 == 4:
                writer.flush()
    return tmp_path / "a.rec"


def test_what_there_is_is_listed(tmp_path: Path, recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "b.rec").mkdir()
    (tmp_path / "b.rec" / "manifest.json").write_text("{}")
    assert main(["recordings", "list", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "a.rec: 1.9 s, 20 data of 1 actors, 0 missed" in said
    assert "lossless, of a tour\n  w0 (15), w1 (5)" in said
    assert "b.rec/manifest.json is damaged" in said
    assert main(["recordings", "list", str(recorded / "nothing")]) == 2
    assert main(["recordings", "--help"]) == 0
    assert main(["recordings"]) == 2


def test_a_flipped_bit_is_named_by_segment_and_field(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recordings", "check", str(recorded)]) == 0
    assert "20 data, all as they were recorded" in capsys.readouterr().out.replace("\n", "")
    video = recorded / "000002-0.mkv"
    whole = bytearray(video.read_bytes())
    whole[-len(whole) // 4] ^= 1
    video.write_bytes(whole)
    assert main(["recordings", "check", str(recorded)]) == 1
    assert "segment 2: 000002-0.mkv: frame" in capsys.readouterr().out.replace("\n", "")
    assert main(["recordings", "check", str(recorded / "nothing")]) == 2


def test_names_that_lead_elsewhere_are_no_segments(
    tmp_path: Path, recorded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Anybody can seal a line: the hash is of the content alone."""
    segment = replace(next(iter(Recording(recorded).segments.values())), number=99, files={"./../../evil": "0" * 64})
    with (recorded / "segments.jsonl").open("ab") as file:
        file.write(segment_line(segment))
    assert 99 not in Recording(recorded).segments
    assert main(["recordings", "check", str(recorded)]) == 1
    assert "names files that no recorder writes" in capsys.readouterr().out
    assert main(["recordings", "trim", str(recorded), str(tmp_path / "deep" / "b.rec")]) == 2
    assert not (tmp_path / "evil").exists()


def test_a_cut_is_compared_with_its_original(
    tmp_path: Path, recorded: Path, make_datum: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["recordings", "compare", str(recorded), str(recorded)]) == 0
    assert main(["recordings", "trim", str(recorded), str(tmp_path / "b"), "--end", "700ms"]) == 0
    assert main(["recordings", "compare", str(recorded), str(tmp_path / "b")]) == 1
    said = capsys.readouterr().out
    assert "20 data are the same, every one to the bit" in said
    assert "7 data are the same; then actor-0: " in said
    assert main(["recordings", "trim", str(recorded), str(tmp_path / "c"), "--start", "3s", "--end", "2s"]) == 2
    with RecordingWriter(tmp_path / "d", of=Manifest.new("tour")) as writer:
        writer.write(make_datum(seq=0, world="w0", data=np.zeros((12, 16, 3), np.uint8)))
    assert main(["recordings", "compare", str(recorded), str(tmp_path / "d")]) == 1
    assert "0 data are the same; then actor-0, datum 0: data differs" in capsys.readouterr().out
