"""A recording in the actors' place: the same wire, the same learner, and what came out of it recorded once more."""

import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.progress import Progress

from common.config import PlaybackConfig
from common.errors import ConfigError
from common.messages import Datum
from common.recording import Manifest, RecordingWriter
from deploy.cli import main
from deploy.recordings import command
from deploy.recordings.tour import record
from tests.runs import live, read_total, small_run, wait_until

RECORDER = "import sys; from deploy.cli import main; sys.exit(main())"


@pytest.mark.timeout(240)
def test_record_replay_record_loses_nothing_and_changes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = small_run(tmp_path / "run", tmp_path / "cache")
    base = replace(base, duration=10.0, evaluator=replace(base.evaluator, enabled=False))
    first = tmp_path / "first.rec"
    assert record(base, first, progress=Progress(disable=True)) == 200
    config = command.replay([str(first), "--speed", command.FASTEST, "--run-dir", str(tmp_path / "run")])
    assert config == replace(
        base, duration=0.0, playback=PlaybackConfig(recording=str(first), speed=0.0), run_dir=str(tmp_path / "run")
    )
    second = tmp_path / "second.rec"
    with live(config) as run:
        wait_until((config.path / "stream.json").exists, 60, "a stream")
        recorder = subprocess.Popen([sys.executable, "-c", RECORDER, "record", str(second), "--from", str(config.path)])
        wait_until(lambda: run.final is not None or run.failure is not None, 150, "the end of the recording")
    recorder.send_signal(signal.SIGINT)
    # The run's guardian ends what its process has started, so it may be faster; what counts is what was recorded.
    assert recorder.wait(20) in (0, -signal.SIGTERM, -signal.SIGKILL)
    assert run.failure is None
    assert run.final is not None
    learner = run.final.learner
    for actor in run.final.actors:
        counts = learner.counts[actor.name]
        assert (actor.ended, actor.counts.written, read_total(counts), counts.missed) == (True, 100, 100, 0)
    assert learner.forfeited == 0
    admitted = sum(counts.admitted for counts in learner.counts.values())
    earned = config.learner.replay.replay_ratio * (admitted - config.learner.replay.min_fill)
    assert abs(learner.images - earned) <= 3 * config.learner.optim.batch_size
    rows = run.directory.read_events()
    assert "recording_ended" in [row["kind"] for row in rows]
    assert main(["recordings", "compare", str(first), str(second)]) == 0
    assert "200 data are the same, every one to the bit" in capsys.readouterr().out


def test_what_does_not_fit_is_refused(
    tmp_path: Path, make_datum: Callable[..., Datum], capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.rec"
    with RecordingWriter(path, of=Manifest.new("tour", config=small_run(tmp_path / "run", tmp_path))) as writer:
        writer.write(make_datum(data=np.zeros((48, 48, 3), np.uint8)))
    for words, said in (
        (["--speed", "0"], "must be a number above 0 as in 4x"),
        (["--speed", "fast"], "must be a number above 0 as in 4x"),
        (["--world.image-size", "64", "64"], "must be the recording's (48, 48)"),
    ):
        with pytest.raises(ConfigError) as error:
            command.replay([str(path), *words])
        assert said in str(error.value)
    assert main(["replay", str(tmp_path / "missing")]) == 2
    assert main(["replay"]) == 2
    assert "must be given first" in capsys.readouterr().err
    assert command.replay([str(path), "--speed", "4x"]).playback.speed == 4.0
