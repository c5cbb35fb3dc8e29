"""The token that all of Ray's processes show each other. Whoever has it may run code on every host of the cluster."""

import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

from common.errors import ConfigError

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def token_path() -> Path:
    """Where the cluster's token is on this host."""
    return Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")


def check_token(path: Path) -> None:
    """Makes sure that a cluster's token is there, and that others cannot read it.

    Raises:
        ConfigError: It is not so.
    """
    if os.environ.get("RAY_AUTH_TOKEN"):
        return
    try:
        found = path.stat()
    except OSError as error:
        allowed = f"cannot be read ({error.strerror}): `engram keys` makes a token, deploy/cluster.yaml brings it here"
        raise ConfigError("RAY_AUTH_TOKEN_PATH", str(path), allowed) from None
    if not found.st_size:
        raise ConfigError("RAY_AUTH_TOKEN_PATH", str(path), "is empty")
    if found.st_mode & _OTHERS:
        raise ConfigError("RAY_AUTH_TOKEN_PATH", str(path), "is open to others: chmod 600 it")


def make_token(path: Path) -> None:
    """Makes the token of this user's private Rays, unless there is one, and sees to it that others cannot read it.

    Ray would make it too, but for everybody to read. An empty file is none: its writer was killed.
    """
    if os.environ.get("RAY_AUTH_TOKEN"):
        return
    if path.exists() and not path.stat().st_size:
        path.unlink(missing_ok=True)
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = path.with_name(f"{path.name}.{os.getpid()}")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(secrets.token_hex(32))
        with suppress(FileExistsError):  # another run was faster, and its token is whole
            os.link(draft, path)
        draft.unlink()
    if path.stat().st_mode & _OTHERS:
        path.chmod(0o600)
