"""What is secret: that it is there where it is needed, long enough, and its owner's alone."""

import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from common.options import URL_VARIABLE
from common.signing import KEY_VARIABLE, given_key
from deploy.address import NAME
from deploy.control.server import TOKEN_VARIABLE, control_token
from deploy.doctor.finding import Case, Check, Verdict, beside, fine, poor, wrong
from deploy.ray_token import token_path


def is_private(path: Path) -> bool:
    """Whether nobody but its owner may read or change a file; Windows keeps that elsewhere."""
    return sys.platform == "win32" or not path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)


def _look_at_control(case: Case) -> Verdict:
    if not case.run.control.enabled:
        return beside("nothing listens")
    if control_token(case.run.control) is None:
        return beside("it listens on loopback")
    return fine("long enough")


def _look_at_key(case: Case) -> Verdict:
    if given_key() is not None:
        return fine("64 hexadecimal digits, as they should be")
    if case.run.actors.edge or case.run.cluster:
        said = "none: whoever may write to the Redis server can forge frames and weights"
        return poor(said, f"{KEY_VARIABLE}_FILE, the same on every host (`engram keys` makes one)")
    return beside("none is given, and all processes are on this machine")


def _look_at_files(case: Case) -> Verdict:
    files = [path for path in _files(case) if path.is_file()]
    if not files:
        return beside("there are none")
    if told := [path for path in files if not is_private(path)]:
        names = " ".join(str(path) for path in told)
        # A Ray that was started without us makes this token for everybody to read.
        judge = poor if told == [token_path()] and not case.run.cluster else wrong
        return judge(f"others can read {names}", f"chmod 600 {names}")
    return fine(f"{', '.join(path.name for path in files[:4])}: their owner's alone")


def _files(case: Case) -> Iterator[Path]:
    if case.run.redis_url.startswith("rediss://"):
        yield from (Path(name) for name in parse_qs(urlsplit(case.run.redis_url).query).get("ssl_keyfile", []))
    for variable in (URL_VARIABLE, TOKEN_VARIABLE, KEY_VARIABLE):
        if name := os.environ.get(f"{variable}_FILE"):
            yield Path(name)
    yield token_path()
    yield from sorted(case.runs.glob(f"*/{NAME}"))


CHECKS = (
    Check(name="control token", look=_look_at_control),
    Check(name="stream key", look=_look_at_key),
    Check(name="secret files", look=_look_at_files),
)
