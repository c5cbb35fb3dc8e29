"""`engram probe` as a user meets it: weights and data in, a table and a file out."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownLambdaType=false, reportMissingTypeStubs=false

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file  # pyright: ignore[reportUnknownVariableType]

from common.config.files import to_yaml
from common.config.model import ModelConfig
from common.config.presets import preset
from common.ijepa.convert import to_hugging_face, to_official
from common.ijepa.model import IJepa
from common.ijepa.network import Network
from common.messages import Datum
from common.recording import Manifest, RecordingWriter
from deploy.cli import main
from deploy.convert import read_network
from learner.checkpoint import Checkpoint, save

CONFIG = ModelConfig(patch_size=8, dim=16, depth=2, heads=2, predictor_dim=8, predictor_depth=1, predictor_heads=2)
SIZE = (24, 24)


def network() -> Network:
    state = IJepa(CONFIG, SIZE, seed=5).state_dict()
    return Network(config=CONFIG, image_size=SIZE, tensors=state)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    network().save(tmp_path / "net.safetensors")
    return tmp_path / "net.safetensors"


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for label, name in enumerate(("dark", "light")):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for number in range(20):
            picture = rng.integers(120 * label, 120 * label + 130, (30, 24, 3), dtype=np.uint8)
            Image.fromarray(picture).save(tmp_path / "pictures" / name / f"{number}.png")
    return tmp_path / "pictures"


@pytest.fixture
def tour(tmp_path: Path, make_datum: Callable[..., Datum]) -> Path:
    rng, path = np.random.default_rng(0), tmp_path / "tour.rec"
    with RecordingWriter(path, of=Manifest.new("tour")) as writer:
        for visit in range(4):
            for number in range(90):
                frame = np.full((*SIZE, 3), 100 + 90 * np.sin(number / 5 + visit), np.uint8)
                frame[4:8] = rng.integers(0, 255, (4, 24, 3))
                writer.write(
                    make_datum(seq=90 * visit + number + 1, visit=f"v{visit}", world=f"w{visit % 2}", data=frame)
                )
    return path


def probe(*words: object) -> int:
    return main(["probe", *(str(word) for word in words), "--threads", "1"])


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text("utf-8"), parse_constant=lambda name: pytest.fail(f"{name} in the file"))


def test_both_protocols_on_pictures(
    weights: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (weights, "--data", pictures, "--cache", tmp_path / "cache")
    assert probe(*words, "--protocol", "fast", "--out", tmp_path / "fast.json") == 0
    assert "neighbours" in capsys.readouterr().out
    fast = read(tmp_path / "fast.json")
    assert fast["counts"] == {"fit": 28, "validate": 4, "test": 8, "classes": 2, "ignored_files": 0}
    assert {(one["readout"], one["method"]) for one in fast["results"]["trained"]} == {
        (readout, method) for readout in ("last", "last4") for method in ("ridge", "logistic", "neighbours")
    }
    assert len(fast["results"]["pixels"]) == 3
    assert all(one["test"]["value"] > 0.9 for one in fast["results"]["pixels"])
    cached = len(list((tmp_path / "cache").rglob("0*.safetensors")))
    assert probe(*words, "--batch", "14") == 0
    said = capsys.readouterr().out
    assert "← chosen" in said
    assert "--augment" in said
    assert len(list((tmp_path / "cache").rglob("0*.safetensors"))) == cached == 3
    paper = read(tmp_path / "net.safetensors.probe-ijepa-pictures.json")
    trained = paper["results"]["trained"]
    assert (trained["batch"], trained["steps_per_epoch"], len(trained["heads"])) == (14, 2, 24)
    assert trained["chosen"] == trained["heads"][0]
    assert trained["chosen"]["validation"] == max(head["validation"] for head in trained["heads"])
    assert trained["test"]["value"] == trained["chosen"]["test_right"] / 8
    assert len(paper["results"]["pixels"]["heads"]) == 12
    assert paper["weights"] == fast["weights"]


def test_augmented_training_says_nothing_of_centres(
    weights: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (weights, "--data", pictures, "--cache", tmp_path / "cache", "--no-baselines", "--augment", "--batch", "28")
    assert probe(*words) == 0
    assert "--augment" not in capsys.readouterr().out
    assert list(read(tmp_path / "net.safetensors.probe-ijepa-pictures.json")["results"]) == ["trained"]


def test_both_axes_on_a_recording(weights: Path, tour: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = (weights, "--recording", tour, "--folds", "2", "--frames", "8", "--steps", "20")
    assert probe(*words, "--protocol", "reconstruct", "--no-baselines") == 0
    found = read(weights.with_name("net.safetensors.probe-reconstruct-tour.json"))
    assert set(found["results"]) == {"trained", "mean"}
    assert found["results"]["trained"]["mae"]["value"] < found["results"]["mean"]["mae"]["value"]
    assert found["results"]["trained"]["mae"]["frames"] == 32
    assert found["folds"] == [0, 0, 1, 1]
    assert probe(*words, "--protocol", "predict", "--no-baselines") == 0
    found = read(weights.with_name("net.safetensors.probe-predict-tour.json"))
    assert set(found["results"]["trained"]) == {"1", "2", "4", "8"}
    assert found["results"]["trained"]["8"]["relative"]["clusters"] == 4
    assert "4 visits of 2 worlds in 2 folds" in capsys.readouterr().out


def test_weights_of_every_kind_are_known_by_their_looks(weights: Path, tmp_path: Path) -> None:
    made = network()
    torch.save(to_official(made), tmp_path / "official.pth.tar")
    (tmp_path / "hf").mkdir()
    described, tensors = to_hugging_face(made)
    (tmp_path / "hf" / "config.json").write_text(json.dumps(described))
    save_file(tensors, tmp_path / "hf" / "model.safetensors")
    run = preset("demo")
    run = replace(run, world=replace(run.world, image_size=SIZE), learner=replace(run.learner, model=CONFIG))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text(to_yaml(run), "utf-8")
    state = {name: tensor.numpy() for name, tensor in made.tensors.items()}
    folder = save(
        Checkpoint(step=5, model=state, optimiser={}, replay={}, ledger={}, state={}),
        tmp_path / "run" / "checkpoints",
        keep=1,
    )
    frames, expected = torch.randint(0, 256, (3, *SIZE, 3), dtype=torch.uint8), None
    for source in (weights, tmp_path / "official.pth.tar", tmp_path / "hf", tmp_path / "run", folder):
        with torch.no_grad():
            found = read_network(source, heads=2).encoder().pooled(frames)
        expected = found if expected is None else expected
        assert torch.allclose(found, expected, atol=1e-6), source


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("nowhere", "--data", "pictures"), "source = 'nowhere': does not exist"),
        (("net.safetensors",), "data = '': must be given"),
        (("net.safetensors", "--protocol", "predict"), "recording = '': must be given"),
        (("net.safetensors", "--protocol", "predict", "--data", "pictures", "--recording", "x"), "is not what predict"),
        (("net.safetensors", "--data", "nowhere"), "data = 'nowhere': must be a folder"),
        (("net.safetensors", "--data", "pictures", "--protocol", "fast", "--augment"), "augment = True"),
        (("net.safetensors", "--data", "pictures", "--test", "1.5"), "test = 1.5: must be above 0"),
        (("net.safetensors", "--data", "pictures", "--device", "cuda:900"), "device = 'cuda:900': is not here"),
        (("net.safetensors", "--protocol", "predict", "--recording", "tour.rec", "--folds", "1"), "folds = 1"),
        (("wide.safetensors", "--protocol", "predict", "--recording", "tour.rec"), "has frames of shape (24, 24, 3)"),
        (("net.safetensors", "--protocol", "predict", "--recording", "net.safetensors"), "net.safetensors"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line(
    weights: Path,
    pictures: Path,
    tour: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    complaint: str,
) -> None:
    monkeypatch.chdir(weights.parent)
    network().resized((24, 32)).save(Path("wide.safetensors"))
    assert probe(*words) == 2
    said = capsys.readouterr().err
    assert complaint in said
    assert len(said.splitlines()) == 1
    assert not list(Path().glob("*.json"))


def test_a_broken_picture_is_named(weights: Path, pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (pictures / "dark" / "7.png").write_text("no picture")
    assert probe(weights, "--data", pictures, "--protocol", "fast", "--cache", weights.parent / "cache") == 1
    assert "dark/7.png cannot be read as a picture" in capsys.readouterr().err


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["probe", "--help"])
    assert left.value.code == 0
    shown = capsys.readouterr().out
    assert "engram probe runs/a --data pictures --protocol fast" in shown
    assert all(flag in shown for flag in ("--protocol", "--recording", "--augment", "--device", "--validation"))
