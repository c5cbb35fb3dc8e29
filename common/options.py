"""What command lines have in common."""

import os
from collections.abc import Sequence
from pathlib import Path

from common.errors import ConfigError

URL_VARIABLE = "ENGRAM_REDIS_URL"
"""Names the Redis server without showing its password in the list of processes."""
_LONGEST = 4096
"""Bytes of a file with a secret."""


def take_option(words: Sequence[str], option: str) -> tuple[list[str], str | None]:
    """Takes an option and its value out of the words."""
    for index, word in enumerate(words):
        if word == option and index + 1 < len(words):
            return [*words[:index], *words[index + 2 :]], words[index + 1]
        if word.startswith(f"{option}="):
            return [*words[:index], *words[index + 1 :]], word.partition("=")[2]
    return list(words), None


def secret(variable: str) -> str:
    """Reads a secret from a variable of the environment, or from the file that the variable with `_FILE` names.

    Returns:
        The secret without white space around it; empty where neither variable is set.

    Raises:
        ConfigError: Both variables are set, or the file cannot be read, is empty or no text.
    """
    given, name = os.environ.get(variable, "").strip(), f"{variable}_FILE"
    path = os.environ.get(name, "")
    if not path:
        return given
    if given:
        raise ConfigError(name, path, f"cannot be set beside {variable}: one of them decides")
    try:
        with Path(path).open(encoding="utf-8") as file:
            found = file.read(_LONGEST + 1).strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is no text"
        raise ConfigError(name, path, f"cannot be read: {reason}") from None
    if not found or len(found) > _LONGEST:
        raise ConfigError(name, path, f"must hold the secret and nothing else, at most {_LONGEST} bytes")
    return found
