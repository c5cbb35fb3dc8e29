"""A certificate authority of the user's own, and the certificate of the stream's server, by the `openssl` program.

    ca.key ─► ca.crt, on every host ◄── proves ── server.crt, for the names and addresses of the server

The authority signs once: its key is thrown away, since nothing else is ever to be signed with it.
"""

import ipaddress
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from common.errors import ConfigError, RunError

DAYS = 3650
_HERE = ("localhost", "127.0.0.1")


def alternative_names(hosts: Sequence[str]) -> str:
    """What a certificate is valid for, as a certificate names it.

    Args:
        hosts: Names and addresses, beside this machine's own.

    Raises:
        ConfigError: One of them is neither.
    """
    return ",".join(_alternative(host) for host in dict.fromkeys((*hosts, *_HERE)))


def _alternative(host: str) -> str:
    try:
        return f"IP:{ipaddress.ip_address(host)}"
    except ValueError:
        labels = host.split(".")
        if len(host) > 253 or not all(_is_label(label) for label in labels):
            raise ConfigError("host", host, "must be a host's name or address, for example learner.lan") from None
        return f"DNS:{host}"


def _is_label(label: str) -> bool:
    plain = label.replace("-", "")
    return plain.isascii() and plain.isalnum() and len(label) < 64 and label[0] != "-" != label[-1]


def make_certificates(folder: Path, hosts: Sequence[str]) -> None:
    """Writes `ca.crt`, `server.crt` and `server.key` into a folder that nobody else may read.

    Raises:
        ConfigError: A host's name is none, or there is no `openssl`.
        RunError: It fails.
    """
    names = alternative_names(hosts)
    if shutil.which("openssl") is None:
        raise ConfigError("openssl", "", "is needed to make certificates and was not found: install it")
    authority = folder / "ca.key"
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", str(DAYS))
    try:
        _openssl(
            *("req", "-x509", *curve, "-subj", "/CN=engram authority", "-keyout", str(authority)),
            *("-addext", "keyUsage=critical,keyCertSign", "-out", str(folder / "ca.crt")),
        )
        _openssl(
            *("req", "-x509", *curve, "-subj", "/CN=engram stream", "-keyout", str(folder / "server.key")),
            *("-CA", str(folder / "ca.crt"), "-CAkey", str(authority), "-out", str(folder / "server.crt")),
            *("-addext", f"subjectAltName={names}", "-addext", "basicConstraints=critical,CA:FALSE"),
            *("-addext", "extendedKeyUsage=serverAuth"),
        )
    finally:
        authority.unlink(missing_ok=True)


def _openssl(*words: str) -> None:
    done = subprocess.run(["openssl", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RunError(f"openssl {words[0]} failed: {done.stderr.strip().splitlines()[-1:] or done.returncode}")
