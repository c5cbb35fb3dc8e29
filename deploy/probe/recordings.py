"""The protocols on a recording, `reconstruct` and `predict`, for an encoder and its baselines."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.table import Table
from torch import Tensor

from common.recording import Recording
from deploy.probe.meter import Meter
from deploy.probe.options import Probe, Protocol
from deploy.probe.subject import Subject
from deploy.probe.table import Shown, together
from evaluator.encoders import Pixels
from evaluator.protocols.film import Film, folds
from evaluator.protocols.predict import STEPS as NET_STEPS
from evaluator.protocols.predict import predict
from evaluator.protocols.reconstruct import STEPS as DECODER_STEPS
from evaluator.protocols.reconstruct import Of, Stills, patch_tokens, pixel_tokens, reconstruct
from evaluator.scores import NotMeasurable

type Encode = Callable[[Tensor], Tensor]


def grade(asked: Probe, subject: Subject, meter: Meter) -> tuple[dict[str, Any], Sequence[Shown]]:
    """Grades an encoder and its baselines on a recording.

    Returns:
        The results as JSON, and what is shown of them.

    Raises:
        ConfigError: Frames do not fit the encoder, or there are too few visits.
        RecordingError: The recording cannot be read.
    """
    film = Film(Recording(asked.recording), subject.network.image_size)
    fold = folds(film.visits, asked.folds)
    visits = [{"visit": one.name, "world": one.world, "frames": one.frames} for one in film.visits]
    described: dict[str, Any] = {"visits": visits, "folds": fold.tolist()}
    worlds = len({one.world for one in film.visits})
    said = f"{len(film.visits)} visits of {worlds} worlds in {fold.max() + 1} folds; intervals are drawn over visits."
    measure = _reconstruct if asked.protocol is Protocol.RECONSTRUCT else _predict
    results, table = measure(asked, subject, film, fold, meter)
    return {**described, "results": results}, [table, said]


def _reconstruct(
    asked: Probe, subject: Subject, film: Film, fold: NDArray[np.int64], meter: Meter
) -> tuple[dict[str, Any], Table]:
    places = {one.name: _even(one.frames, asked.frames) for one in film.visits}
    taken = list(film.frames(places))
    frames_NHWC = np.stack([frame for _, frame in taken])
    stills = Stills(visit=np.array([visit for visit, _ in taken], np.int64), fold=fold)
    encoder, grid = subject.encoder, subject.encoder.grid
    encoders: dict[Of, Encode] = {Of.TRAINED: lambda frames: patch_tokens(encoder, frames)}
    if asked.baselines:
        random = subject.random(asked.seed)
        encoders[Of.RANDOM] = lambda frames: patch_tokens(random, frames)
        encoders[Of.PIXELS] = lambda frames: pixel_tokens(frames, grid)
    tokens = {name: _encoded(frames_NHWC, encode, subject, meter, name) for name, encode in encoders.items()}
    pixels_NGP = torch.cat(list(_slices(frames_NHWC, encoder.patchify, subject)))
    steps = asked.steps or DECODER_STEPS
    found = reconstruct(tokens, pixels_NGP, stills, watch=meter, seed=asked.seed, steps=steps)
    table = Table(title=f"reconstruct: {asked.checkpoint} on {asked.recording}", title_justify="left")
    for column in ("source", "MAE", "MSE", "MAE random − MAE"):
        table.add_column(column)
    for name, one in found.items():
        if isinstance(one, NotMeasurable):
            table.add_row(name, f"not measurable, because {one.because}")
        else:
            table.add_row(name, together(one.mae, 4), together(one.mse, 5), together(one.gain, 4))
    return {name: one.row() for name, one in found.items()}, table


def _predict(
    asked: Probe, subject: Subject, film: Film, fold: NDArray[np.int64], meter: Meter
) -> tuple[dict[str, Any], Table]:
    encoders: dict[Of, Encode] = {Of.TRAINED: subject.encoder.pooled}
    if asked.baselines:
        encoders |= {Of.RANDOM: subject.random(asked.seed).pooled, Of.PIXELS: Pixels().pooled}
    features = _followed(asked, subject, film, encoders, meter)
    steps = asked.steps or NET_STEPS
    found = predict(features, fold, device=subject.device, watch=meter, seed=asked.seed, steps=steps)
    table = Table(title=f"predict: {asked.checkpoint} on {asked.recording}", title_justify="left")
    for column in ("encoder", "steps", "MAE", "÷ MAE of the mean", "÷ MAE of the last", "random − this (÷ mean)"):
        table.add_column(column)
    results: dict[str, Any] = {}
    for name, one in found.items():
        if isinstance(one, NotMeasurable):
            table.add_row(name, f"not measurable, because {one.because}")
            results[name] = one.row()
            continue
        for horizon, error in one.items():
            cells = (together(error.mae), together(error.relative), together(error.copy), together(error.gain))
            table.add_row(name, str(horizon), *cells)
        results[name] = {str(horizon): error.row() for horizon, error in one.items()}
    return results, table


def _followed(
    asked: Probe, subject: Subject, film: Film, encoders: Mapping[Of, Encode], meter: Meter
) -> dict[Of, list[NDArray[np.float32]]]:
    """Encodes every `stride`-th frame of all visits: by encoder, the features of each visit [T, D]."""
    places = {one.name: range(0, one.frames, asked.stride) for one in film.visits}
    lengths = [len(places[one.name]) for one in film.visits]
    found: dict[Of, list[NDArray[np.float32]]] = {}
    at = np.zeros(len(lengths), np.int64)
    for visits, frames_BHWC in _batched(film.frames(places), subject.batch):
        with torch.no_grad():
            frames = torch.as_tensor(frames_BHWC, device=subject.device)
            features = {name: encode(frames).float().cpu().numpy() for name, encode in encoders.items()}
        for name, features_BD in features.items():
            # Made once: small arrays kept from every batch would pin the big ones between them, 2 GB of 18 000 frames.
            whole = found.setdefault(name, [np.empty((length, features_BD.shape[1]), np.float32) for length in lengths])
            for visit in set(visits):
                of_visit_BD = features_BD[np.array(visits) == visit]
                whole[visit][at[visit] : at[visit] + len(of_visit_BD)] = of_visit_BD
        np.add.at(at, visits, 1)
        meter("encoding", int(at.sum()), sum(lengths))
    return found


def _batched(
    frames: Iterator[tuple[int, NDArray[np.uint8]]], batch: int
) -> Iterator[tuple[list[int], NDArray[np.uint8]]]:
    held: list[tuple[int, NDArray[np.uint8]]] = []
    for one in frames:
        held.append(one)
        if len(held) == batch:
            yield [visit for visit, _ in held], np.stack([frame for _, frame in held])
            held = []
    if held:
        yield [visit for visit, _ in held], np.stack([frame for _, frame in held])


def _slices(frames_NHWC: NDArray[np.uint8], encode: Encode, subject: Subject) -> Iterator[Tensor]:
    for start in range(0, len(frames_NHWC), subject.batch):
        yield encode(torch.as_tensor(frames_NHWC[start : start + subject.batch], device=subject.device))


def _encoded(frames_NHWC: NDArray[np.uint8], encode: Encode, subject: Subject, meter: Meter, name: Of) -> Tensor:
    parts: list[Tensor] = []
    watch = meter.of(name)
    for part in _slices(frames_NHWC, encode, subject):
        parts.append(part)
        watch("encoding", sum(len(one) for one in parts), len(frames_NHWC))
    return torch.cat(parts)


def _even(frames: int, wanted: int) -> list[int]:
    """Places of at most `wanted` frames, evenly spaced over so many."""
    return np.unique(np.linspace(0, frames - 1, min(wanted, frames)).round().astype(int)).tolist()
