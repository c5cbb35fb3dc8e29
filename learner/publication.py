"""How new weights leave the learner: at a steady pace, numbered, hashed, and as the guardrail says."""

import time as wall
from bisect import bisect_right
from collections.abc import Callable, Mapping
from itertools import accumulate
from typing import override

import torch
from pamiq_core import time
from pamiq_core.torch import TorchInferenceModel, TorchTrainingModel, default_infer_procedure
from torch import Tensor

from common.ijepa.model import IJepa
from common.ledger import LEDGER
from common.messages import VersionInfo
from common.weights import PayloadKind, WeightSink, digest, pack

REMEMBERED = 4096
"""Versions whose moment is kept, for the age of weights that acted."""


class Publisher:
    """Offers a version at most every so many seconds.

    Args:
        sink: The registry.
        every: Seconds between versions, wall clock.
        version: Version to count on from.
        dtype: Of the floating-point parameters as they are sent.
        offered: Told of each version how long ago its last step ended, seconds.
        moments: What an earlier publisher's `moments()` gave.
        clock: System time, seconds.
    """

    def __init__(
        self,
        sink: WeightSink,
        *,
        every: float,
        version: int = 0,
        dtype: torch.dtype = torch.bfloat16,
        offered: Callable[[float], None] = lambda seconds: None,
        moments: Mapping[str, int] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._sink = sink
        self._every = every
        self._dtype = dtype
        self._offered = offered
        self._clock = clock
        self._last = -float("inf")
        self.version = version
        self._created_ns = {int(version): born for version, born in (moments or {}).items()}
        self._digests: dict[int, str] = {}
        self._index()

    def due(self) -> bool:
        """Says whether it is time for a version."""
        return wall.monotonic() - self._last >= self._every

    def born(self, version: int) -> int | None:
        """Wall clock of a version's making, ns; None where it is not known, or too long ago."""
        return self._created_ns.get(version)

    def newest_at(self, moment_ns: int) -> int:
        """The newest version at a moment of wall clock, ns; 0 before the first."""
        births, versions = self._rising
        place = bisect_right(births, moment_ns)
        return versions[place - 1] if place else 0

    def _index(self) -> None:
        """Sets both columns that `newest_at` searches at once: other threads look for each frame, without a lock.

        Where the wall clock went back, a version counts as born when the first one from it on was: so births rise.
        """
        births = list(accumulate(reversed(self._created_ns.values()), min))
        self._rising = tuple(reversed(births)), tuple(self._created_ns)

    def moments(self) -> dict[str, int]:
        """Wall clock of each version's making, ns, as JSON-able values: so that a restart forgets no version's age."""
        return {str(version): born for version, born in self._created_ns.items()}

    def note(self, version: int, created_ns: int) -> None:
        """Remembers that a version was made, here or by the rank that publishes, at this wall clock, ns."""
        self.version = version
        self._created_ns[version] = created_ns
        for remembered in (self._created_ns, self._digests):
            if len(remembered) > REMEMBERED:
                del remembered[min(remembered)]
        self._index()

    def digests(self) -> dict[int, str]:
        """Hash of the encoder's parameters by published version."""
        return dict(self._digests)

    def publish(
        self,
        model: IJepa,
        *,
        step: int,
        health: Mapping[str, float],
        gradient_ns: int = 0,
        published: bool = True,
        ledger: Tensor | None = None,
    ) -> VersionInfo:
        """Offers the model's parameters as the next version.

        Args:
            model: The networks, on any device.
            step: Optimiser steps done.
            health: What was measured of it; travels with the version.
            gradient_ns: Wall clock at the end of the last step, ns.
            published: Whether actors may have it; parameters that are not finite never reach them.
            ledger: What evaluators are told of the ledger, as `common.ledger.LedgerNews.pack` gives it.
        """
        encoder = model.target_encoder.state_dict()
        full = model.state_dict()
        published = published and finite(full)
        self._last = wall.monotonic()
        info = VersionInfo(
            version=self.version + 1,
            step=step,
            created_ns=wall.time_ns(),
            gradient_ns=gradient_ns,
            system_time=self._clock(),
            digest=digest(encoder, self._dtype),
            published=published,
            health=dict(health),
        )
        if published:
            self._digests[info.version] = info.digest
        self.note(info.version, info.created_ns)
        extra = {} if ledger is None else {LEDGER: ledger}
        payloads = {PayloadKind.ENCODER: pack(encoder, self._dtype), PayloadKind.FULL: pack(full | extra, self._dtype)}
        self._sink.offer(info, payloads)
        if gradient_ns:
            self._offered((wall.time_ns() - gradient_ns) / 1e9)
        return info


def finite(tensors: Mapping[str, Tensor]) -> bool:
    """Says whether no number is NaN or infinite."""
    return all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values() if tensor.is_floating_point())


class PublishedModel(TorchTrainingModel[IJepa]):
    """A pamiq-core training model whose `sync` publishes instead of swapping modules.

    pamiq-core's own `sync_impl` exchanges the training and the inference module; here inference lives in other
    processes, so that the module, its compiled graphs and its optimiser's parameters stay where they are.

    Args:
        model: The networks.
        device: Where to train.
        synced: Called after each slice of training.

    Attributes:
        step: Optimiser steps done, as of the last slice.
        gradient_ns: Wall clock at the end of the last step, ns.
        health: What the last step of the slice measured of its batch.
    """

    def __init__(self, model: IJepa, device: torch.device, synced: Callable[[], None]) -> None:
        super().__init__(model, device=device)
        self._synced = synced
        self.step = 0
        self.gradient_ns = 0
        self.health: Mapping[str, float] = {}

    @override
    def _create_inference_model(self) -> TorchInferenceModel[IJepa]:
        return TorchInferenceModel(self.model, default_infer_procedure)

    @override
    def sync_impl(self, inference_model: TorchInferenceModel[IJepa]) -> None:
        self._synced()
