"""What command lines have in common."""

from collections.abc import Sequence

URL_VARIABLE = "ENGRAM_REDIS_URL"
"""Names the Redis server without showing its password in the list of processes."""


def take_option(words: Sequence[str], option: str) -> tuple[list[str], str | None]:
    """Takes an option and its value out of the words."""
    for index, word in enumerate(words):
        if word == option and index + 1 < len(words):
            return [*words[:index], *words[index + 2 :]], words[index + 1]
        if word.startswith(f"{option}="):
            return [*words[:index], *words[index + 1 :]], word.partition("=")[2]
    return list(words), None
