"""Puts a report together and writes its files."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.report.blocks import Section
from deploy.rundir import to_json
from deploy.studies.report import against as comparing
from deploy.studies.report import curves, data, figures
from deploy.studies.report.cautions import cautions, shown
from deploy.studies.report.findings import Whom
from deploy.studies.report.forest import forest
from deploy.studies.report.material import Material, gather
from deploy.studies.report.page import Contents, Drawn, figure, page
from deploy.studies.report.plots import Drawing, Missing, inline, render
from deploy.studies.report.ranking import Ranking, rank
from deploy.studies.report.scales import Fit, fits
from deploy.studies.report.tables import means, tables

type Told = Callable[[str], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """A report on disk.

    Attributes:
        index: The page.
        material: What it was made of.
    """

    index: Path
    material: Material


def write(
    folder: Path, out: Path, *, watts: float, against: Path | None = None, told: Told = lambda _: None
) -> Written:
    """Writes the report of a study.

    Args:
        folder: Where `study.json` is.
        out: Folder of the report; files of an earlier one are written over.
        watts: Power of one busy core.
        against: Another study, to compare with.
        told: Called with what is being done.

    Raises:
        ConfigError: A `study.json` cannot be used.
    """
    material = gather(folder, watts, told)
    told("power laws")
    laws, ranking = fits(material), rank(material)
    for name in ("figures", "data", "tables"):
        (out / name).mkdir(parents=True, exist_ok=True)
    drawn = {
        section: [
            drawing if isinstance(drawing, Missing) else _draw(drawing, out / "figures", told) for drawing in drawings
        ]
        for section, drawings in _drawings(material, laws, ranking).items()
    }
    told("data")
    made = tables(material, laws, ranking)
    for table in made.values():
        (out / "tables" / f"{table.name}.tex").write_text(table.tex(), "utf-8")
    data.write(out / "data", material, laws, ranking)
    (out / "summary.json").write_text(_pretty(summary(material, laws, ranking)), "utf-8")
    section = None if against is None else _against(material, gather(against, watts, told), out, told)
    contents = Contents(material=material, fits=laws, ranking=ranking, figures=drawn, tables=made, against=section)
    index = out / "index.html"
    index.write_text(page(contents), "utf-8")
    return Written(index=index, material=material)


def _drawings(material: Material, laws: Sequence[Fit], ranking: Ranking) -> dict[str, list[Drawing | Missing]]:
    if not material.findings:
        return {}
    by_level, against = figures.by_level, forest(material, ranking)
    rehearsed = any(whom is Whom.REHEARSED for one in material.findings for _, whom in one.times)
    return {
        "overview": [*by_level(material, ranking, figures.OVERVIEW)],
        "times": [
            drawing
            for draw in (figures.times, figures.half_times)
            for whom in Whom
            for drawing in draw(material, laws, whom)
        ],
        "memory": [
            curves.survival(material, Whom.EXPOSED),
            *([curves.survival(material, Whom.REHEARSED)] if rehearsed else []),
            curves.retention(material),
            curves.contrasts(material),
            *by_level(material, ranking, figures.MEMORY),
        ],
        "continual": [*by_level(material, ranking, figures.CONTINUAL), curves.worlds(material)],
        "quality": [*figures.probes(material, ranking), *by_level(material, ranking, figures.HEALTH)],
        "ranking": [] if against is None else [against],
        "compute": [*by_level(material, ranking, figures.COMPUTE)],
    }


def _draw(drawing: Drawing, folder: Path, told: Told) -> Drawn:
    told(f"figure {drawing.name}")
    wide, pdf = render(drawing)
    narrow, _ = render(drawing, narrow=True)
    (folder / f"{drawing.name}.svg").write_text(wide, "utf-8")
    (folder / f"{drawing.name}.pdf").write_bytes(pdf)
    return Drawn(
        drawing=drawing,
        wide=inline(wide, drawing.name, drawing.title, narrow=False),
        narrow=inline(narrow, drawing.name, drawing.title, narrow=True),
    )


def _against(ours: Material, theirs: Material, out: Path, told: Told) -> Section:
    found = comparing.compare(ours, theirs)
    table = comparing.table(found)
    if found.rows:
        (out / "tables" / "against.tex").write_text(table.tex(), "utf-8")
        data.save(out / "data", "against", comparing.rows(found))
    drawing = comparing.drawing(found)
    blocks = [comparing.words(found)]
    blocks += [] if drawing is None else [figure(ours, _draw(drawing, out / "figures", told))]
    blocks += [table.html()] if found.rows else []
    title = f"Against {theirs.design.title} ({theirs.design.name})"
    return Section(name="against", title=title, blocks=blocks)


def summary(material: Material, laws: Sequence[Fit], ranking: Ranking) -> Mapping[str, object]:
    """Everything in numbers, as plain JSON."""
    design = material.design
    return {
        "v": 1,
        "study": design.name,
        "match": design.match,
        "trials": [
            {"name": trial.name, "seed": trial.seed, "stream": trial.stream.digest, "salt": trial.stream.salt}
            for trial in material.trials
        ],
        "absent": [{"name": one.name, "why": one.why, "reason": one.reason} for one in material.absent],
        "kept_apart": material.blocks.said,
        "watts": material.watts,
        "levels": {
            one.name: {
                "variant": one.condition.variant.name,
                "levels": dict(one.condition.variant.levels),
                "seeds": one.condition.seeds,
                "times": {f"{what}.{whom}": timed.row() for (what, whom), timed in one.times.items()},
                "half_times": {f"{whom}.{clock}": halves.pooled.row() for (whom, clock), halves in one.halves.items()},
                "saving": one.saving.row(),
                "numbers": means([one], list(one.scores))[one.name],
            }
            for one in material.findings
        },
        "scaling": [fit.row() for fit in laws],
        "order": [row.findings.name for row in ranking.rows],
        "shown": shown(material, laws),
        "not_shown": cautions(material, laws, ranking),
    }  # fmt: skip


def _pretty(row: Mapping[str, object]) -> str:
    return json.dumps(json.loads(to_json(row)), indent=1, ensure_ascii=False) + "\n"
