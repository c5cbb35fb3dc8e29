"""The encoder that acts: follows the weight registry on a thread of its own and swaps between two frames."""

import logging
import threading
from collections.abc import Callable
from typing import Any, override

import torch
from pamiq_core.model import InferenceModel
from torch import Tensor

from actors.context import StepContext
from common.config import ModelConfig
from common.ijepa.vit import VisionTransformer
from common.messages import Frame, VersionInfo
from common.payload import copy_gently, views
from common.weights import PayloadKind, WeightSource, digest

ASK = 1.0
"""Seconds that one question for newer weights waits for them."""

_log = logging.getLogger(__name__)


class FollowingEncoder(InferenceModel):
    """Encodes frames with the newest published weights.

    A new version is unpacked into a spare module off the frame loop; the next `infer` swaps the two, so that one frame
    is always encoded by one version.

    Args:
        config: Shape of the network.
        image_size: Height and width of a frame, pixels.
        context: Notes which version acts.
        source: The registry.
        every: Seconds between two versions, at least; later ones are taken as soon as they are there.
        seed: Of the random weights that act until the first version arrives.
        swapped: Told of each version when its first frame is encoded.
    """

    def __init__(
        self,
        config: ModelConfig,
        image_size: tuple[int, int],
        *,
        context: StepContext,
        source: WeightSource,
        every: float,
        seed: int,
        swapped: Callable[[VersionInfo], None] = lambda info: None,
    ) -> None:
        torch.manual_seed(seed)  # pyright: ignore[reportUnknownMemberType]
        self._acting = VisionTransformer(config, image_size).eval().requires_grad_(False)
        self._spare = VisionTransformer(config, image_size).eval().requires_grad_(False)
        self._acting_dtype = self._ready_dtype = torch.bfloat16
        self._ready: VersionInfo | None = None
        self._swapped = swapped
        self._swap = threading.Lock()
        self._context = context
        self._source = source
        self._every = every
        self._pulled = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="weights", daemon=True)
        self._thread.start()

    @property
    def version(self) -> int:
        """The version that acts; 0 before the first."""
        return self._context.weights_version

    def acting_digest(self) -> tuple[int, str]:
        """Hashes the parameters that act, and names the version they claim to be."""
        with self._swap:
            return self.version, digest(self._acting.state_dict(), self._acting_dtype)

    @override
    def infer(self, frame: Frame, *args: Any, **kwds: Any) -> Tensor:
        """Encodes one frame.

        Args:
            frame: uint8 [H, W, 3].
            args: Unused.
            kwds: Unused.

        Returns:
            Mean-pooled patch features, float32 [D].
        """
        with self._swap:
            if self._ready is not None:
                self._acting, self._spare = self._spare, self._acting
                self._context.weights_version = self._ready.version
                self._acting_dtype = self._ready_dtype
                self._swapped(self._ready)
                self._ready = None
            with torch.inference_mode():
                return self._acting.pooled(torch.from_numpy(frame).unsqueeze(0))[0]  # pyright: ignore[reportUnknownMemberType]

    def close(self) -> None:
        """Ends the thread."""
        self._stop.set()
        self._thread.join(5.0)

    def _follow(self) -> None:
        rest = 0.0
        while not self._stop.wait(rest):
            rest = self._every
            try:
                if not self._pull():
                    rest = 0.0
            except Exception as error:  # the registry may be restarting: the old weights go on acting
                _log.warning(
                    "cannot pull weights (%s: %s); acting on version %d", type(error).__name__, error, self.version
                )

    def _pull(self) -> bool:
        """Takes a newer version where there is one, or soon will be."""
        found = self._source.pull_if_newer(self._pulled, PayloadKind.ENCODER, ASK)
        if found is None:
            return False
        info, payload = found
        tensors = views(payload)
        with self._swap:
            self._ready = None
        copy_gently(tensors, self._spare.state_dict())
        with self._swap:
            self._ready = info
            self._ready_dtype = next(sent.dtype for sent in tensors.values() if sent.is_floating_point())
        self._pulled = info.version
        return True
