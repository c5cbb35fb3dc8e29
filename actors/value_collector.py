"""What any pamiq-core agent collects, on its way to the stream."""

import time as wall
from typing import Any, override

import numpy as np
from pamiq_core import time
from pamiq_core.data import DataCollector

from common.messages import Datum
from common.stream import StreamWriter
from common.values import pack_value

_NOTHING = np.zeros(0, np.float32)


class ValueCollector(DataCollector[Any]):
    """A pamiq-core collector that writes to the stream; what it is given may be changed afterwards.

    Args:
        buffer: Name of the buffer that is collected for.
        actor: Name of the actor.
        writer: Takes the data.
    """

    def __init__(self, buffer: str, actor: str, writer: StreamWriter) -> None:
        super().__init__(0)
        self._buffer = buffer
        self._actor = actor
        self._writer = writer

    @override
    def collect(self, data: Any) -> None:
        """Takes one datum.

        Raises:
            WireError: It holds what cannot be sent: see `common.values`.
        """
        now = time.time()
        self._writer.put(
            Datum(
                buffer=self._buffer,
                actor=self._actor,
                seq=0,
                visit=self._actor,
                world=self._buffer,
                experience=self._actor,
                captured_ns=wall.time_ns(),
                system_time=now,
                visit_time=0.0,
                weights_version=0,
                action=_NOTHING,
                labels=None,
                data=pack_value(data),
            )
        )
