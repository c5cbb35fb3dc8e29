"""Weights in motion: payloads, their hash, and the two ends of the registry.

    learner ── offer(info, payloads) ─► registry ◄─ pull_if_newer(version, kind) ── actors, evaluator

Readers ask for what is newer than what they have, so that a slow reader skips versions and is never sent a queue of
them. `encoder` payloads carry the target encoder alone and only published versions; `full` payloads carry all three
networks, and candidates that were held back too.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b
from typing import Protocol

import safetensors.torch
import torch
from torch import Tensor

from common.config.learner import PayloadDtype
from common.messages import VersionInfo


class PayloadKind(StrEnum):
    """Which parameters a payload holds."""

    ENCODER = "encoder"
    FULL = "full"


DTYPES: Mapping[PayloadDtype, torch.dtype] = {PayloadDtype.BF16: torch.bfloat16, PayloadDtype.FP32: torch.float32}
"""The dtype of floating-point parameters in a payload, by the name that the config gives it."""


def pack(tensors: Mapping[str, Tensor], dtype: torch.dtype = torch.bfloat16) -> bytes:
    """Serialises parameters as safetensors, floating-point ones cast to `dtype`."""
    cast = {
        name: tensor.detach().to("cpu", dtype if tensor.is_floating_point() else tensor.dtype).contiguous()
        for name, tensor in tensors.items()
    }
    return safetensors.torch.save(cast)


def unpack(payload: bytes | memoryview) -> dict[str, Tensor]:
    """Reads a payload back, on the CPU and in the dtype it was sent in; copies, so that the source may go away.

    A view is copied once more than bytes: safetensors reads from bytes and files alone.
    """
    return safetensors.torch.load(bytes(payload))


def digest(tensors: Mapping[str, Tensor], dtype: torch.dtype = torch.bfloat16) -> str:
    """Hashes names and values as they are sent: equal before `pack`, after `unpack`, and in the module that acts."""
    state = blake2b(digest_size=16)
    for name in sorted(tensors):
        tensor = tensors[name].detach()
        sent = tensor.to("cpu", dtype if tensor.is_floating_point() else tensor.dtype).contiguous()
        state.update(name.encode())
        state.update(
            sent.view(torch.uint8).numpy().data if sent.ndim else sent.reshape(1).view(torch.uint8).numpy().data
        )
    return state.hexdigest()


class WeightSink(Protocol):
    """The learner's end of the registry."""

    def offer(self, info: VersionInfo, payloads: Mapping[PayloadKind, bytes]) -> None:
        """Hands over a new version; returns at once."""
        ...

    @property
    def acknowledged(self) -> int:
        """Versions that the registry has said it keeps, as far as is known now; never waits."""
        ...

    @property
    def abandoned(self) -> int:
        """Versions that it refused or failed, or that newer ones displaced before it answered; never waits."""
        ...


class WeightSource(Protocol):
    """A reader's end of the registry."""

    def pull_if_newer(
        self, version: int, kind: PayloadKind, wait: float = 0.0
    ) -> tuple[VersionInfo, bytes | memoryview] | None:
        """Returns the newest version above `version`, or None where there is none.

        Args:
            version: What the reader has.
            kind: What it reads.
            wait: Seconds in which one may still come.
        """
        ...


@dataclass(frozen=True, slots=True)
class StoredVersion[P]:
    """One version in the registry: what is known of it, and where its payloads are."""

    info: VersionInfo
    payloads: Mapping[PayloadKind, P]


class VersionStore[P]:
    """The registry's memory: the newest versions, by kind of payload.

    Candidates that were held back count like any others; so that a row of them leaves readers of published versions
    something to begin with, the newest published version stays besides.

    Args:
        keep: Newest versions that are kept, published or not.
    """

    def __init__(self, keep: int = 4) -> None:
        self._keep = keep
        self._versions: list[StoredVersion[P]] = []

    @property
    def newest(self) -> VersionInfo | None:
        """The newest version, published or not."""
        return self._versions[-1].info if self._versions else None

    def add(self, stored: StoredVersion[P]) -> bool:
        """Keeps a version; False where it is no newer than the newest and was left out.

        One that is older is kept where it is published and nothing published is there: a registry that came back empty
        is given its versions again in any order.
        """
        newest = self.newest
        if newest is not None and stored.info.version <= newest.version:
            if not stored.info.published or any(one.info.published for one in self._versions):
                return False
            self._versions.insert(0, stored)
            self._versions.sort(key=lambda one: one.info.version)
            return True
        self._versions.append(stored)
        older, recent = self._versions[: -self._keep], self._versions[-self._keep :]
        if not any(one.info.published for one in recent):
            recent = [one for one in older if one.info.published][-1:] + recent
        self._versions = recent
        return True

    def version(self, version: int, kind: PayloadKind) -> tuple[VersionInfo, P] | None:
        """Finds the version of this number, for a reader of this kind; None where it is gone or not to be seen."""
        for stored in self._versions:
            if stored.info.version == version:
                visible = kind in stored.payloads and (stored.info.published or kind is PayloadKind.FULL)
                return (stored.info, stored.payloads[kind]) if visible else None
        return None

    def newer(self, version: int, kind: PayloadKind) -> tuple[VersionInfo, P] | None:
        """Finds the newest version above `version` that this kind of reader may see."""
        for stored in reversed(self._versions):
            if stored.info.version <= version:
                return None
            if kind in stored.payloads and (stored.info.published or kind is PayloadKind.FULL):
                return stored.info, stored.payloads[kind]
        return None
