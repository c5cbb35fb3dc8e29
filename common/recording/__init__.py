"""Recordings: a stream on disk, as video and tables that standard tools open, to be lived through again and again."""

from common.recording.care import check, compare, trim
from common.recording.manifest import Manifest, Segment
from common.recording.reader import Damage, Recording
from common.recording.video import CRF, Quality
from common.recording.writer import LIVE, RecordingWriter

__all__ = [
    "CRF",
    "LIVE",
    "Damage",
    "Manifest",
    "Quality",
    "Recording",
    "RecordingWriter",
    "Segment",
    "check",
    "compare",
    "trim",
]
