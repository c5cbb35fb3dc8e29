"""`engram keys FOLDER`: what is secret in a cluster, made once.

redis.conf  users.acl  server.crt  server.key     for the server alone
ca.crt                                             goes to every host
ray_token                                          to every Ray node
grafana_password                                   of its user admin, where deploy/compose.yaml finds it
learner.env  actor.env  viewer.env                 to the hosts of that role; each holds what that role needs
"""

import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import tyro

from common.config.units import ByteCount
from common.errors import ConfigError
from common.signing import KEY_BYTES, KEY_VARIABLE
from deploy.keys.certificates import alternative_names, make_certificates
from deploy.keys.server import ACTOR, DRIVER, PORT, VIEWER, configuration, users

_ENV_HEAD = "# Secret: readable by its owner alone. Read by a shell: set -a; . ./{name}; set +a\n"


@dataclass(frozen=True, kw_only=True)
class Keys:
    """Make everything secret that a cluster needs: certificates, passwords, tokens, a key to sign with.

    The folder is made, readable by you alone; one that exists is refused. Copy `ca.crt` and the `.env` file of its role
    to each host, to the same place everywhere; start the server with `redis-server FOLDER/redis.conf`.

    Examples:
      engram keys keys --host learner.lan --host 192.168.1.20
      engram keys keys --host learner.lan --memory 16GiB --at /home/me/engram-keys
    """

    folder: tyro.conf.Positional[Path]
    """Folder to make."""
    host: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """Name or address under which hosts find the server; the first one is in the `.env` files. None: loopback alone."""
    memory: ByteCount = 4 * 2**30
    """Bytes that the server may use: above `stream.budget` of all runs that use it together."""
    port: int = PORT
    """Port of the server. Not 6379, which Ray takes for itself."""
    at: Path = Path()
    """Folder of these files on the hosts, where it is another than here."""


def keys(words: list[str]) -> int:
    """Runs `engram keys` with the words after it; returns the exit code."""
    asked = tyro.cli(Keys, args=words, prog="engram keys")
    write_keys(asked)
    print(_NEXT.format(folder=asked.folder, at=_place(asked)))
    return 0


_NEXT = """\
{folder} is made. Next:
  redis-server {at}/redis.conf                        on the host of the stream
  set -a; . {at}/learner.env; set +a                  before `engram node` and `engram run` there
  copy ca.crt, ray_token and learner.env to Ray nodes, ca.crt and actor.env to edge actors' hosts, all to {at}
Whoever has a file of this folder has the rights in it: deploy/SECURITY.md."""


def write_keys(asked: Keys) -> None:
    """Makes the folder and all files in it.

    Raises:
        ConfigError: The folder exists, or an option cannot be.
    """
    if not 1 <= asked.port <= 65535 or asked.port == 6379:
        raise ConfigError("port", asked.port, "must be from 1 to 65535, and not 6379, which Ray takes for itself")
    if asked.memory < 64 * 2**20:
        raise ConfigError("memory", asked.memory, "must be at least 64MiB")
    place = _place(asked)
    if any(character.isspace() or character in "\"'$" for character in str(place)):
        raise ConfigError("at", str(place), "must be without white space, quotes and $: it stands in configurations")
    alternative_names(asked.host)
    try:
        asked.folder.mkdir(mode=0o700, parents=True)
    except FileExistsError:
        raise ConfigError(
            "folder", str(asked.folder), "exists: keys are never written over; remove or name another"
        ) from None
    asked.folder.chmod(0o700)
    make_certificates(asked.folder, asked.host)
    passwords = {user: secrets.token_urlsafe(32) for user in (DRIVER, ACTOR, VIEWER)}
    told = configuration(folder=place, hosts=asked.host, port=asked.port, memory=asked.memory)
    host = asked.host[0] if asked.host else "127.0.0.1"
    where = f"{f'[{host}]' if ':' in host else host}:{asked.port}"

    def url(user: str) -> str:
        authority = quote(str(place / "ca.crt"), safe="/")
        return f"ENGRAM_REDIS_URL=rediss://{user}:{passwords[user]}@{where}?ssl_ca_certs={authority}\n"

    signing = f"{KEY_VARIABLE}={secrets.token_hex(KEY_BYTES)}\n"
    control = f"ENGRAM_CONTROL_TOKEN={secrets.token_urlsafe(32)}\n"
    ray = f"RAY_AUTH_MODE=token\nRAY_AUTH_TOKEN_PATH={place / 'ray_token'}\n"
    contents = {
        "redis.conf": told,
        "users.acl": users(passwords),
        "ray_token": secrets.token_hex(32),
        "grafana_password": secrets.token_urlsafe(24),
        "learner.env": url(DRIVER) + signing + control + ray,
        "actor.env": url(ACTOR) + signing,
        "viewer.env": url(VIEWER) + signing,
    }
    for name, content in contents.items():
        head = _ENV_HEAD.format(name=name) if name.endswith(".env") else ""
        _write(asked.folder / name, head + content)
    for path in asked.folder.iterdir():
        path.chmod(0o600)


def _place(asked: Keys) -> Path:
    return asked.folder.resolve() if asked.at == Path() else asked.at


def _write(path: Path, content: str) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(content)
