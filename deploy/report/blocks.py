"""What a page is made of: text, tables, figures with captions, and reasons where there is no figure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from deploy.report.tints import Tint
from evaluator.scores import NotMeasurable, Result, Score


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """A part of the page with its own heading.

    Attributes:
        name: Anchor, unique on the page.
        title: Heading.
        lead: Plain text below it: what the section is about.
        blocks: HTML.
    """

    name: str
    title: str
    lead: str = ""
    blocks: Sequence[str] = field(default_factory=list[str])

    def html(self) -> str:
        """Writes the section."""
        lead = f'<p class="lead">{escape(self.lead)}</p>' if self.lead else ""
        return (
            f'<section id="{self.name}"><h2>{escape(self.title)}</h2>{lead}\n' + "\n".join(self.blocks) + "\n</section>"
        )


def figure(title: str, body: str, caption: str, *, good: str = "", controls: str = "", key: str = "") -> str:
    """Writes a figure.

    Args:
        title: What it shows, in a few words.
        body: Its SVG or other HTML.
        caption: How to read it.
        good: What would count as good and what as bad.
        controls: What it has to be compared with.
        key: HTML that says what the colours are; see `legend`.
    """
    said = [f"<p>{escape(caption)}</p>"]
    said += [f"<p><b>Good or bad?</b> {escape(good)}</p>"] if good else []
    said += [f"<p><b>Controls.</b> {escape(controls)}</p>"] if controls else []
    return f"<figure><h3>{escape(title)}</h3>{key}{body}<figcaption>{''.join(said)}</figcaption></figure>"


def missing(title: str, reason: NotMeasurable | str, caption: str = "") -> str:
    """Says in the place of a figure why there is none, and what it would have shown."""
    because = reason.because if isinstance(reason, NotMeasurable) else reason
    would = f"<figcaption><p>{escape(caption)}</p></figcaption>" if caption else ""
    said = f'<p class="missing">Not measurable, because {escape(because)}.</p>'
    return f'<figure class="without"><h3>{escape(title)}</h3>{said}{would}</figure>'


def legend(items: Sequence[tuple[Tint, str, str]]) -> str:
    """Says what colours and dashes stand for.

    Args:
        items: Tint, what is drawn (`line`, `dash`, `dot`, `band`, `block`), and name.
    """
    shapes = {
        "line": '<path d="M0 5H22" stroke-width="2.5"/>',
        "dash": '<path d="M0 5H22" stroke-width="2.5" stroke-dasharray="6 3"/>',
        "dot": '<path d="M0 5H22" stroke-width="2.5" stroke-dasharray="2 3"/>',
        "band": '<path d="M0 5H22" stroke-width="9" stroke-opacity="0.3"/>',
        "block": '<path d="M0 5H22" stroke-width="9"/>',
    }
    parts = [
        f'<li><svg class="swatch" viewBox="0 0 22 10" aria-hidden="true" style="stroke:{tint.variable}">'
        f"{shapes[shape]}</svg>{escape(name)}</li>"
        for tint, shape, name in items
    ]
    return f'<ul class="key">{"".join(parts)}</ul>'


def table(head: Sequence[str], rows: Sequence[Sequence[str]], caption: str = "", *, notes: Sequence[str] = ()) -> str:
    """Writes a table that scrolls sideways where it is too wide.

    Args:
        head: Names of the columns.
        rows: Cells as plain text; the first of each row is its name.
        caption: What it shows.
        notes: Plain text below it, one paragraph each.
    """
    top = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    body = "".join(
        f'<tr><th scope="row">{escape(row[0])}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in row[1:])}</tr>'
        for row in rows
    )
    said = f"<h3>{escape(caption)}</h3>" if caption else ""
    below = "".join(f'<p class="note">{escape(note)}</p>' for note in notes)
    grid = f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="table">{said}<div class="scroll">{grid}</div>{below}</div>'


class Reasons:
    """Collects why numbers of a table are missing, so that a cell holds only a mark."""

    def __init__(self) -> None:
        self._known: list[str] = []

    def cell(self, result: Result, digits: int = 3) -> str:
        """Writes a number with its interval, or the mark of the reason why there is none."""
        if isinstance(result, NotMeasurable):
            if result.because not in self._known:
                self._known.append(result.because)
            return f"– ({self._known.index(result.because) + 1})"
        return number(result, digits)

    def notes(self) -> list[str]:
        """Lists the reasons by their marks."""
        return [f"({mark}) Not measurable, because {reason}." for mark, reason in enumerate(self._known, 1)]


def number(score: Score, digits: int = 3) -> str:
    """Writes a number with its interval."""
    value, low, high = ("…" if n is None else _decimal(n, digits) for n in (score.value, score.low, score.high))
    return value if score.low is None and score.high is None else f"{value} [{low},\N{NO-BREAK SPACE}{high}]"


def _decimal(value: float, digits: int) -> str:
    """Writes a number with a true minus, and never as −0."""
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "−")


def read_score(row: Any) -> Result:
    """Reads a score of a row of `evaluations.jsonl`, or the reason in its place."""
    if not isinstance(row, Mapping):
        return NotMeasurable("the rows of this run do not hold it")
    found: Mapping[str, Any] = row  # pyright: ignore[reportUnknownVariableType]
    if "not_measurable" in found:
        return NotMeasurable(str(found["not_measurable"]))
    value = found.get("value")
    if not isinstance(value, int | float) or not math.isfinite(value):
        return NotMeasurable("the row holds no number")
    return Score(
        value=value, low=found.get("low"), high=found.get("high"),
        frames=int(found.get("frames", 0)), clusters=int(found.get("clusters", 0)),
    )  # fmt: skip
