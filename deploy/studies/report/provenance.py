"""What was asked, of what, with what: study, streams, machines, and what variants were configured to differ in."""

from collections import Counter
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from typing import Any, cast

import yaml

from deploy.report.blocks import table
from deploy.studies.report.along import short
from deploy.studies.report.material import Material
from deploy.studies.report.trials import Trial

_MATCHES = {
    "steps": "optimiser steps: every trial took as many as the stream and the replay ratio ask for",
    "clock": "time of an imagined machine: a step takes as long as its operations do",
}
_OWN = ("seed", "run_dir", "v", "learner.threads", "learner.nice", "evaluator.cache")
"""Fields that differ between trials for other reasons than the variant."""


def facts(material: Material) -> str:
    """What was asked for and what came of it, as a list for the page."""
    design, trials = material.design, material.trials
    counts = Counter(absent.why for absent in material.absent)
    done = f"{len(trials)} of {len(design.trials)} done"
    state = ", ".join([done, *(f"{count} {why}" for why, count in sorted(counts.items()))])
    seeds = ", ".join(map(str, design.seeds))
    rate = f", {short(design.rate)} FLOP/s" if design.match == "clock" and design.rate == design.rate else ""
    rows = {
        "Question": design.question or "not written down",
        "Varied": "; ".join(_axis(material)) or "variants, on no axis",
        "Matched by": _MATCHES.get(design.match, design.match or "not said") + rate,
        "Trials": f"{state}; {len(design.variants)} variants × {len(design.seeds)} seeds ({seeds})",
        "Bound, reference": f"{design.bound or 'no i.i.d. bound'}, {design.reference or 'no reference'}",
        "Streams": "; ".join(_streams(trials)) or "none yet",
        "Made with": f"preset {design.preset or '–'}, scale {design.scale or '–'}; planned by {design.code or '–'}, "
        f"run by {_spread(trial.code for trial in trials)}",
        "Machines": _spread(_machine(trial) for trial in trials),
        "Commands": f"{design.command or '–'};  {command(material)}",
    }
    return "<dl>" + "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in rows.items()) + "</dl>"


def command(material: Material) -> str:
    """The command that makes the report."""
    return f"engram report {material.design.folder.name} --watts {material.watts:g}"


def _axis(material: Material) -> list[str]:
    return [
        f"{axis.label}: " + ", ".join(
            level.name + (f" ({short(level.value)}{' ' + axis.unit if axis.unit else ''})" if axis.numeric else "")
            for level in axis.levels
        )
        for axis in material.design.axes
    ]  # fmt: skip


def _streams(trials: Iterable[Trial]) -> list[str]:
    found: dict[tuple[str, str], list[Trial]] = {}
    for trial in trials:
        found.setdefault((trial.stream.digest, trial.stream.salt), []).append(trial)
    said: list[str] = []
    for (digest, salt), members in found.items():
        numbers = members[0].numbers
        frames, seconds, fps = (numbers.get(f"stream.{name}", float("nan")) for name in ("frames", "seconds", "fps"))
        said.append(
            f"{members[0].recording or 'recording'}, checksum {digest}, salt {salt}, {frames:.0f} frames in "
            f"{seconds:.0f} s "
            f"at {fps:g} a second: {len(members)} trials"
        )
    return said


def _machine(trial: Trial) -> str:
    parts = [trial.machine.get(name, "") for name in ("cpu", "gpu", "device")]
    threads, torch, python = (trial.machine.get(name, "–") for name in ("threads", "torch", "python"))
    return f"{', '.join(part for part in parts if part)}, {threads} threads, torch {torch}, Python {python}"


def _spread(values: Iterable[str]) -> str:
    counts = Counter(value or "–" for value in values)
    if len(counts) == 1:
        return next(iter(counts))
    return "; ".join(f"{value} ({count} trials)" for value, count in counts.most_common()) or "–"


def config_of(trial: Trial) -> dict[str, str]:
    """Fields of a trial's configuration by dotted path; empty where the file is missing or damaged."""
    return flat(trial.folder / "config.yaml")


def flat(path: Path) -> dict[str, str]:
    """Reads a YAML file as text by dotted path."""
    try:
        content: Any = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError):
        return {}
    found: dict[str, str] = {}
    _flatten(content, "", found)
    return found


def _flatten(value: Any, path: str, found: dict[str, str]) -> None:
    if isinstance(value, dict):
        for name, of in cast("dict[str, Any]", value).items():
            _flatten(of, f"{path}.{name}" if path else str(name), found)
    else:
        found[path] = str(value)


def differing(configs: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
    """Fields that are not the same in all of some configurations: field → name → value."""
    fields = dict.fromkeys(field for config in configs.values() for field in config)
    found: dict[str, dict[str, str]] = {}
    for field in fields:
        values = {name: config.get(field, "–") for name, config in configs.items()}
        if field not in _OWN and len(set(values.values())) > 1:
            found[field] = values
    return found


def configuration(material: Material) -> str:
    """Table of what variants were configured to differ in; of each variant, its first trial tells."""
    configs = {one.name: config_of(one.condition.trials[0]) for one in material.findings}
    known = {name: config for name, config in configs.items() if config}
    found = differing(known)
    if not found:
        return '<p class="note">The configurations of the variants do not differ, or cannot be read.</p>'
    names = list(known)
    rows = [[field, *(values[name] for name in names)] for field, values in found.items()]
    return table(["field", *names], rows, "What variants are configured to differ in")
