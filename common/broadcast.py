"""Weights over Redis, for hosts outside Ray: chunks first, then one small manifest that names them.

    relay ── chunks, then WATCH chunks, MULTI [manifest] EXEC ─► Redis ◄─ GETRANGE manifest, then its chunks ── reader

A manifest is written only while all of its chunks are there, and chunks that get no manifest are removed. A reader
trusts the manifest's hash alone: a payload whose chunks went away or changed under it is read again from the newest
manifest. Where the run has a key, the manifest is signed: whoever may write to the server can neither make weights nor
bring old ones under a new number. Nothing is unpickled and every size is bounded.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, cast

import msgpack
import redis

from common.errors import StreamError, WireError
from common.messages import VersionInfo
from common.signing import SIGNATURE_BYTES, Signer
from common.weights import PayloadKind

CHUNK = 4 * 2**20
"""Bytes of one chunk."""
MAX_PAYLOAD = 4 * 2**30
MAX_MANIFEST = 64 * 1024
POLL = 0.2
"""Seconds between two looks of a reader that waits."""
ATTEMPTS = 3
"""Manifests that a reader tries before it gives up until its next look."""
EXPIRY = 600
"""Seconds that chunks live unless a manifest names them as the newest."""

_MANIFEST = "manifest"
_SIGNED = 13
"""Elements of a manifest with a signature."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WeightKeys:
    """The keys of the weights of the stream with this id."""

    stream: str

    def manifest(self, kind: PayloadKind) -> str:
        """Manifest of the newest version of a kind, msgpack."""
        return f"engram:{self.stream}:weights:{kind}"

    def chunk(self, version: int, kind: PayloadKind, index: int) -> str:
        """One chunk of a payload."""
        return f"engram:{self.stream}:weights:{version}:{kind}:{index}"

    def kept(self, kind: PayloadKind) -> str:
        """Sorted set of `version:chunks`, so that a restarted learner trims what the last one left."""
        return f"engram:{self.stream}:weights:{kind}:kept"


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a reader needs to fetch and check one payload.

    Attributes:
        info: What is known of the version.
        kind: Which parameters the payload holds.
        chunks: Number of chunks.
        length: Of the payload, bytes.
        hash: blake2b of the payload, 16 bytes.
    """

    info: VersionInfo
    kind: PayloadKind
    chunks: int
    length: int
    hash: bytes

    def encode(self, signer: Signer | None = None) -> bytes:
        """Packs the manifest, and signs it where there is a signer."""
        info = self.info
        head = [
            info.version,
            info.step,
            info.created_ns,
            info.gradient_ns,
            info.system_time,
            info.digest,
            info.published,
        ]
        body = [*head, dict(info.health), str(self.kind), self.chunks, self.length, self.hash]
        packed: Any = cast(Any, msgpack).packb(body)
        if signer is not None:
            packed = cast(Any, msgpack).packb([*body, signer.message(_MANIFEST, packed)])
        if len(packed) > MAX_MANIFEST:
            raise WireError(f"manifest: {len(packed)} bytes, at most {MAX_MANIFEST} are allowed")
        return packed

    @classmethod
    def decode(cls, packed: bytes, signer: Signer | None = None) -> "Manifest":
        """Unpacks and checks a manifest, and its signature where there is a signer.

        Raises:
            WireError: Too long, malformed, inconsistent, not signed or wrongly signed.
        """
        if len(packed) > MAX_MANIFEST:
            raise WireError(f"manifest: more than {MAX_MANIFEST} bytes")
        try:
            content: Any = _body(cast(Any, msgpack).unpackb(packed), signer)
            (
                version,
                step,
                created_ns,
                gradient_ns,
                system_time,
                digest,
                published,
                health,
                kind,
                chunks,
                length,
                hashed,
            ) = content
            numbers = (version, step, created_ns, gradient_ns, chunks, length)
            _require(all(type(number) is int and number >= 0 for number in numbers), "a negative or broken number")
            _require(isinstance(digest, str) and isinstance(published, bool), "digest or published of a wrong type")
            _require(isinstance(hashed, bytes) and len(hashed) == 16, "hash is not 16 bytes")
            _require(0 < length <= MAX_PAYLOAD and chunks == -(-length // CHUNK), f"{length} bytes, {chunks} chunks")
            measured = {str(name): float(value) for name, value in health.items()}
            info = VersionInfo(
                version=version,
                step=step,
                created_ns=created_ns,
                gradient_ns=gradient_ns,
                system_time=float(system_time),
                digest=digest,
                published=published,
                health=measured,
            )
            return cls(info, PayloadKind(kind), chunks, length, hashed)
        except Exception as error:  # msgpack raises whatever its input makes it raise
            raise WireError(f"manifest: {type(error).__name__}: {error}") from None


def _body(content: Any, signer: Signer | None) -> Any:
    """What a manifest holds without its signature, once that is checked."""
    *body, signature = content if len(content) == _SIGNED else [*content, b""]
    if signer is not None:
        whole = isinstance(signature, bytes) and len(signature) == SIGNATURE_BYTES
        _require(whole, "not signed: it is not of this run")
        packed: bytes = cast(Any, msgpack).packb(body)
        _require(signer.said(_MANIFEST, packed, signature), "wrongly signed: of another run, or changed")
    return body


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise ValueError(what)


def publish(
    client: Any,
    keys: WeightKeys,
    info: VersionInfo,
    payloads: Mapping[PayloadKind, bytes | memoryview],
    *,
    keep: int = 2,
    key: bytes | None = None,
) -> bool:
    """Writes a version's payloads, then makes them the newest at once; where that fails, removes what it wrote.

    Args:
        client: Redis client that returns bytes.
        keys: Names of the keys.
        info: What is known of the version; a held-back one is not shown to readers of `encoder`.
        payloads: The bytes, by kind.
        keep: Versions of each kind whose chunks stay.
        key: Key that the manifest is signed with; that of this process by default, and none where it has none.

    Returns:
        False where Redis already holds this version or a newer one of some kind, and nothing was changed.

    Raises:
        WireError: A payload is empty or too long.
        StreamError: The server lost chunks before the manifest was written: it was emptied or started anew.
        redis.RedisError: The server does not answer (the version may be there all the same), or has no memory left.
    """
    shown = {kind: payload for kind, payload in payloads.items() if info.published or kind is PayloadKind.FULL}
    manifests: dict[PayloadKind, Manifest] = {}
    for kind, payload in shown.items():
        if not 0 < len(payload) <= MAX_PAYLOAD:
            raise WireError(f"{kind}: {len(payload)} bytes; 1 to {MAX_PAYLOAD} are allowed")
        hashed = blake2b(payload, digest_size=16).digest()
        manifests[kind] = Manifest(info, kind, -(-len(payload) // CHUNK), len(payload), hashed)
    older = {kind: [entry.decode() for entry in client.zrange(keys.kept(kind), 0, -1)] for kind in shown}
    if any(int(entry.split(":")[0]) >= info.version for entries in older.values() for entry in entries):
        return False
    names = [keys.chunk(info.version, kind, index) for kind in shown for index in range(manifests[kind].chunks)]
    if not names:
        return True
    try:
        _write(client, keys, info.version, shown)
        _commit(client, keys, manifests, names, older=older, keep=keep, signer=Signer.of(keys.stream, key))
    except BaseException:
        _withdraw(client, keys, info.version, manifests, names)
        raise
    return True


def _write(client: Any, keys: WeightKeys, version: int, payloads: Mapping[PayloadKind, bytes | memoryview]) -> None:
    for kind, payload in payloads.items():
        view = memoryview(payload)
        for index, start in enumerate(range(0, len(view), CHUNK)):
            client.set(keys.chunk(version, kind, index), view[start : start + CHUNK], ex=EXPIRY)


def _commit(
    client: Any,
    keys: WeightKeys,
    manifests: Mapping[PayloadKind, Manifest],
    names: Sequence[str],
    *,
    older: Mapping[PayloadKind, Sequence[str]],
    keep: int,
    signer: Signer | None,
) -> None:
    """Makes the chunks of these names the newest version, in one transaction that fails where one of them is gone."""
    with client.pipeline(transaction=True) as commit:
        commit.watch(*names)
        there = commit.exists(*names)
        if there < len(names):
            raise StreamError(f"the server lost {len(names) - there} of {len(names)} chunks while they were written")
        commit.multi()
        for name in names:
            commit.persist(name)
        for kind, manifest in manifests.items():
            commit.set(keys.manifest(kind), manifest.encode(signer))
            newest = manifest.info.version
            commit.zadd(keys.kept(kind), {f"{newest}:{manifest.chunks}": newest})
            surplus = len(older[kind]) + 1 - keep
            for rank, entry in enumerate(older[kind]):
                version, chunks = map(int, entry.split(":"))
                old = [keys.chunk(version, kind, index) for index in range(chunks)]
                if rank < surplus:
                    commit.unlink(*old)
                    commit.zrem(keys.kept(kind), entry)
                else:
                    for name in old:
                        commit.expire(name, EXPIRY)
        commit.execute()


def _withdraw(
    client: Any, keys: WeightKeys, version: int, kinds: Mapping[PayloadKind, Manifest], names: Sequence[str]
) -> None:
    """Removes the chunks of a version that failed, as far as the server lets it.

    Not where the transaction was done and its reply alone was lost. One that is still on its way fails when it arrives,
    since it watches these chunks.
    """
    kept = [keys.kept(kind) for kind in kinds]
    try:
        with client.pipeline(transaction=True) as undo:
            undo.watch(*kept)
            if any(undo.zcount(key, version, version) for key in kept):
                return
            undo.multi()
            undo.unlink(*names)
            undo.execute()
    except redis.RedisError as error:
        _log.info("chunks of version %d stay for %d s: %s", version, EXPIRY, error)


def remove(client: Any, keys: WeightKeys) -> None:
    """Removes the weights of one stream from the server.

    Raises:
        redis.RedisError: The server does not answer.
    """
    for kind in PayloadKind:
        for entry in client.zrange(keys.kept(kind), 0, -1):
            version, chunks = map(int, entry.decode().split(":"))
            client.unlink(*(keys.chunk(version, kind, index) for index in range(chunks)))
        client.unlink(keys.manifest(kind), keys.kept(kind))


class RedisWeightSource:
    """A reader's end.

    Args:
        client: Redis client that returns bytes.
        keys: Names of the keys.
        key: Key that manifests must be signed with; that of this process by default, and none where it has none.
    """

    def __init__(self, client: Any, keys: WeightKeys, key: bytes | None = None) -> None:
        self._client = client
        self._keys = keys
        self._signer = Signer.of(keys.stream, key)

    def pull_if_newer(
        self, version: int, kind: PayloadKind, wait: float = 0.0
    ) -> tuple[VersionInfo, memoryview] | None:
        """Returns the newest version above `version`, or None where there is none within `wait` seconds.

        Raises:
            WireError: A malformed manifest, or no payload that fits its manifest in several attempts.
        """
        end = time.monotonic() + wait
        while (found := self._newest(version, kind)) is None and time.monotonic() < end:
            time.sleep(min(POLL, max(0.0, end - time.monotonic())))
        return found

    def _newest(self, version: int, kind: PayloadKind) -> tuple[VersionInfo, memoryview] | None:
        for _ in range(ATTEMPTS):
            packed: bytes = self._client.getrange(self._keys.manifest(kind), 0, MAX_MANIFEST)
            if not packed:
                return None
            manifest = Manifest.decode(packed, self._signer)
            if manifest.kind is not kind:
                raise WireError(f"manifest: {manifest.kind} under the key of {kind}")
            if manifest.info.version <= version:
                return None
            payload = self._read(manifest)
            if payload is not None:
                return manifest.info, payload
        raise WireError(f"{kind}: no payload fits its manifest after {ATTEMPTS} attempts")

    def _read(self, manifest: Manifest) -> memoryview | None:
        payload = bytearray()
        for index in range(manifest.chunks):
            expected = min(CHUNK, manifest.length - len(payload))
            key = self._keys.chunk(manifest.info.version, manifest.kind, index)
            part: bytes = self._client.getrange(key, 0, expected)
            if len(part) != expected:
                return None
            payload += part
        whole = memoryview(payload).toreadonly()
        return whole if blake2b(whole, digest_size=16).digest() == manifest.hash else None
