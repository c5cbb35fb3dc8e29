"""The error types that cross a module's border, one small tree."""

from typing import Any


class EngramError(Exception):
    """Anything that the user, not a bug of ours, has to act on."""


class ConfigError(EngramError):
    """A setting that cannot work, found before anything starts.

    Args:
        field: Dotted path of the field, for example `learner.replay.capacity`.
        value: The value that was given.
        allowed: What would be accepted, or what to do instead.
    """

    def __init__(self, field: str, value: Any, allowed: str) -> None:
        super().__init__(f"{field} = {value!r}: {allowed}")
        self.field = field
        self.value = value
        self.allowed = allowed


class WireError(EngramError):
    """An entry of a stream that does not decode: wrong schema, length, codec or content."""


class StreamError(EngramError):
    """The Redis server refuses what the stream needs (version, policy, memory, authentication)."""


class RecordingError(EngramError):
    """A recording that cannot be written, is missing, damaged, or of another schema."""


class ImageError(EngramError):
    """An image file that cannot be read, or whose pixels are not 8-bit colours."""


class CheckpointError(EngramError):
    """A checkpoint that is missing, incomplete, or does not fit the model it is loaded into."""


class RunError(EngramError):
    """The run cannot go on: a part died more often than the restart budget allows, a disk is full."""


class GuardrailError(EngramError):
    """Weights that stayed unhealthy after every rollback: to start the learner anew would not help."""
