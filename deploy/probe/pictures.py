"""The protocols on labelled pictures, `ijepa` and `fast`, for an encoder and its baselines."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.table import Table
from torch import Tensor

from deploy.probe.meter import Meter
from deploy.probe.options import Probe, Protocol
from deploy.probe.subject import Subject
from deploy.probe.table import Shown, shown
from evaluator.encoders import fault
from evaluator.probeset import user_cache
from evaluator.protocols import linear
from evaluator.protocols.accuracy import wilson
from evaluator.protocols.batches import AugmentedBatches, Batches, CachedBatches
from evaluator.protocols.fast import fast
from evaluator.protocols.features import Layered, PixelLayers, Watch, cache_key, cached_features
from evaluator.protocols.images import ImageFolder
from evaluator.protocols.reconstruct import Of
from evaluator.scores import NotMeasurable

_CACHED = (
    "Heads were trained on features of the middle of each picture, encoded once. The paper trains on random crops and "
    "flips: --augment does, and encodes every epoch anew."
)


def grade(asked: Probe, subject: Subject, meter: Meter) -> tuple[dict[str, Any], Sequence[Shown]]:
    """Grades an encoder and its baselines on a folder of pictures.

    Returns:
        The results as JSON, and what is shown of them.

    Raises:
        ConfigError: The folder has too few classes or pictures.
        ImageError: A picture cannot be read.
    """
    folder = ImageFolder.open(asked.data, validation=asked.validation, test=asked.test, seed=asked.seed)
    encoders: dict[Of, tuple[Layered, str]] = {Of.TRAINED: (subject.encoder, subject.identity(subject.encoder))}
    if asked.baselines:
        random = subject.random(asked.seed)
        encoders |= {Of.RANDOM: (random, subject.identity(random)), Of.PIXELS: (PixelLayers(), "8×8 pixels")}
    table = Table(title=f"{asked.protocol}: {asked.checkpoint} on {asked.data}", title_justify="left")
    for column in ("encoder", "read-out", "validation", "test accuracy", "95 % interval"):
        table.add_column(column)
    results: dict[str, Any] = {}
    for name, (encoder, identity) in encoders.items():
        grading = _Grading(
            asked=asked, subject=subject, folder=folder, name=name, encoder=encoder, watch=meter.of(name)
        )
        results[name] = grading.result(identity, table)
    counts = {**folder.counts(), "classes": len(folder.classes), "ignored_files": folder.ignored}
    notes = [_CACHED] if asked.protocol is Protocol.IJEPA and not asked.augment else []
    said = ", ".join(f"{value} {name}" for name, value in counts.items())
    return {"counts": counts, "notes": notes, "results": results}, [table, f"Pictures: {said}.", *notes]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Grading:
    """One encoder on one folder."""

    asked: Probe
    subject: Subject
    folder: ImageFolder
    name: Of
    encoder: Layered
    watch: Watch

    def result(self, identity: str, table: Table) -> Any:
        """Encodes the pictures, grades, adds rows to the table, and gives the result as JSON."""
        asked, folder, size = self.asked, self.folder, self.subject.network.image_size
        root = asked.cache if asked.cache != Path() else user_cache() / "pamiq-engram"
        home = root / "features" / cache_key(identity, folder, image_size=size, crop=asked.crop)
        layers_NJD = cached_features(
            self.encoder,
            folder,
            lambda index: folder.centre(index, size, asked.crop),
            home=home,
            batch=self.subject.batch,
            device=self.subject.device,
            watch=self.watch,
        )
        if because := fault(layers_NJD):
            table.add_row(self.name, f"not measurable, because {because}")
            return NotMeasurable(because).row()
        return (
            self._fast(layers_NJD, table) if asked.protocol is Protocol.FAST else self._ijepa(layers_NJD, home, table)
        )

    def _fast(self, layers_NJD: NDArray[np.float32], table: Table) -> Any:
        readings = fast(layers_NJD, self.folder, device=self.subject.device, watch=self.watch)
        if isinstance(readings, NotMeasurable):
            table.add_row(self.name, f"not measurable, because {readings.because}")
            return readings.row()
        for one in readings:
            strength = "" if one.strength is None else f", λ {one.strength:g}"
            validation = "" if one.validation is None else f"{one.validation:.3f}"
            table.add_row(self.name, f"{one.readout}, {one.method}{strength}", validation, *shown(one.test))
        return [one.row() for one in readings]

    def _ijepa(self, layers_NJD: NDArray[np.float32], home: Path, table: Table) -> dict[str, Any]:
        asked, folder = self.asked, self.folder
        fitted, tested = int(folder.fit.sum()), int(folder.test.sum())
        batch = asked.batch or linear.default_batch(fitted)
        steps = linear.steps_of(fitted, batch)
        protocol = linear.LinearProtocol(
            layers=layers_NJD.shape[1],
            dim=layers_NJD.shape[2],
            classes=len(folder.classes),
            steps=steps,
            device=self.subject.device,
            seed=asked.seed,
        )
        setting = json.dumps([steps, asked.seed, asked.augment, folder.fit.tobytes().hex()])
        saved = home / f"heads-{blake2b(setting.encode(), digest_size=8).hexdigest()}.safetensors"
        protocol.train(self._batches(layers_NJD, steps), saved=saved, watch=self.watch)
        parts = [self._part(layers_NJD, role) for role in (folder.validate, folder.test)]
        graded = protocol.grade(*parts)
        best: dict[tuple[str, bool], linear.Trained] = {}
        for one in graded:
            best.setdefault((one.head.readout, one.head.norm), one)
        for one in best.values():
            chosen = " ← chosen" if one is graded[0] else ""
            test = shown(wilson(one.right, tested))
            table.add_row(self.name, f"{one.head}{chosen}", f"{one.validation:.3f}", *test)
        return {
            "batch": batch,
            "steps_per_epoch": steps,
            "lr_scale": linear.scale_of(steps),
            "chosen": linear.describe(graded[0]),
            "test": wilson(graded[0].right, tested).row(),
            "heads": [linear.describe(one) for one in graded],
        }

    def _part(self, layers_NJD: NDArray[np.float32], role: NDArray[np.bool_]) -> tuple[Tensor, Tensor]:
        return torch.as_tensor(layers_NJD[role]), torch.as_tensor(self.folder.label[role])

    def _batches(self, layers_NJD: NDArray[np.float32], steps: int) -> Batches:
        folder, subject, seed = self.folder, self.subject, self.asked.seed
        fitted_NJD, label_N = self._part(layers_NJD, folder.fit)
        if not self.asked.augment:
            return CachedBatches(fitted_NJD, label_N, steps=steps, device=subject.device, seed=seed)
        return AugmentedBatches(
            self.encoder,
            np.flatnonzero(folder.fit),
            label_N,
            lambda index, rng: folder.random(index, subject.network.image_size, rng),
            steps=steps,
            encoded_at_once=subject.batch,
            device=subject.device,
            seed=seed,
        )
