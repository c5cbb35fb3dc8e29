"""The replay stream in Redis: one stream an actor, writers that never block, readers that count every gap."""

from common.stream.connection import check_login, check_server, connect, redact, remove
from common.stream.heartbeat import Heartbeat, last_beats
from common.stream.journal import CaptureJournal, DropCause
from common.stream.keys import StreamKeys, rollouts_of
from common.stream.reader import StreamReader
from common.stream.share import Share
from common.stream.writer import StreamWriter

__all__ = [
    "CaptureJournal",
    "DropCause",
    "Heartbeat",
    "Share",
    "StreamKeys",
    "StreamReader",
    "StreamWriter",
    "check_login",
    "check_server",
    "connect",
    "last_beats",
    "redact",
    "remove",
    "rollouts_of",
]
