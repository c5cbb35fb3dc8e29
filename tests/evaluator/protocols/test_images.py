# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownLambdaType=false, reportMissingTypeStubs=false

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.errors import ConfigError, ImageError
from evaluator.protocols.images import AREA, ASPECT, ImageFolder, random_box


def paint(path: Path, colour: tuple[int, int, int] = (10, 20, 30), size: tuple[int, int] = (12, 8)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


def folder(root: Path, *classes: str, count: int = 10) -> Path:
    for number, name in enumerate(classes):
        for index in range(count):
            paint(root / name / f"{index}.png", (number, index, 0))
    return root


def test_every_picture_has_one_role_and_every_class_all_of_them(tmp_path: Path) -> None:
    found = ImageFolder.open(folder(tmp_path, "b", "a", "c", count=20), validation=0.25, test=0.2, seed=3)
    assert found.classes == ("a", "b", "c")
    roles = np.stack([found.fit, found.validate, found.test]).astype(int)
    assert (roles.sum(axis=0) == 1).all()
    for label in range(3):
        assert roles[:, found.label == label].sum(axis=1).tolist() == [12, 4, 4]
    assert all(path.parts[0] == found.classes[label] for path, label in zip(found.paths, found.label, strict=True))
    again = ImageFolder.open(tmp_path, validation=0.25, test=0.2, seed=3)
    other = ImageFolder.open(tmp_path, validation=0.25, test=0.2, seed=4)
    assert np.array_equal(again.test, found.test)
    assert not np.array_equal(other.test, found.test)


def test_val_is_the_test_set_whatever_the_seed(tmp_path: Path) -> None:
    folder(tmp_path / "train", "a", "b")
    folder(tmp_path / "val", "a", "b", count=3)
    for seed in (0, 1):
        found = ImageFolder.open(tmp_path, seed=seed)
        assert found.test.tolist() == [path.parts[0] == "val" for path in found.paths]
        assert found.counts() == {"fit": 18, "validate": 2, "test": 6}
        assert found.label.tolist() == [0 if path.parts[1] == "a" else 1 for path in found.paths]


def test_other_files_are_counted_not_read(tmp_path: Path) -> None:
    folder(tmp_path, "a", "b")
    (tmp_path / "a" / "readme.txt").write_text("no picture")
    (tmp_path / ".hidden").mkdir()
    paint(tmp_path / "a" / "deeper" / "one.JPG")
    found = ImageFolder.open(tmp_path)
    assert (len(found), found.ignored) == (21, 1)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda root: None, "must have two folders with PNG or JPEG pictures; found: none"),
        (lambda root: folder(root, "a"), "found: a"),
        (lambda root: folder(root, "a", "b", count=2), "class a has 2 pictures: too few"),
        (lambda root: (folder(root / "train", "a", "b"), folder(root / "val", "d")), "class that train/ has not"),
        (lambda root: (folder(root / "train", "a", "b"), (root / "val").mkdir()), "val/ has no pictures"),
    ],
)  # fmt: skip
def test_a_folder_that_cannot_be_graded_on_is_refused(tmp_path: Path, make: object, said: str) -> None:
    assert callable(make)
    make(tmp_path)
    with pytest.raises(ConfigError, match=said):
        ImageFolder.open(tmp_path)


def test_the_middle_is_the_largest_box_of_the_wanted_shape(tmp_path: Path) -> None:
    folder(tmp_path, "a", "b")
    wide = Image.new("RGB", (40, 20), (0, 0, 0))
    wide.paste((200, 100, 50), (10, 0, 30, 20))
    wide.save(tmp_path / "a" / "0.png")
    found = ImageFolder.open(tmp_path)
    index = [str(path) for path in found.paths].index("a/0.png")
    square = found.centre(index, (8, 8), 1.0)
    assert square.shape == (8, 8, 3)
    assert (square[:, 2:-2] == (200, 100, 50)).all()
    assert (square[:, 0] > 150 * np.array([1, 0.5, 0.25])).all()
    whole = found.centre(index, (8, 16), 1.0)
    assert (whole[:, :3] < 10).all()
    assert (whole[:, 6:10] == (200, 100, 50)).all()


def test_random_parts_have_the_area_and_shape_of_the_paper() -> None:
    rng = np.random.default_rng(0)
    boxes = np.array([random_box((100, 80), rng) for _ in range(500)])
    wide, high = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 2] <= 100).all()
    assert (boxes[:, 3] <= 80).all()
    area, aspect = wide * high / 8000, wide / high
    assert area.min() >= AREA[0] - 1e-9
    assert area.min() < 0.12
    assert area.max() > 0.85
    assert aspect.min() >= ASPECT[0] - 1e-9
    assert aspect.max() <= ASPECT[1] + 1e-9
    left, top, right, lower = random_box((1000, 10), rng)
    assert right - left <= 10 * ASPECT[1] + 1e-9
    assert (top, lower) >= (0, 0)


def test_a_random_part_is_the_same_for_the_same_generator_and_mirrored_half_the_time(tmp_path: Path) -> None:
    folder(tmp_path, "a", "b")
    slope = np.zeros((32, 32, 3), np.uint8)
    slope[:] = (np.arange(32) * 8)[None, :, None]
    Image.fromarray(slope).save(tmp_path / "a" / "0.png")
    found = ImageFolder.open(tmp_path)
    parts = [found.random(0, (8, 8), np.random.default_rng(seed)).astype(int) for seed in range(60)]
    assert np.array_equal(parts[0], found.random(0, (8, 8), np.random.default_rng(0)))
    mirrored = sum(part[0, 0, 0] > part[0, -1, 0] for part in parts)
    assert 18 <= mirrored <= 42


@pytest.mark.parametrize("kind", ["text", "cut", "deep"])
def test_a_picture_that_cannot_be_read_is_named(tmp_path: Path, kind: str) -> None:
    folder(tmp_path, "a", "b")
    path = tmp_path / "a" / "0.png"
    if kind == "text":
        path.write_text("no picture")
    elif kind == "cut":
        rng = np.random.default_rng(0)
        Image.fromarray(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(path)
        path.write_bytes(path.read_bytes()[:2000])
    else:
        Image.fromarray(np.full((8, 8), 40000, np.uint16)).save(path)
    found = ImageFolder.open(tmp_path)
    with pytest.raises(ImageError, match=r"a/0\.png"):
        found.centre(0, (8, 8), 1.0)
