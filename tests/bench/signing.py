"""What signatures cost: frames a second of one core on both ends of the stream, with a key and without."""

import time
from functools import partial

from common.codec import Codec
from common.messages import Datum
from common.signing import Signer
from common.stream.batch import Batch, Packed
from common.stream.keys import StreamKeys
from common.stream.takeover import is_own
from common.wire import Fields, decode, encode
from tests.bench.frames import datum
from tests.bench.measure import Result, rates

FRAMES = 256
KEYS = StreamKeys("bench")


def signing() -> list[Result]:
    """Packing as an actor does it, checking and decoding as a learner does it, by the clock of the core itself."""
    signer = Signer(bytes(range(32)), KEYS.stream)
    results: list[Result] = []
    for side, codec in ((96, Codec.RAW), (224, Codec.RAW), (224, Codec.JPEG)):
        packed = partial(_pack, datum(side), codec)
        ready = partial(_read, _signed(datum(side), codec, signer))
        for end, work in (("pack and sign", packed), ("check and decode", ready)):
            ours, limit, ratio = rates(partial(work, signer), partial(work, None))
            results.append(
                Result(
                    what=f"{end}, {side}×{side}, {codec}",
                    ours=f"{ours:.0f}/s",
                    limit=f"{limit:.0f}/s unsigned",
                    ratio=ratio,
                )
            )
    return results


def _batch(one: Datum, codec: Codec, signer: Signer | None) -> Batch:
    batch = Batch([Packed(seq, 0, encode(one, codec)) for seq in range(1, FRAMES + 1)])
    batch.address(0, KEYS, one.actor, FRAMES, signer)
    return batch


def _signed(one: Datum, codec: Codec, signer: Signer) -> Fields:
    return {name: bytes(value) for name, value in _batch(one, codec, signer).entries[0].fields.items()}


def _pack(one: Datum, codec: Codec, signer: Signer | None) -> float:
    began = time.thread_time()
    _batch(one, codec, signer)
    return FRAMES / (time.thread_time() - began)


def _read(fields: Fields, signer: Signer | None) -> float:
    began = time.thread_time()
    for _ in range(FRAMES):
        assert is_own(b"a", b"1-0", fields, signer)
        decode(fields)
    return FRAMES / (time.thread_time() - began)
