"""The findings as a person reads them: one line each, the fix below what is not as it should be."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from deploy.doctor.finding import Finding, State

_MARKS = {State.OK: ("✓", "green"), State.WARNING: ("!", "yellow"), State.FAILED: ("✗", "bold red")}
_PLAIN = {"✓": "+", "✗": "X", "→": "->"}
"""For terminals without these characters."""
_NAME = 16
"""Columns of the longest name."""


def row(finding: Finding, console: Console) -> Table:
    """Draws one finding that was not skipped."""
    mark, colour = _MARKS[finding.state]
    line = Table.grid(padding=(0, 1))
    line.add_column(width=1)
    line.add_column(width=_NAME)
    line.add_column(overflow="fold")
    line.add_row(Text(_known(mark, console), style=colour), finding.name, Text(finding.found))
    if finding.fix:
        line.add_row("", "", Text(f"{_known('→', console)} {finding.fix}", style="" if console.no_color else "cyan"))
    return line


def conclusion(findings: Sequence[Finding]) -> str:
    """Says in one line how it all came out."""
    count = {state: sum(finding.state is state for finding in findings) for state in State}
    told = f"{count[State.FAILED]} failed, {count[State.WARNING]} warnings, {count[State.OK]} fine"
    skipped = count[State.SKIPPED]
    return f"{told}; {skipped} not asked for by this configuration"


def is_healthy(findings: Sequence[Finding]) -> bool:
    """Whether nothing that is needed failed."""
    return not any(finding.state is State.FAILED for finding in findings)


def _known(character: str, console: Console) -> str:
    try:
        character.encode(console.encoding)
    except UnicodeEncodeError:
        return _PLAIN[character]
    return character
