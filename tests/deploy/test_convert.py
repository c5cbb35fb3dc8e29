"""`engram convert` as a user meets it: files in, files out, one line of complaint."""

# pyright: reportUnknownMemberType=false
# safetensors is untyped in parts.

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from common.config.files import to_yaml
from common.config.model import ModelConfig
from common.config.presets import preset
from common.ijepa.convert import to_official
from common.ijepa.model import IJepa
from common.ijepa.network import Network, Part
from deploy.cli import main
from learner.checkpoint import Checkpoint, save

CONFIG = ModelConfig(
    patch_size=8, dim=32, depth=2, heads=4, mlp_ratio=1.5, predictor_dim=16, predictor_depth=2, predictor_heads=4
)
SIZE = (40, 40)


def network() -> Network:
    generator = torch.Generator().manual_seed(0)
    state = IJepa(CONFIG, SIZE, seed=0).state_dict()
    shaken = {name: value + 0.2 * torch.randn(value.shape, generator=generator) for name, value in state.items()}
    return Network(config=CONFIG, image_size=SIZE, tensors=shaken)


def official(path: Path, **more: Any) -> Path:
    """A checkpoint as the official code leaves it, optimiser and all."""
    weight = torch.nn.Parameter(torch.zeros(3))
    optimiser = torch.optim.AdamW([weight], lr=1e-3)
    weight.sum().backward()
    optimiser.step()
    rest = {"opt": optimiser.state_dict(), "scaler": None, "epoch": 3, "loss": 0.2, "lr": 1e-3, "world_size": 16}
    torch.save({**to_official(network()), **rest, **more}, path)
    return path


def convert(*words: object) -> int:
    return main(["convert", *(str(word) for word in words)])


def same(one: Network, other: Network) -> bool:
    return all(torch.equal(tensor, other.tensors[name]) for name, tensor in one.tensors.items())


def test_there_and_back_through_every_format(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, ours, again = official(tmp_path / "a.pth.tar"), tmp_path / "a.safetensors", tmp_path / "b.pth"
    assert convert(source, ours, "--from", "official", "--to", "engram", "--heads", 4) == 0
    assert "both encoders and the predictor; 32 wide, 2 deep, 4 heads, patches of 8, 40×40" in capsys.readouterr().out
    assert same(Network.load(ours), network())
    assert convert(ours, again, "--from", "engram", "--to", "official") == 0
    assert convert(again, tmp_path / "c.safetensors", "--from", "official", "--to", "engram", "--heads", 4) == 0
    assert same(Network.load(tmp_path / "c.safetensors"), network())
    for encoder in ("target", "context"):
        folder, back = tmp_path / encoder, tmp_path / f"{encoder}.safetensors"
        assert convert(ours, folder, "--from", "engram", "--to", "hf", "--encoder", encoder) == 0
        names = {path.name for path in folder.iterdir()}
        assert names == {"config.json", "preprocessor_config.json", "model.safetensors"}
        assert convert(folder, back, "--from", "hf", "--to", "engram") == 0
        assert "the target encoder alone, without a predictor" in capsys.readouterr().out
        state = Network.load(back).part(Part.TARGET)
        assert all(torch.equal(state[key], value) for key, value in network().part(Part(f"{encoder}_encoder")).items())
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_an_encoder_alone_gets_a_predictor_when_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network().save(tmp_path / "a.safetensors")
    assert convert(tmp_path / "a.safetensors", tmp_path / "hf", "--from", "engram", "--to", "hf") == 0
    words = ("--from", "hf", "--to", "engram", "--fresh-predictor", "--predictor-heads", 6)
    assert convert(tmp_path / "hf", tmp_path / "b.safetensors", *words) == 0
    assert "an untrained predictor" in capsys.readouterr().out
    assert Network.load(tmp_path / "b.safetensors").build().predictor.blocks[0].get_submodule("attn").heads == 6


def test_a_run_s_checkpoint_is_a_source(tmp_path: Path) -> None:
    run = preset("demo")
    world = replace(run.world, image_size=SIZE)
    run = replace(run, world=world, learner=replace(run.learner, model=replace(CONFIG, pixel_mean=(0.2, 0.2, 0.2))))
    (tmp_path / "config.yaml").write_text(to_yaml(run), "utf-8")
    model = {name: tensor.numpy() for name, tensor in network().tensors.items()}
    made = Checkpoint(step=5, model=model, optimiser={}, replay={}, ledger={}, state={})
    folder = save(made, tmp_path / "checkpoints", keep=1)
    for source, target in ((tmp_path, "a"), (folder, "b")):
        assert convert(source, tmp_path / target, "--from", "engram", "--to", "engram") == 0
        assert Network.load(tmp_path / target).config == run.learner.model
        assert same(Network.load(tmp_path / target), network())


def test_another_picture_size_only_on_request(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network().save(tmp_path / "a.safetensors")
    words = (tmp_path / "a.safetensors", tmp_path / "b", "--from", "engram", "--to", "engram", "--image-size", 48, 80)
    assert convert(*words) == 2
    assert "has a 6×10 grid, the source's positions are those of 5×5: --resize-positions" in capsys.readouterr().err
    assert convert(*words, "--resize-positions") == 0
    assert "positions of 5×5 stretched" in capsys.readouterr().out
    resized = Network.load(tmp_path / "b")
    assert (resized.image_size, resized.config.position_grid) == ((48, 80), (5, 5))


class Trap:
    """Would make a file when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return Path.touch, (str(self.path),)


def test_a_checkpoint_with_code_in_it_is_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = official(tmp_path / "a.pth", opt=Trap(tmp_path / "trapped"))
    assert convert(source, tmp_path / "b", "--from", "official", "--to", "engram", "--heads", 4) == 2
    said = capsys.readouterr().err
    assert "besides tensors and plain values: not opened" in said
    assert len(said.splitlines()) == 1
    assert {path.name for path in tmp_path.iterdir()} == {"a.pth"}


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("nowhere", "b", "--from", "hf", "--to", "engram"), "source = "),
        (("a.pth", "a.pth", "--from", "official", "--to", "engram"), "exists already"),
        (("a.pth", "b", "--from", "official", "--to", "engram"), "heads = 0: must be given"),
        (("a.pth", "b", "--from", "official", "--to", "engram", "--heads", "5"), "learner.model.heads = 5"),
        (("text", "b", "--from", "official", "--to", "engram"), "cannot be read"),
        (("text", "b", "--from", "engram", "--to", "engram"), "cannot be read"),
        ((".", "b", "--from", "hf", "--to", "engram"), "config.json"),
        ((".", "b", "--from", "engram", "--to", "hf"), "must be a .safetensors file, a run directory"),
        (
            ("a.pth", "b", "--from", "official", "--to", "hf", "--heads", "4", "--fresh-predictor"),
            "fresh_predictor = True: is for an encoder",
        ),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    complaint: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    official(tmp_path / "a.pth")
    (tmp_path / "text").write_text("no weights here", "utf-8")
    assert convert(*words) == 2
    said = capsys.readouterr().err
    assert complaint in said
    assert len(said.splitlines()) == 1
    assert {path.name for path in tmp_path.iterdir()} == {"a.pth", "text"}


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        convert("--help")
    assert left.value.code == 0
    shown = capsys.readouterr().out
    assert "engram convert runs/a encoder --from engram --to hf" in shown
    assert all(flag in shown for flag in ("--from", "--to", "--resize-positions", "--heads", "--fresh-predictor"))
