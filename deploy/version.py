"""Which code this is: the release, and a digest of what is really here, since clusters run checkouts."""

from functools import cache
from hashlib import blake2b
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PARTS = ("actors", "common", "deploy", "evaluator", "learner")
_HOME = Path(__file__).resolve().parent.parent


@cache
def code_version() -> str:
    """Names the code of this process, for example `0.1.0-3f9c2a1b`; equal on two hosts where all modules are equal."""
    digest = blake2b(digest_size=4)
    for path in sorted(path for part in _PARTS for path in (_HOME / part).rglob("*.py")):
        digest.update(path.relative_to(_HOME).as_posix().encode() + b"\0")
        digest.update(path.read_bytes().replace(b"\r\n", b"\n") + b"\0")
    try:
        release = version("pamiq-engram")
    except PackageNotFoundError:
        release = "0"
    return f"{release}-{digest.hexdigest()}"
