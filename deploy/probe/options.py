"""What `engram probe` can be asked for."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import tyro

from common.errors import ConfigError

DESCRIPTION = """\
Grade a frozen encoder: the target encoder of a run, of one of its checkpoints, of a .safetensors file, of an official
I-JEPA checkpoint or of a Hugging Face IJepaModel.

  ijepa         the paper's protocol: linear heads by LARS, 50 epochs, the whole grid at once      needs --data
  fast          ridge, logistic regression and nearest neighbours on cached features               needs --data
  reconstruct   how much of the picture a light decoder finds in the patch features                needs --recording
  predict       how well a light recurrent net foretells features, 1, 2, 4 and 8 steps ahead       needs --recording

--data is a folder with one folder a class (PNG, JPEG), or with train/ and val/ of such. Features are kept in a cache; a
probe that was stopped goes on where it was.

Examples:
  engram probe runs/a --data pictures --protocol fast
  engram probe IN1K-vit.h.14-300e.pth.tar --data imagenet --device cuda --augment
  engram probe runs/a --protocol reconstruct --recording tour.rec
"""


class Protocol(StrEnum):
    """How the encoder is graded."""

    IJEPA = "ijepa"
    FAST = "fast"
    RECONSTRUCT = "reconstruct"
    PREDICT = "predict"


@dataclass(frozen=True, kw_only=True)
class Probe:
    """What is graded, and how."""

    checkpoint: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="CHECKPOINT")]
    """Run directory, checkpoint folder, .safetensors file, official checkpoint, or folder of an IJepaModel."""
    protocol: Protocol = Protocol.IJEPA
    """How it is graded."""
    data: Path = Path()
    """Folder of labelled pictures, for `ijepa` and `fast`."""
    recording: Path = Path()
    """File of `engram record`, for `reconstruct` and `predict`."""
    out: Path = Path()
    """JSON file of the results; empty for probe-PROTOCOL-DATA.json in the run's report/, or beside the checkpoint."""
    baselines: bool = True
    """Grade a network of the same shape with random weights too (as much work again), and the 8×8 pixels."""
    seed: int = 0
    """Of splits, heads, batches and random weights."""
    device: str = "cpu"
    """cpu, cuda, cuda:N, or auto."""
    threads: int = 0
    """CPU threads; 0 takes one for each core."""
    cache: Path = Path()
    """Folder that keeps features; empty for the user's cache folder. Its contents can be removed at any time."""
    heads: int = 0
    """Attention heads of an official checkpoint's encoder; 0 takes those of the official one of this width."""
    validation: float = 0.1
    """Share of the training pictures that choices are made on."""
    test: float = 0.2
    """Share of all pictures that is tested, where there are no folders train/ and val/."""
    crop: float = 0.875
    """Share of a picture's height and width that is looked at, in its middle (224/256 in the paper); 1 for all."""
    batch: int = 0
    """Pictures a step of `ijepa`; 0 for the paper's 16384 on ImageNet, and fewer on fewer pictures. The learning rate
    follows, so that its sum over all steps stays that of the paper."""
    augment: bool = False
    """Train the heads of `ijepa` on random crops and flips, as the paper does: every epoch is encoded anew."""
    folds: int = 4
    """Parts that the visits of a recording are dealt into; each is tested by what was fitted on the others."""
    frames: int = 100
    """Frames of each visit that `reconstruct` takes, evenly spaced."""
    steps: int = 0
    """Gradient steps of each decoder or recurrent net; 0 for 1000 of `reconstruct`, 500 of `predict`."""
    stride: int = 1
    """Frames of the recording in one step of `predict`."""

    def check(self) -> None:
        """Raises ConfigError where something cannot be."""
        pictures = self.protocol in (Protocol.IJEPA, Protocol.FAST)
        needed, other = ("data", "recording") if pictures else ("recording", "data")
        if getattr(self, needed) == Path():
            raise ConfigError(needed, "", f"must be given: the protocol {self.protocol} grades on it")
        if getattr(self, other) != Path():
            raise ConfigError(other, str(getattr(self, other)), f"is not what {self.protocol} grades on")
        for name in ("validation", "test"):
            if not 0 < getattr(self, name) < 0.9:
                raise ConfigError(name, getattr(self, name), "must be above 0 and below 0.9")
        if not 0 < self.crop <= 1:
            raise ConfigError("crop", self.crop, "must be above 0, at most 1")
        for name, least in (
            ("batch", 0),
            ("threads", 0),
            ("folds", 2),
            ("frames", 1),
            ("stride", 1),
            ("steps", 0),
            ("seed", 0),
        ):
            if getattr(self, name) < least:
                raise ConfigError(name, getattr(self, name), f"must be at least {least}")
        if self.augment and self.protocol is not Protocol.IJEPA:
            raise ConfigError("augment", self.augment, "is for the protocol ijepa")

    @property
    def target(self) -> Path:
        """The file of results."""
        if self.out != Path():
            return self.out
        name = f"probe-{self.protocol}-{(self.data if self.data != Path() else self.recording).stem}.json"
        if (self.checkpoint / "checkpoints").is_dir():
            return self.checkpoint / "report" / name
        return self.checkpoint.with_name(f"{self.checkpoint.name}.{name}")
