"""pamiq-core models that act in this process and follow those that are trained in another."""

import logging
import threading
from collections.abc import Mapping
from typing import Any

from pamiq_core.model import InferenceModelsDict, TrainingModel, TrainingModelsDict

from common.model_states import ModelSource, restore

_LOOK = 1.0
"""Seconds that the source may take to say that there is nothing new."""

_log = logging.getLogger(__name__)


class FollowedModels:
    """Pulls newer parameters on a thread of its own; pamiq-core's `sync` swaps them in between two inferences.

    Args:
        models: Made like those that are trained; these only act.
        source: Where newer parameters come from.
        name: The actor's, for the log.
        forgiven: Errors of the source after which it is asked again: the old parameters go on acting.
    """

    def __init__(
        self,
        models: Mapping[str, TrainingModel[Any]],
        source: ModelSource,
        *,
        name: str,
        forgiven: tuple[type[Exception], ...] = (),
    ) -> None:
        self.models = TrainingModelsDict(models)
        self._source = source
        self._name = name
        self._forgiven = forgiven
        self.versions: dict[str, int] = dict.fromkeys(self.models.inference_models_dict, 0)
        """Version of each model that acts; 0 before the first."""
        self.failure: BaseException | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="models", daemon=True)

    @property
    def inference(self) -> InferenceModelsDict:
        """The models that act."""
        return self.models.inference_models_dict

    def start(self) -> None:
        """Begins to follow."""
        self._thread.start()

    def close(self) -> None:
        """Ends following, as soon as the source has answered."""
        self._closing.set()

    def pull(self, wait: float) -> None:
        """Takes what is newer now, or within `wait` seconds."""
        for name, (version, state) in self._source.newer(self.versions, wait).items():
            model = self.models.data[name]
            restore(model, state)
            model.sync()
            self.versions[name] = version

    def _follow(self) -> None:
        while not self._closing.is_set():
            try:
                self.pull(_LOOK)
            except self._forgiven as error:
                _log.warning("%s: no newer models (%s: %s); acting on", self._name, type(error).__name__, error)
                self._closing.wait(_LOOK)
            except Exception as error:  # handed to whoever asks
                if not self._closing.is_set():
                    _log.exception("%s: the models cannot be followed", self._name)
                    self.failure = error
                return
