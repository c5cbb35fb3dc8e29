"""The page itself: sections in order, one style, nothing fetched from anywhere."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

from deploy.report import attention, curves, facts, heat, neighbours, probes, survival, verdict, ways, worlds
from deploy.report.blocks import Section
from deploy.report.material import MOST_SHOWN, Report, gather
from deploy.report.seen import look
from deploy.report.style import STYLE

_HOW = (
    "Shaded bands and brackets are 95 % intervals. They say how far the numbers of this run would move with other "
    "walks, visits or worlds, not with another seed: for that, run several seeds and give all their directories to "
    f"`engram report`. Figures over time show at most {MOST_SHOWN} versions, evenly spaced. "
    "Formulas and sources are in docs/measures.md; the numbers behind everything here are in "
    "evaluations.jsonl."
)


def write(folders: Sequence[Path], path: Path) -> Path:
    """Writes the page of some runs.

    Args:
        folders: Run directories; the first one is shown in the figures.
        path: HTML file to write.

    Raises:
        ConfigError: A directory holds no evaluations.
        RunError: A row is damaged.
    """
    text = page(gather(folders))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return path


def page(report: Report) -> str:
    """Lays the page out."""
    seen = look(report.first)
    sections = [
        verdict.section(report),
        facts.section(report),
        heat.section(report),
        curves.section(report),
        survival.section(report),
        worlds.section(report),
        probes.section(report),
        probes.health(report),
        attention.section(seen),
        neighbours.section(seen),
        ways.section(report),
    ]
    names = ", ".join(run.name for run in report.runs)
    return _document(f"engram report: {names}", names, sections)


def _document(title: str, names: str, sections: Sequence[Section]) -> str:
    links = "".join(f'<li><a href="#{section.name}">{escape(section.title)}</a></li>' for section in sections)
    body = "\n".join(section.html() for section in sections)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<header><p class="brand">pamiq-engram</p><h1>{escape(names)}</h1>
<p class="lead">What was remembered, what was forgotten, and what was learned on the way.</p>
<nav><ul>{links}</ul></nav></header>
<main>
{body}
</main>
<footer><p>{escape(_HOW)}</p></footer>
</body>
</html>
"""
