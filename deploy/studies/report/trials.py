"""The trials of a study: which are done, missing, given up or damaged, and what `trial.json` says of each."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.studies.report.design import Design, FieldError, Row, take, take_number, take_row

VERSION = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamOf:
    """The stream of a trial: equal in two trials just if they saw the same frames and withheld the same.

    Attributes:
        digest: Checksum of the frames.
        salt: What decided which blocks are withheld.
    """

    digest: str
    salt: str

    @property
    def short(self) -> str:
        """A name that fits a legend."""
        return f"{self.digest[:6]}/{self.salt}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """A trial that has ended.

    Attributes:
        folder: Its run directory.
        name: Its name.
        variant: Name of its variant.
        seed: Its seed.
        iid: Whether it had the whole stream before its first step.
        stream: Its stream.
        recording: Name of the recording.
        numbers: Of `trial.json`: `steps`, `images`, `flops`, `seconds`, `cpu_seconds`, `evaluation_cpu_seconds`,
            `seconds_per_step`, `resumed`, `parameters.…`, `stream.…`; NaN where missing.
        machine: What it ran on.
        code: Version of the code that ran it.
        digest: Checksum of what was measured.
        row: All of `trial.json`.
    """

    folder: Path
    name: str
    variant: str
    seed: int
    iid: bool
    stream: StreamOf
    recording: str
    numbers: Mapping[str, float]
    machine: Mapping[str, str]
    code: str
    digest: str
    row: Row

    @property
    def key(self) -> tuple[int, StreamOf]:
        """What two trials must share to be paired."""
        return self.seed, self.stream


@dataclass(frozen=True, kw_only=True, slots=True)
class Absent:
    """A trial that tells nothing.

    Attributes:
        name: Its name.
        why: `missing`, `failed` or `damaged`.
        reason: More, in words.
    """

    name: str
    why: str
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """All trials of a study.

    Attributes:
        done: Those that have ended, in the order of the study.
        absent: The others.
    """

    done: Sequence[Trial]
    absent: Sequence[Absent]


def find_trials(design: Design) -> Found:
    """Looks at every trial that the study names, and at what else lies in `trials/`."""
    done: list[Trial] = []
    absent: list[Absent] = []
    folder = design.folder / "trials"
    others = sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    for name in [*design.trials, *(other for other in others if other not in set(design.trials))]:
        found = _look(design, folder / name, named=name in design.trials)
        if isinstance(found, Trial):
            done.append(found)
        elif found is not None:
            absent.append(found)
    return Found(done=done, absent=absent)


def _look(design: Design, folder: Path, *, named: bool) -> Trial | Absent | None:
    if not named:
        has = (folder / "trial.json").exists()
        return Absent(name=folder.name, why="damaged", reason="study.json does not name it") if has else None
    if (folder / "trial.json").exists():
        try:
            return _read(design, folder)
        except (FieldError, OSError, ValueError) as error:
            return Absent(name=folder.name, why="damaged", reason=f"trial.json: {error}")
    if (folder / "failed.json").exists():
        return Absent(name=folder.name, why="failed", reason=_failure(folder / "failed.json"))
    begun = (folder / "evaluations.jsonl").exists()
    return Absent(name=folder.name, why="missing", reason="it has begun and not ended" if begun else "not begun")


def _read(design: Design, folder: Path) -> Trial:
    found: Any = json.loads((folder / "trial.json").read_text("utf-8"))
    row = take_row({"trial.json": found}, "trial.json")
    if row.get("v") != VERSION:
        raise FieldError(f"v = {row.get('v')!r}; this code reads {VERSION}")
    variant, stream = take(row, "variant", str), take_row(row, "stream")
    if (of_study := take(row, "study", str)) != design.name:
        raise FieldError(f"study = {of_study!r}, and this is {design.name!r}")
    if design.variant(variant) is None:
        raise FieldError(f"variant = {variant!r} is none of the study's")
    if not (folder / "evaluations.jsonl").is_file():
        raise FieldError("evaluations.jsonl is missing")
    numbers = ("steps", "images", "flops", "seconds", "cpu_seconds", "evaluation_cpu_seconds", "resumed",
               "seconds_per_step")  # fmt: skip
    parts = ("parameters", "stream", "data", "machine")
    within = {name: take_row(row, name) for name in parts if isinstance(row.get(name), dict)}
    machine = within.pop("machine", {})
    return Trial(
        folder=folder,
        name=folder.name,
        variant=variant,
        seed=take(row, "seed", int),
        iid=bool(row.get("iid")),
        stream=StreamOf(digest=take(stream, "digest", str), salt=take(stream, "salt", str)),
        recording=str(stream.get("recording") or ""),
        numbers={name: take_number(row, name) for name in numbers}
        | {f"{part}.{name}": take_number(of, name) for part, of in within.items() for name in of},
        machine={name: str(value) for name, value in machine.items() if value is not None},
        code=str(row.get("code") or ""),
        digest=str(row.get("numbers") or ""),
        row=row,
    )


def _failure(path: Path) -> str:
    try:
        row: Any = json.loads(path.read_text("utf-8"))
        attempts = f"after {row['attempts']} attempts: " if isinstance(row.get("attempts"), int) else ""
        return f"given up {attempts}{row.get('error') or 'no reason was written'}"
    except (OSError, ValueError, AttributeError) as error:
        return f"given up; failed.json cannot be read: {error}"
