"""Any pamiq-core interaction in a process of its own: collectors write to the stream, models follow the trainers.

thread of the interaction   pamiq-core's: observe ─► agent.step ─► affect
stream-writer               spool ─► Redis
models                      board ─► the training model of this process ─► model.sync(), as in pamiq-core
"""

import tempfile
import time as wall
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pamiq_core.data import DataCollectorsDict
from pamiq_core.interaction import Interaction
from pamiq_core.model import TrainingModel

from actors.following import FollowedModels
from actors.value_collector import ValueCollector
from common import saved_files
from common.model_states import ModelSource
from common.saved_files import SavedFiles
from common.status import WriterCounts
from common.stream import CaptureJournal, StreamKeys, StreamWriter, connect
from common.system_clock import ClockReading
from common.thread_host import KeptInference, ThreadHost


class InteractionHost:
    """Hosts one interaction until it is stopped.

    Args:
        interaction: Makes it.
        models: Makes the same models as in the trainers' process; these only act.
        buffers: Names of the buffers that may be collected for.
        name: The actor's name.
        url: Redis server.
        stream: Id of the stream.
        budget: Bytes that this actor's stream may hold.
        spool: Data that may wait while the server is slow or gone.
        source: Where newer parameters come from.
        clock: System time of the control thread's process.
        log_every: Seconds between pamiq-core's lines on the time of a step.
    """

    def __init__(
        self,
        interaction: Callable[[], Interaction[Any, Any]],
        models: Callable[[], Mapping[str, TrainingModel[Any]]],
        *,
        buffers: Sequence[str],
        name: str,
        url: str,
        stream: str,
        budget: int,
        spool: int,
        source: ModelSource,
        clock: ClockReading,
        log_every: float,
    ) -> None:
        self.name = name
        # Nobody takes up this actor's counters after its death: the mapped file needs no name.
        with tempfile.TemporaryDirectory(prefix="engram-actor-") as folder:
            self._journal = CaptureJournal(Path(folder) / f"{name}.journal")
        self._writer = StreamWriter(
            lambda: connect(url),
            keys=StreamKeys(stream),
            actor=name,
            journal=self._journal,
            budget=budget,
            spool=spool,
        )
        self._models = FollowedModels(models(), source, name=name)
        self._interaction = interaction()
        self._interaction.agent.attach_inference_models(self._models.inference)
        collectors = {buffer: ValueCollector(buffer, name, self._writer) for buffer in buffers}
        self._interaction.agent.attach_data_collectors(DataCollectorsDict(collectors))
        self._host = ThreadHost(KeptInference(self._interaction, log_every), clock)
        self._last: WriterCounts | None = None

    def start(self, clock: ClockReading) -> None:
        """Begins to live, with the newest parameters."""
        self._models.pull(0.0)
        self._models.start()
        self._host.start(clock)

    def pause(self, timeout: float) -> bool:
        """Stands still after the step under way, once all that was collected is written; returns whether it does."""
        end = wall.monotonic() + timeout
        if not self._host.pause(timeout):
            return False
        while self._writer.counts().spooled and wall.monotonic() < end:
            wall.sleep(0.005)
        return not self._writer.counts().spooled

    def resume(self, clock: ClockReading) -> None:
        """Goes on."""
        self._host.resume(clock)

    def check(self) -> WriterCounts:
        """Counts what was collected.

        Raises:
            BaseException: What ended the interaction or a thread beside it.
        """
        self._host.check()
        for failure in (self._models.failure, self._writer.failure):
            if failure is not None:
                raise failure
        return self._last or self._writer.counts()

    def stop(self, timeout: float) -> WriterCounts:
        """Ends the interaction, writes what waits, and says how much was collected; states can still be saved."""
        self._models.close()
        self._host.stop(timeout)
        self._writer.close(timeout)
        self._last = self._writer.counts()
        self._journal.close()
        return self._last

    def save(self) -> SavedFiles:
        """Gives the state of the interaction, and of the models that only ever act: nobody else has them."""
        files = dict(saved_files.save(self._interaction.save_state, "interaction"))
        for name, model in self._models.models.data.items():
            if model.inference_thread_only:
                files |= {
                    f"models/{inside}": content for inside, content in saved_files.save(model.save_state, name).items()
                }
        return files

    def load(self, files: SavedFiles) -> None:
        """Takes the state of the interaction."""
        saved_files.load(self._interaction.load_state, "interaction", files)
