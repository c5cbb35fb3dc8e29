"""`engram record FOLDER --from RUN_DIR`: the stream of a run that is going on, to disk.

    Redis ─► StreamReader, from the oldest entry left ─► RecordingWriter, a segment every three seconds

One more reader: it owns its position, asks for little at a time, and what it loses is its own, counted in the manifest.
"""

import logging
import time
from collections.abc import Callable
from pathlib import Path

import redis

from common.recording import LIVE, Manifest, RecordingWriter
from common.signing import given_key
from common.stream import StreamKeys, StreamReader, connect
from deploy.address import StreamAddress

POLL = 0.05
REFRESH = 1.0

_log = logging.getLogger(__name__)


def record_live(
    address: StreamAddress,
    path: Path,
    *,
    manifest: Manifest,
    stopped: Callable[[], bool],
    show: Callable[[int, int], None] = lambda data, missed: None,
) -> Manifest:
    """Records until the run ends, or until it is told to stop; what was written by then is read to its end.

    Args:
        address: Where the stream is.
        path: Folder to make.
        manifest: What holds for the recording.
        stopped: Says that it is enough.
        show: Told now and then how many data are recorded, and how many were missed.

    Returns:
        What was recorded.

    Raises:
        RecordingError: The folder exists, or the disk is full; what was recorded by then stays.
    """
    reader = StreamReader(
        connect(address.url),
        keys=StreamKeys(address.stream),
        key=bytes.fromhex(address.key) if address.key else given_key(),
        keeps=False,  # who records may only look
    )
    data, looked, ending = 0, -REFRESH, False
    with RecordingWriter(path, of=manifest, seconds=LIVE) as writer:
        while True:
            found: int | None = 0
            try:
                if time.monotonic() - looked >= REFRESH:
                    reader.refresh()
                    looked = time.monotonic()
                    ending = stopped() or not address.alive()
                taken = reader.read()
                for datum in taken:
                    writer.write(datum)
                found = len(taken)
            except redis.RedisError as error:
                if not address.alive():
                    break
                _log.warning("cannot read the stream (%s: %s); trying again", type(error).__name__, error)
                found = None
            data += found or 0
            positions = reader.positions.items()
            missed = {actor: position.missed for actor, position in positions}
            writer.note(missed, {actor: position.quarantined for actor, position in positions})
            show(data, sum(missed.values()))
            writer.tick()
            if stopped() or (ending and not found):
                break
            if not found:
                time.sleep(POLL if found == 0 else 10 * POLL)
    return writer.manifest
