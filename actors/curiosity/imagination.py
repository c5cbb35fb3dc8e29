"""What an actor foresees, one to eight steps ahead, and how far it was from what came.

    step t:  z(t) seen ─► [z(t), ẑ(t | t-1), ẑ(t | t-2), …] ─ action ─► [ẑ(t+1 | t), ẑ(t+1 | t-1), …]

Each imagination goes on from what it imagined, with the actions that were really done.

Shape suffixes: K imaginations, D features, A heads, L layers, C width.
"""

from collections import deque
from collections.abc import Mapping

import torch
from pamiq_core.torch import TorchInferenceModel
from torch import Tensor

from common.curiosity.dynamics import Foreseen, ForwardDynamics
from common.curiosity.models import imagine, standardise

HORIZON = 8
"""Steps ahead that are measured."""


class Imagination:
    """The forward dynamics of one actor, with its hidden state.

    Args:
        model: The forward dynamics that acts.
        horizon: Steps ahead, at most.
    """

    def __init__(self, model: TorchInferenceModel[ForwardDynamics], horizon: int = HORIZON) -> None:
        self._model = model
        self._horizon = horizon
        with model.unwrap() as network:
            self._hidden_KLC = torch.zeros(1, *network.hidden_shape)
        self._foreseen: Foreseen | None = None
        self._seen: deque[Tensor] = deque(maxlen=horizon + 1)

    @property
    def hidden(self) -> Tensor:
        """Hidden state before the step that comes, float32 [L, C]."""
        return self._hidden_KLC[0]

    def see(self, features_D: Tensor, *, joined: bool) -> Foreseen | None:
        """Takes what is seen.

        Args:
            features_D: Features.
            joined: It follows from what was seen and done before; if not, all imaginations end.

        Returns:
            What was foreseen, [K, D]: one step ago, two steps ago, …; None after a break. `came` is what came.
        """
        if not joined:
            self._foreseen = None
            self._hidden_KLC = self._hidden_KLC[:1]
            self._seen.clear()
        with self._model.unwrap() as network:
            self._seen.append(standardise(network, features_D))
        return self._foreseen

    @property
    def came(self) -> Tensor:
        """What was seen last, as the forward dynamics takes it, float32 [D]."""
        return self._seen[-1]

    def persistence(self) -> Tensor:
        """Squared error of foreseeing that nothing changes, one step ago, two steps ago, …: float32 [K]."""
        earlier = list(self._seen)[-2::-1]
        return torch.stack([(self.came - before).square().mean() for before in earlier]) if earlier else torch.zeros(0)

    def act(self, choices_A: Tensor) -> None:
        """Imagines what comes of what is done, int64 [A]."""
        seen = self.came.unsqueeze(0)
        if self._foreseen is not None:
            seen = torch.cat([seen, self._foreseen.mean])[: self._horizon]
        with self._model.unwrap() as network:
            self._foreseen, hidden_KLC = imagine(network, seen, choices_A, self._hidden_KLC[: len(seen)])
        # The newest imagination begins where the last one was after its first step.
        self._hidden_KLC = torch.cat([hidden_KLC[:1], hidden_KLC])

    def tensors(self) -> dict[str, Tensor]:
        """All that is remembered, by name."""
        found = {"hidden": self._hidden_KLC}
        if self._seen:
            found["seen"] = torch.stack(list(self._seen))
        if self._foreseen is not None:
            found |= {"mean": self._foreseen.mean, "log_std": self._foreseen.log_std}
        return found

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Remembers it."""
        self._hidden_KLC = tensors["hidden"]
        self._seen = deque(tensors["seen"].unbind() if "seen" in tensors else (), maxlen=self._horizon + 1)
        self._foreseen = Foreseen(tensors["mean"], tensors["log_std"]) if "mean" in tensors else None
