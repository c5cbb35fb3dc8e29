"""Signatures: what one process of a run may believe of another, though a server that others use stands between them.

    entry of a stream            stream id, all fields but `sig`         ─► its field `sig`
    manifest of weights, models  stream id, its bytes                    ─► its last element
    control, configuration       stream id, what it is, its bytes        ─► at their end

A signature is a keyed BLAKE2b checksum. All processes of a run have the same key of 32 bytes, which Redis never sees:
whoever may write to the server but has no key cannot make frames, weights or commands; and since the stream's id, the
actor's name and the entry's number are under the signature, what is genuine cannot be used again elsewhere.
"""

import hmac
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Self, cast

import msgpack

from common.errors import ConfigError
from common.options import secret

KEY_VARIABLE = "ENGRAM_STREAM_KEY"
"""Names the key, 64 hexadecimal digits."""
KEY_BYTES = 32
SIGNATURE_BYTES = 16
SIGNATURE = b"sig"
"""Field of an entry that holds its signature."""

_held: dict[str, bytes] = {}


def adopt(key: bytes | None) -> None:
    """Makes a key the one of this process; None for none."""
    _held.clear()
    if key is not None:
        _held["key"] = key


def own_key() -> bytes | None:
    """The key of this process."""
    return _held.get("key")


def given_key() -> bytes | None:
    """Reads the key that the environment names, in `ENGRAM_STREAM_KEY` or the file of `ENGRAM_STREAM_KEY_FILE`.

    Returns:
        The key; None where none is named.

    Raises:
        ConfigError: What is named is none.
    """
    text = secret(KEY_VARIABLE)
    if not text:
        return None
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise ConfigError(KEY_VARIABLE, "***", f"must be {2 * KEY_BYTES} hexadecimal digits: `openssl rand -hex 32`")
    return key


class Signer:
    """Signs and checks what belongs to one stream.

    Args:
        key: 32 bytes.
        stream: Id of the stream.
    """

    def __init__(self, key: bytes, stream: str) -> None:
        assert len(key) == KEY_BYTES
        self._entries = blake2b(stream.encode(), digest_size=SIGNATURE_BYTES, key=key, person=b"engram-entry")
        self._messages = blake2b(digest_size=SIGNATURE_BYTES, key=key, person=b"engram-message")
        self._stream = stream

    @classmethod
    def of(cls, stream: str, key: bytes | None = None) -> Self | None:
        """Makes a stream's signer.

        Args:
            stream: Id of the stream.
            key: That of this process by default.

        Returns:
            The signer; None where there is no key.
        """
        key = own_key() if key is None else key
        return None if key is None else cls(key, stream)

    def entry(self, fields: Mapping[bytes, bytes | memoryview]) -> bytes:
        """The signature of an entry, whether it has one already or not."""
        checksum = self._entries.copy()
        small = sorted((name, value) for name, value in fields.items() if name not in (SIGNATURE, b"data"))
        checksum.update(cast(bytes, cast(Any, msgpack).packb(small)))
        checksum.update(fields.get(b"data", b""))
        return checksum.digest()

    def wrote(self, fields: Mapping[bytes, bytes]) -> bool:
        """Says whether an entry has the signature that it must have."""
        return hmac.compare_digest(fields.get(SIGNATURE, b""), self.entry(fields))

    def message(self, kind: str, content: bytes) -> bytes:
        """The signature of something else.

        Args:
            kind: What it is: nothing passes for something of another kind.
            content: Its bytes.
        """
        checksum = self._messages.copy()
        checksum.update(cast(bytes, cast(Any, msgpack).packb([self._stream, kind])))
        checksum.update(content)
        return checksum.digest()

    def said(self, kind: str, content: bytes, signature: bytes) -> bool:
        """Says whether something else has the signature that it must have."""
        return hmac.compare_digest(signature, self.message(kind, content))
