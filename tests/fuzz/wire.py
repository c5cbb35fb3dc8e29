"""Coverage-guided fuzz of the decoder: `make fuzz`, or `make fuzz ARGS=60` for one minute instead of five.

    child: valid entries of every codec ─► libFuzzer: change a field, decode, keep what reaches a new branch ─► corpus
    parent: decodes the final corpus under coverage.py ─► report

libFuzzer ends its process in its own way, and it and coverage.py each want to see `common.wire` imported: therefore two
processes. Anything but `WireError` is a failure, a crash of native code, 10 seconds or 2 GB for one entry included.
"""

# pyright: reportMissingImports=false, reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportAttributeAccessIssue=false
# Atheris is untyped, and there only on Linux.

import json
import random
import re
import struct
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import coverage

ROOT = Path(__file__).parents[2]
SECONDS = 300
LONGEST = 80_000
"""Bytes of an input."""
ENCODING = r"^def (encode|_label_bytes|pack_data|frame_shape)\("
"""What decoding never calls: left out of the report."""

DICTIONARY = r"""
"\x00\x00\x00\x00\x00\x00\xf8\x7f"
"\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00"
"""
"""Numbers that are not finite, as fields and as msgpack: comparing cannot lead libFuzzer to them."""

_HEAD = struct.Struct("<BI")


def join(fields: Mapping[bytes, bytes]) -> bytes:
    """Writes the fields of an entry as one input."""
    return b"".join(
        _HEAD.pack(len(name), len(value)) + name + bytes(value) for name, value in fields.items() if len(name) < 256
    )


def split(packed: bytes) -> dict[bytes, bytes]:
    """Reads an input; a broken end is a short last field."""
    fields: dict[bytes, bytes] = {}
    at = 0
    while at + _HEAD.size <= len(packed):
        name, value = _HEAD.unpack_from(packed, at)
        at += _HEAD.size
        fields[packed[at : at + name]] = packed[at + name : at + name + value]
        at += name + value
    return fields


def fuzz(corpus: Path, seconds: int) -> None:
    """Fuzzes until the time is over or something fails, and does not return."""
    import atheris

    with atheris.instrument_imports(include=["common.wire", "common.codec"]):
        from common.errors import WireError
        from common.wire import decode

    donors = [split(path.read_bytes()) for path in sorted(corpus.iterdir())]

    def one(packed: bytes) -> None:
        with suppress(WireError):
            decode(split(packed))

    def mutate(packed: bytes, longest: int, seed: int) -> bytes:
        """Changes one field: blind changes of the whole would mostly break the framing, which is not under test."""
        chance = random.Random(seed)
        fields = split(packed)
        name = chance.choice(sorted(fields) or [b"v"])
        match chance.randrange(12):
            case 0:
                fields.pop(name, None)
            case 1:
                donor = chance.choice(donors)
                name = chance.choice(sorted(donor))
                fields[name] = donor[name]
            case 2:
                fields[atheris.Mutate(name, 16)] = fields.get(name, b"")
            case _:
                fields[name] = atheris.Mutate(fields.get(name, b""), max(1, LONGEST // 2))
        return join(fields)[:longest]

    words = corpus.parent / "words"
    words.write_text(DICTIONARY, "utf-8")
    flags = [f"-max_total_time={seconds}", f"-max_len={LONGEST}", "-timeout=10", "-rss_limit_mb=2048"]
    places = [f"-dict={words}", "-print_final_stats=1", f"-artifact_prefix={corpus.parent}/", str(corpus)]
    atheris.Setup([sys.argv[0], *flags, *places], one, custom_mutator=mutate)
    atheris.Fuzz()


def seed(corpus: Path) -> None:
    """Writes valid entries, frames of both codecs with and without labels, arrays of several types; one too long."""
    import numpy as np

    from common.codec import Codec
    from common.messages import Datum, Labels
    from common.wire import MAX_LABELS, encode

    frame = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    depth = np.arange(9, dtype=np.float32).reshape(3, 3)
    labels = Labels(x=1.0, y=-2.0, heading=0.5, depth=depth, objects={"item": 2, "door": 1})
    kinds = {
        "raw": (frame, Codec.RAW, labels),
        "plain": (frame, Codec.RAW, None),
        "jpeg": (frame, Codec.JPEG, labels),
        "array": (np.arange(6.0), Codec.RAW, None),
        "scalar": (np.array(True), Codec.RAW, None),
        "named": ({"a": np.zeros(3, np.int64), "b": np.ones((2, 2), np.float16)}, Codec.RAW, labels),
    }
    fields: dict[bytes, bytes] = {}
    for name, (data, codec, known) in kinds.items():
        datum = Datum(
            buffer="frames",
            actor="actor-0",
            seq=7,
            ordinal=6,
            visit="actor-0.1.0000",
            world="freedoom2:map01",
            experience="actor-0.1.0000/0000",
            captured_ns=1_700_000_000_000_000_000,
            sent_ns=1_700_000_000_000_000_001,
            system_time=12.5,
            visit_time=3.25,
            weights_version=7,
            action=np.array([0.5, -1.0], np.float32),
            labels=known,
            data=data,
        )
        fields = encode(datum, codec)
        (corpus / name).write_bytes(join(fields))
    (corpus / "long").write_bytes(join(fields | {b"lab": bytes(MAX_LABELS + 1)}))


def measure(corpus: Path, folder: Path) -> dict[str, float]:
    """Decodes every entry of a corpus.

    Returns:
        Percentage of the branches taken, by file; a table goes to standard output.
    """
    files = ["common/wire.py", "common/codec.py"]
    measured = coverage.Coverage(branch=True, include=[str(ROOT / name) for name in files], data_file=None)
    measured.exclude(ENCODING)
    measured.start()
    from common.errors import WireError
    from common.wire import decode

    for path in sorted(corpus.iterdir()):
        with suppress(WireError):
            decode(split(path.read_bytes()))
    measured.stop()
    measured.report(show_missing=True)
    measured.json_report(outfile=str(folder / "coverage.json"))
    found = json.loads((folder / "coverage.json").read_text("utf-8"))["files"]
    summaries = {name: one["summary"] for name, one in found.items()}
    return {name: 100 * one["covered_branches"] / one["num_branches"] for name, one in summaries.items()}


def main(seconds: int) -> int:
    """Fuzzes and reports; 1 where something failed."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        corpus, log = folder / "corpus", folder / "log"
        corpus.mkdir()
        for step in ("seed", "fuzz"):
            with log.open("w") as output:
                words = [sys.executable, "-m", "tests.fuzz.wire", step, str(corpus), str(seconds)]
                code = subprocess.run(words, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, check=False).returncode
            said = log.read_text("utf-8", errors="replace")
            if step == "seed" and code:
                print(said)
                return 1
        failures = [path for path in sorted(folder.iterdir()) if re.match("(crash|timeout|oom|leak)-", path.name)]
        if code or failures:
            print(said[-4000:])
            for path in failures:
                print(f"{path.name}: decode({split(path.read_bytes())!r})")
            return 1
        executions = re.search(r"stat::number_of_executed_units:\s*(\d+)", said)
        branches = measure(corpus, folder)
        runs = int(executions[1]) if executions else 0
        shares = ", ".join(f"{share:.0f} % of the branches of {name}" for name, share in branches.items())
        print(f"{runs:,} executions in {seconds} s, corpus of {len(list(corpus.iterdir()))} entries, {shares}")
    return 0


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["seed", corpus, _]:
            seed(Path(corpus))
        case ["fuzz", corpus, seconds]:
            fuzz(Path(corpus), int(seconds))
        case [seconds]:
            sys.exit(main(int(seconds)))
        case _:
            sys.exit(main(SECONDS))
