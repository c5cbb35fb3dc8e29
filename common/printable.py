"""Text of others as terminals and logs may have it: nothing in it steers a terminal, or begins a line of its own."""

import logging
from types import TracebackType
from typing import override

MOST = 4096
"""Characters that are kept of one text."""


def printable(text: str) -> str:
    r"""Writes what cannot be seen as its escape: control characters, separators of lines, marks that turn text around.

    Args:
        text: Any text, such as what a server on the network says; `\x1b[2J` becomes `\\x1b[2J`.

    Returns:
        One line, of `MOST` characters before they are escaped; what is cut off is counted.
    """
    if len(text) > MOST:
        return f"{printable(text[:MOST])}… and {len(text) - MOST} characters more"
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


class LineFormatter(logging.Formatter):
    """Formats a record as one line; those of a traceback follow it, indented, so that none passes for a record."""

    @override
    def formatMessage(self, record: logging.LogRecord) -> str:
        return printable(super().formatMessage(record))

    @override
    def formatException(
        self, ei: tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]
    ) -> str:
        return "\n".join(f"    {printable(line)}" for line in super().formatException(ei).split("\n"))
