"""What is known of the recording of a stream: whether it is whole, and its checksum."""

from hashlib import blake2b
from pathlib import Path

from common.recording import Recording
from common.recording.manifest import MANIFEST, SEGMENTS
from deploy.studies.training import StreamDigest


def is_whole(path: Path) -> bool:
    """Whether a recording is there that was not broken off."""
    return (path / MANIFEST).exists() and Recording(path).manifest.whole


def digest_of(path: Path, cache: Path) -> str:
    """Checksum of the stream of a recording.

    Args:
        path: The recording.
        cache: Folder where it is kept under that of the files, which the recording's own list of segments has.

    Returns:
        What `StreamDigest` gives.
    """
    listed = blake2b((path / SEGMENTS).read_bytes() + (path / MANIFEST).read_bytes(), digest_size=8).hexdigest()
    kept = cache / f"{path.name}.{listed}.digest"
    if kept.exists():
        return kept.read_text("utf-8").strip()
    digest = StreamDigest()
    for datum in Recording(path):
        digest.add(datum)
    cache.mkdir(parents=True, exist_ok=True)
    part = kept.with_suffix(".part")
    part.write_text(f"{digest.text()}\n", "utf-8")
    part.replace(kept)
    return digest.text()
