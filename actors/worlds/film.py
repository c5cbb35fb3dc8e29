"""Films: video files, and folders of pictures, as frames at moments; whatever is wrong with one is said in a line.

Frames follow time stamps, so a variable rate plays as it was filmed, and a change of resolution is cut and scaled anew.
What the decoder marks as damaged is left out and counted. Most files carry no checksums: a flipped bit that still
decodes shows as wrong pixels for a moment; recordings (`common.recording`) carry hashes against that.
"""

import logging
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import av
import av.error
import numpy as np
from PIL import Image, UnidentifiedImageError

from actors.worlds.picture import Picture
from common.errors import ConfigError, ImageError
from common.messages import Frame
from common.wire import MAX_NAME

VIDEOS = frozenset({".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpg", ".ts", ".webm"})
PICTURES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".webp"})
LONGEST_GAP = 60.0
"""Seconds between two frames above which a time stamp counts as broken."""

ROUNDING = 0.002
"""Seconds by which time stamps may be off: many files keep whole milliseconds."""


class Timed(NamedTuple):
    """A frame of a film.

    Attributes:
        moment: When it is shown, seconds since the first frame.
        noted: Its own time stamp in the film, seconds after the first frame's: what tables of labels go by. None once
            stamps go backwards or are missing.
        picture: Decodes it.
    """

    moment: float
    noted: float | None
    picture: Callable[[], Frame]


"""Seconds since the film's first frame, and what makes the frame as filmed, uint8 [h, w, 3]: most are never shown."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Film:
    """One film.

    Attributes:
        name: Its world: the file's name without its ending, below the folder that was given.
        path: The video, or the folder of pictures.
    """

    name: str
    path: Path

    def frames(self, fps: float) -> Generator[Timed]:
        """Decodes it from its beginning.

        Args:
            fps: Pictures a second of a folder of them.

        Raises:
            ImageError: It cannot be read, or no further; the frames before were good.
        """
        return _pictures(self.path, fps) if self.path.is_dir() else _video(self.path)


def find_films(sources: Sequence[str]) -> list[Film]:
    """Lists the films that paths stand for: videos, folders of videos (with all below), folders of pictures.

    Raises:
        ConfigError: There is nothing at a path, or two films of one name.
    """
    films: list[Film] = []
    for source in sources:
        path = Path(source).expanduser()
        if path.is_file():
            films.append(Film(path.stem, path))
            continue
        videos = sorted(found for found in path.rglob("*") if found.suffix.lower() in VIDEOS)
        films += [Film(str(video.relative_to(path).with_suffix("")), video) for video in videos]
        if not videos and _picture_files(path):
            films.append(Film(path.resolve().name, path))
        elif not videos:
            raise ConfigError("world.worlds", source, "must be a video, or a folder of videos or of pictures")
    names = [film.name for film in films]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError("world.worlds", name, "names two films: rename one, or give their common folder")
        if not 1 <= len(name.encode()) <= MAX_NAME or not name.isprintable():
            raise ConfigError("world.worlds", name, f"must be a printable name of at most {MAX_NAME} bytes")
    return films


def check_film(film: Film) -> None:
    """Makes sure that a film has a first frame.

    Raises:
        ImageError: It has none.
    """
    frames = film.frames(1.0)
    if next(frames, None) is None:
        raise ImageError(f"{film.path} holds no frame")


class Reel:
    """Plays one film at moments that never go back.

    Args:
        film: The film.
        image_size: Height and width of a frame, pixels.
        fps: Pictures a second of a folder of them.
        broken: Told in a line why a film ended before its time.
    """

    def __init__(
        self, film: Film, *, image_size: tuple[int, int], fps: float, broken: Callable[[str], None] = _log.warning
    ) -> None:
        self.film = film
        self._image_size = image_size
        self._frames = film.frames(fps)
        self._broken = broken
        self._pictures: dict[tuple[int, ...], Picture] = {}
        self._next = self._decode()
        self._shown: Timed | None = None
        self._fitted: Frame | None = None
        self._last_gap = 1 / fps

    @property
    def noted(self) -> float | None:
        """Time stamp of the frame that is shown, seconds after the first frame's; None where it cannot be trusted."""
        return self._shown.noted if self._shown else 0.0

    def at(self, seconds: float) -> Frame | None:
        """The newest frame that was there at a moment, uint8 [H, W, 3]; None after the end.

        The last frame stays as long as the one before it did.
        """
        while self._next is not None and self._next.moment <= seconds + ROUNDING:
            if self._shown is not None:
                self._last_gap = max(self._next.moment - self._shown.moment, 1e-3)
            self._shown, self._next, self._fitted = self._next, self._decode(), None
        if self._shown is None or (self._next is None and seconds >= self._shown.moment + self._last_gap - ROUNDING):
            return None
        if self._fitted is None:
            self._fitted = self._fit(self._shown.picture())
        return self._fitted

    def close(self) -> None:
        """Lets the file go."""
        self._frames.close()
        self._next = self._shown = None

    def _decode(self) -> Timed | None:
        try:
            return next(self._frames, None)
        except ImageError as error:
            self._broken(str(error))
            return None

    def _fit(self, frame: Frame) -> Frame:
        screen = frame.shape[:2]
        if screen not in self._pictures:
            self._pictures[screen] = Picture((screen[0], screen[1]), self._image_size)
        return self._pictures[screen].frame(frame)


def _video(path: Path) -> Generator[Timed]:
    origin, moment, corrupt = None, None, 0
    first, last, sound = None, None, True
    try:
        with av.open(str(path)) as file:
            if not file.streams.video:
                raise ImageError(f"{path} has no picture in it")
            stream = file.streams.video[0]
            stream.thread_type = "NONE"
            step = 1 / float(stream.average_rate or 30)
            for picture in file.decode(stream):
                stamp = None if picture.pts is None else picture.time
                first = stamp if first is None else first
                sound = sound and stamp is not None and (last is None or stamp > last)
                last = stamp
                follows = 0.0 if moment is None else moment + step
                origin = stamp if origin is None else origin
                given = follows if stamp is None or origin is None else stamp - origin
                if moment is not None and not 0 < given - moment <= LONGEST_GAP:
                    given = follows  # a broken time stamp, or one that began anew
                    origin = None if stamp is None else stamp - given
                moment = given
                if picture.is_corrupt:
                    corrupt += 1
                    continue
                noted = stamp - first if sound and stamp is not None and first is not None else None
                yield Timed(moment, noted, partial(_rgb, picture))
    except (OSError, av.error.FFmpegError, ValueError) as error:
        where = "at all" if moment is None else f"after {moment:.1f} s"
        raise ImageError(f"{path} cannot be read {where}: {error}") from None
    finally:
        if not sound:
            _log.warning("%s: its time stamps go backwards or are missing; from there on it has no labels", path)
        if corrupt:
            _log.warning("%s: %d frames are damaged and were left out", path, corrupt)


def _rgb(picture: av.VideoFrame) -> Frame:
    return np.array(picture.to_ndarray(format="rgb24", threads=1), np.uint8)


def _picture_files(path: Path) -> list[Path]:
    return sorted(found for found in path.iterdir() if found.suffix.lower() in PICTURES) if path.is_dir() else []


def _pictures(path: Path, fps: float) -> Generator[Timed]:
    for number, file in enumerate(_picture_files(path)):
        try:
            with Image.open(file) as picture:
                frame = np.array(picture.convert("RGB"), np.uint8)
        except (OSError, ValueError, SyntaxError, UnidentifiedImageError, Image.DecompressionBombError) as error:
            _log.warning("%s is left out: %s", file, str(error).splitlines()[0])
            continue
        yield Timed(number / fps, number / fps, partial(_same, frame))


def _same(frame: Frame) -> Frame:
    return frame
