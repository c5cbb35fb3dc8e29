"""Videos of other programs as recordings: as OBS and pamiq-recorder (OpenCV) write them."""

from pathlib import Path

import numpy as np
import pytest

from common.recording import Recording
from deploy.cli import main
from tests.actors.films import film, picture

SIZE = ["--world.image-size", "16", "16", "--learner.model.patch-size", "4", "--actors.fps", "10"]


def test_videos_without_anything_beside_them_become_a_recording(tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    obs = [(number / 60, picture(40 + number, (90, 160))) for number in range(120)]
    film(videos / "2026-11-22 10-00-00.mkv", obs, "libx264", "yuv420p")
    film(videos / "pamiq.mp4", [(number / 10, picture(2 * number)) for number in range(30)], "mpeg4", "yuv420p")
    out = tmp_path / "a.rec"
    assert main(["record", str(out), "--import", str(videos), *SIZE]) == 0
    recording = Recording(out)
    assert recording.manifest.worlds == {"2026-11-22 10-00-00": 20, "pamiq": 30}
    assert (recording.manifest.source, recording.manifest.whole) == ("import", True)
    data = list(recording)
    assert [datum.visit for datum in data] == ["actor-0.1.0000"] * 20 + ["actor-0.1.0001"] * 30
    assert all(datum.labels is None and not len(datum.action) for datum in data)
    assert [round(datum.system_time, 3) for datum in data] == [number / 10 for number in range(50)]
    shown = np.array([np.asarray(datum.data).mean() for datum in data])
    assert np.abs(shown - np.concatenate([40 + 6 * np.arange(20), 2 * np.arange(30)])).max() < 6
    config = recording.config()
    assert config is not None
    assert config.world.worlds == ("videos",), "not where they lay"


def test_what_cannot_be_imported_leaves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty.mp4").touch()
    out = tmp_path / "a.rec"
    assert main(["record", str(out), "--import", str(tmp_path / "empty.mp4"), *SIZE]) == 2
    assert "cannot be read at all" in capsys.readouterr().err
    assert not out.exists()
