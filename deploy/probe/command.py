"""Runs one probe from the checkpoint to the file of results."""

import json
import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress

from common.errors import ConfigError
from common.process import settle
from common.weights import digest
from deploy.convert import read_network
from deploy.probe import pictures, recordings
from deploy.probe.meter import Meter
from deploy.probe.options import Probe, Protocol
from deploy.probe.subject import Subject
from learner.device import choose_device

SCHEMA = 1
"""Version of the file of results."""


def probe(asked: Probe, console: Console) -> Path:
    """Grades an encoder, shows the table and writes the file.

    Returns:
        The file.

    Raises:
        ConfigError: Something does not fit.
        CheckpointError: The weights cannot be read.
        ImageError: A picture cannot be read.
        RecordingError: The recording cannot be read.
    """
    asked.check()
    device = choose_device(asked.device)
    settle(part="probe", threads=asked.threads or os.cpu_count() or 1)
    subject = Subject(read_network(asked.checkpoint, heads=asked.heads), device)
    target = asked.target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError("out", str(target), f"its folder cannot be made: {error.strerror}") from None
    if not os.access(target.parent, os.W_OK):
        raise ConfigError("out", str(target), "must be in a folder that can be written to")
    began = time.monotonic()
    with Progress(console=console) as progress:
        grade = pictures.grade if asked.protocol in (Protocol.IJEPA, Protocol.FAST) else recordings.grade
        results, shown = grade(asked, subject, Meter(progress))
    seconds = time.monotonic() - began
    for part in shown:
        console.print(part)
    content = json.dumps(_described(asked, subject) | results | {"seconds": seconds}, indent=1, allow_nan=False)
    partial = target.with_name(f"{target.name}.part")
    partial.write_text(f"{content}\n", "utf-8")
    partial.replace(target)
    console.print(f"{seconds:.0f} s; written to {target}")
    return target


def _described(asked: Probe, subject: Subject) -> dict[str, Any]:
    options = {name: str(value) if isinstance(value, Path) else value for name, value in asdict(asked).items()}
    return {
        "v": SCHEMA,
        "protocol": asked.protocol,
        "options": options,
        "weights": digest(subject.encoder.state_dict(), torch.float32),
        "model": asdict(subject.network.config),
        "image_size": subject.network.image_size,
        "device": str(subject.device),
    }
