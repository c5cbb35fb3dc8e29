"""Labelled pictures on disk: one folder a class, PNG or JPEG, and the roles that they play.

    DIR/train/CLASS/…  DIR/val/CLASS/…     `val` is the test set (as ImageNet's), and decides nothing
    DIR/CLASS/…                            a share of every class becomes the test set, by a seed

In both, a share of every class of the training set is the validation part, by the same seed: choices are made on it.

Shapes: N pictures, H×W pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from common.errors import ConfigError, ImageError

ENDINGS = frozenset({".png", ".jpg", ".jpeg"})
"""Files that count as pictures; others are left out, and counted."""

AREA = (0.08, 1.0)
"""Share of the picture in a random crop, as torchvision's `RandomResizedCrop`, which VISSL takes for training."""

ASPECT = (3 / 4, 4 / 3)
"""Width ÷ height of a random crop, drawn evenly in its logarithm."""

_TRIES = 10
_DEEP = frozenset({"I", "F", "I;16", "I;16B", "I;16L", "I;16N"})
"""Pillow's names of grey values beyond 8 bits; its conversion to RGB would cut them off at 255."""

type Box = tuple[float, float, float, float]
"""Left, top, right and lower edge, pixels."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageFolder:
    """Which pictures there are, of which class, in which role.

    Attributes:
        root: The folder.
        paths: Pictures, relative to `root`, sorted by class and name within train and test.
        classes: Names of the classes, sorted.
        label: Number of each picture's class, int64 [N].
        fit: Trained on, bool [N].
        validate: Part of the training set that choices are made on, bool [N].
        test: Reported on, bool [N].
        ignored: Files that are no pictures.
    """

    root: Path
    paths: Sequence[Path]
    classes: tuple[str, ...]
    label: NDArray[np.int64]
    fit: NDArray[np.bool_]
    validate: NDArray[np.bool_]
    test: NDArray[np.bool_]
    ignored: int

    @classmethod
    def open(cls, root: Path, *, validation: float = 0.1, test: float = 0.2, seed: int = 0) -> "ImageFolder":
        """Lists a folder and gives out the roles.

        Args:
            root: The folder.
            validation: Share of each class's training pictures that choices are made on, at least one picture.
            test: Share of each class that is tested where there are no folders `train` and `val`, likewise.
            seed: Of the split.

        Raises:
            ConfigError: There are fewer than two classes, a class is too small, or `val` has one that `train` lacks.
        """
        if not root.is_dir():
            raise ConfigError("data", str(root), "must be a folder with one folder a class, or with train/ and val/")
        split = (root / "train").is_dir() and (root / "val").is_dir()
        train, ignored = _listing(root / "train" if split else root)
        classes = tuple(train)
        if len(classes) < 2:
            found = ", ".join(classes) or "none"
            raise ConfigError("data", str(root), f"must have two folders with PNG or JPEG pictures; found: {found}")
        rng = np.random.default_rng(seed)
        roles = {"fit": list[Path](), "validate": list[Path](), "test": list[Path]()}
        held: dict[str, list[Path]] = {}
        if split:
            held, more = _listing(root / "val")
            ignored += more
            if strangers := sorted(held.keys() - train.keys()):
                raise ConfigError("data", str(root), f"val/ has a class that train/ has not: {strangers[0]}")
            if not held:
                raise ConfigError("data", str(root), "val/ has no pictures in folders of classes")
        for name, paths in train.items():
            permuted: list[int] = rng.permutation(len(paths)).tolist()
            order = [paths[index] for index in permuted]
            tested = 0 if split else max(1, round(test * len(paths)))
            chosen = max(1, round(validation * (len(paths) - tested)))
            if len(paths) - tested - chosen < 1:
                raise ConfigError("data", str(root), f"class {name} has {len(paths)} pictures: too few to be split")
            roles["test"] += held.get(name, []) if split else order[:tested]
            roles["validate"] += order[tested : tested + chosen]
            roles["fit"] += order[tested + chosen :]
        paths = sorted(path for role in roles.values() for path in role)
        numbers = {name: number for number, name in enumerate(classes)}
        depth = len(root.parts) + int(split)
        masks = {role: frozenset(chosen) for role, chosen in roles.items()}
        return cls(
            root=root,
            paths=[path.relative_to(root) for path in paths],
            classes=classes,
            label=np.array([numbers[path.parts[depth]] for path in paths], np.int64),
            fit=np.array([path in masks["fit"] for path in paths]),
            validate=np.array([path in masks["validate"] for path in paths]),
            test=np.array([path in masks["test"] for path in paths]),
            ignored=ignored,
        )

    def __len__(self) -> int:
        return len(self.paths)

    def counts(self) -> dict[str, int]:
        """How many pictures play which role."""
        roles = {"fit": self.fit, "validate": self.validate, "test": self.test}
        return {role: int(mask.sum()) for role, mask in roles.items()}

    def identity(self) -> list[tuple[str, int, int]]:
        """Name, bytes and time of change of each file: what cached features are valid for."""
        stats = [(self.root / path).stat() for path in self.paths]
        return [(str(path), stat.st_size, stat.st_mtime_ns) for path, stat in zip(self.paths, stats, strict=True)]

    def centre(self, index: int, image_size: tuple[int, int], crop: float) -> NDArray[np.uint8]:
        """Reads a picture's middle: the largest box of the wanted aspect, `crop` of its height and width.

        With `crop` = 224/256 this is the usual "resize to 256, take the middle 224".

        Returns:
            uint8 [H, W, 3].

        Raises:
            ImageError: The file cannot be read.
        """
        image = self._read(index)
        height, width = image_size
        scale = crop * min(image.width / width, image.height / height)
        return _resized(image, _middle(image, width * scale, height * scale), image_size)

    def random(self, index: int, image_size: tuple[int, int], rng: np.random.Generator) -> NDArray[np.uint8]:
        """Reads a random part of a picture, half of them mirrored: uint8 [H, W, 3].

        Raises:
            ImageError: The file cannot be read.
        """
        image = self._read(index)
        found = _resized(image, random_box((image.width, image.height), rng), image_size)
        return np.ascontiguousarray(found[:, ::-1]) if rng.random() < 0.5 else found

    def _read(self, index: int) -> Image.Image:
        path = self.root / self.paths[index]
        try:
            with Image.open(path) as file:
                if file.mode in _DEEP:
                    raise ImageError(f"{path} has pixels of mode {file.mode}: must have 8 bits a colour")
                return file.convert("RGB")
        except (OSError, ValueError, SyntaxError, UnidentifiedImageError, Image.DecompressionBombError) as error:
            raise ImageError(f"{path} cannot be read as a picture: {str(error).splitlines()[0]}") from None


def random_box(size: tuple[int, int], rng: np.random.Generator) -> Box:
    """Draws a box of `AREA` and `ASPECT`; after ten that stick out, the middle of the picture.

    Args:
        size: Width and height, pixels.
        rng: Where from.
    """
    width, height = size
    for _ in range(_TRIES):
        area = rng.uniform(*AREA) * width * height
        aspect = float(np.exp(rng.uniform(*np.log(ASPECT))))
        wide, high = (area * aspect) ** 0.5, (area / aspect) ** 0.5
        if wide <= width and high <= height:
            left, top = rng.uniform(0, width - wide), rng.uniform(0, height - high)
            return (left, top, left + wide, top + high)
    aspect = min(max(width / height, ASPECT[0]), ASPECT[1])
    wide, high = min(width, height * aspect), min(height, width / aspect)
    return ((width - wide) / 2, (height - high) / 2, (width + wide) / 2, (height + high) / 2)


def _middle(image: Image.Image, wide: float, high: float) -> Box:
    left, top = (image.width - wide) / 2, (image.height - high) / 2
    return (max(0.0, left), max(0.0, top), min(image.width, left + wide), min(image.height, top + high))


def _resized(image: Image.Image, box: Box, image_size: tuple[int, int]) -> NDArray[np.uint8]:
    height, width = image_size
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC, box=box))


def _listing(folder: Path) -> tuple[dict[str, list[Path]], int]:
    """Lists the pictures of each class, sorted, and counts the files that are none."""
    found: dict[str, list[Path]] = {}
    ignored = 0
    for home in sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")):
        files = sorted(path for path in home.rglob("*") if path.is_file())
        pictures = [path for path in files if path.suffix.lower() in ENDINGS and not path.name.startswith(".")]
        ignored += len(files) - len(pictures)
        if pictures:
            found[home.name] = pictures
    return found, ignored
