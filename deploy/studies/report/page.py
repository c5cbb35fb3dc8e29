"""The page of a study: sections in order, figures inline, nothing fetched from anywhere."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from deploy.report.blocks import Section, missing
from deploy.report.style import STYLE
from deploy.studies.report import provenance
from deploy.studies.report.cautions import cautions, shown
from deploy.studies.report.material import Material
from deploy.studies.report.plots import Drawing, Missing
from deploy.studies.report.ranking import Ranking
from deploy.studies.report.scales import Fit
from deploy.studies.report.tables import Table, energy_said
from evaluator.scores import NotMeasurable

_MORE = """
figure .paper { background: #fff; border-radius: 6px; padding: 10px; border: 1px solid var(--line); }
figure .paper svg { overflow: hidden; }
figure .paper svg * { stroke-linejoin: round; stroke-linecap: butt; }
figcaption .why { border-left: 3px solid var(--gold); padding-left: 12px; }
figcaption .why summary { cursor: pointer; }
ul.said { max-width: 84ch; padding-left: 20px; } ul.said li { margin-bottom: 8px; }
.alarm { border: 1px solid var(--gold); border-left-width: 4px; padding: 10px 14px; margin: 16px 0; }
.alarm ul { margin: 6px 0 0; padding-left: 20px; }
dd { overflow-wrap: anywhere; }
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawn:
    """A figure with its SVG, once for each width."""

    drawing: Drawing
    wide: str
    narrow: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Contents:
    """All that is laid out.

    Attributes:
        material: The study.
        fits: Laws of times.
        ranking: Variants in order.
        figures: By section.
        tables: By name.
        against: Section that compares with another study; None without one.
    """

    material: Material
    fits: Sequence[Fit]
    ranking: Ranking
    figures: Mapping[str, Sequence[Drawn | Missing]]
    tables: Mapping[str, Table]
    against: Section | None


def page(contents: Contents) -> str:
    """Lays the page out."""
    material = contents.material
    sections = [
        _asked(contents),
        _section(contents, "overview", "At a glance", "", tables=("trends",)),
        _section(contents, "times", "How long until memorised, how long until forgotten",
                 "T_mem runs from capture to the first of two measurements in a row with D ≥ θ; T_forget from the last "
                 "gradient exposure to the first two with half of the level. θ is taken from placebos, level by level.",
                 tables=("times-exposed", "times-rehearsed", "half-times", "scaling")),
        _section(contents, "memory", "The course of memory", "", tables=()),
        _section(contents, "continual", "What a change of world does", "", tables=()),
        _section(contents, "quality", "Quality of the features", "", tables=()),
        _section(contents, "ranking", "Variants against each other", "", tables=("ranking", "differences")),
        _section(contents, "compute", "Computation", energy_said(material), tables=("compute",)),
        *([contents.against] if contents.against else []),
        _meaning(contents),
        Section(
            name="trials",
            title="All trials",
            blocks=[contents.tables[name].html() for name in ("trials",) if name in contents.tables],
        ),
    ]  # fmt: skip
    return _document(material, sections)


def figure(material: Material, drawn: Drawn) -> str:
    """Writes a figure with its caption and what is missing in it."""
    drawing = drawn.drawing
    said = "".join(f"<p>{escape(text)}</p>" for text in drawing.caption)
    said += f"<p>Made by <code>{escape(provenance.command(material))}</code>: figures/{drawing.name}.svg, .pdf.</p>"
    if drawing.missing:
        items = "".join(f"<li>{escape(text)}</li>" for text in drawing.missing)
        open_ = " open" if len(drawing.missing) <= 3 else ""
        summary = f"<summary>Not measurable: {len(drawing.missing)}</summary>"
        said += f'<details class="why"{open_}>{summary}<ul>{items}</ul></details>'
    return (
        f'<figure id="figure-{drawing.name}"><h3>{escape(drawing.title)}</h3>'
        f'<div class="paper">{drawn.wide}{drawn.narrow}'
        f"</div><figcaption>{said}</figcaption></figure>"
    )


def _asked(contents: Contents) -> Section:
    material = contents.material
    blocks: list[str] = []
    if material.absent:
        items = "".join(
            f"<li><b>{escape(one.name)}</b> {escape(one.why)}: {escape(one.reason)}</li>" for one in material.absent
        )
        blocks.append(f'<div class="alarm"><b>Trials that tell nothing</b><ul>{items}</ul></div>')
    if material.blocks.said:
        blocks.append(f'<div class="alarm">{escape(material.blocks.said)}</div>')
    blocks.append(provenance.facts(material))
    blocks.append(provenance.configuration(material))
    return Section(name="asked", title="What was asked", blocks=blocks)


def _section(contents: Contents, name: str, title: str, lead: str, *, tables: Sequence[str]) -> Section:
    blocks = [
        missing(drawn.title, drawn.because) if isinstance(drawn, Missing) else figure(contents.material, drawn)
        for drawn in contents.figures.get(name, [])
    ]
    if not blocks:
        blocks.append(missing(title, _why(contents, name)))
    blocks += [contents.tables[table].html() for table in tables if table in contents.tables]
    return Section(name=name, title=title, lead=lead, blocks=blocks)


def _why(contents: Contents, name: str) -> str:
    material = contents.material
    if not material.findings:
        return "no trial has ended"
    if name == "ranking" and contents.ranking.reference is None:
        return "the study names no reference that has a trial; the table shows every variant by itself"
    if name in ("times", "memory"):
        reasons = [
            timed.because
            for one in material.findings
            for timed in one.times.values()
            if isinstance(timed, NotMeasurable)
        ]
        return reasons[0] if reasons else "no experience was measured"
    return "the rows of the trials do not hold it, or no trial has both numbers of a pair"


def _meaning(contents: Contents) -> Section:
    def listed(said: Sequence[str]) -> str:
        return '<ul class="said">' + "".join(f"<li>{escape(text)}</li>" for text in said) + "</ul>"

    yes = listed(shown(contents.material, contents.fits))
    no = listed(cautions(contents.material, contents.fits, contents.ranking))
    return Section(
        name="meaning",
        title="What this shows, and what it does not",
        blocks=["<h3>Shown</h3>", yes, "<h3>Not shown</h3>", no],
    )


def _document(material: Material, sections: Sequence[Section]) -> str:
    design = material.design
    links = "".join(f'<li><a href="#{section.name}">{escape(section.title)}</a></li>' for section in sections)
    body = "\n".join(section.html() for section in sections)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(f"engram study: {design.title}")}</title>
<style>{STYLE}{_MORE}</style>
</head>
<body>
<header><p class="brand">pamiq-engram · study {escape(design.name)}</p><h1>{escape(design.title)}</h1>
<p class="lead">{escape(design.question)}</p>
<nav><ul>{links}</ul></nav></header>
<main>
{body}
</main>
<footer><p>Every figure is beside this page as SVG and PDF (figures/), every number as CSV and Parquet (data/), every
table as LaTeX (tables/). Formulas and sources: docs/measures.md.</p></footer>
</body>
</html>
"""
