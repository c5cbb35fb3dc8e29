"""Studies with known effects: rows of the simulator of memories, with probes, places and health beside them."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from common.config.files import to_yaml, with_values
from common.config.presets import preset
from deploy.rundir import to_json
from evaluator.calibration.plan import LEVELS, Plan
from evaluator.calibration.simulator import simulate
from evaluator.probes import Task

SMALL = Plan(
    visits=5, blocks=10, worlds=3, placebos=24, every=20.0, tail=200.0, never=0.0, collapses=0.0, spread_run=0.1
)
"""A run of 700 s; twelve of its 40 exposed blocks would do for a median."""
FASTER, LONGER = -0.3, 0.4
"""Exponents that are planted: of the time that learning takes, and of the half-life."""
RANDOM = {Task.WORLD: 0.45, Task.PLACE: 0.4, Task.HEADING: 0.02, Task.DEPTH: 0.2}


@dataclass(frozen=True, kw_only=True)
class Made:
    """A variant that is made.

    Attributes:
        name: Its name.
        levels: Its levels.
        size: Its place on the planted power laws.
        gain: What it gains over random-init in every task.
        iid: Whether it is the bound.
        values: Fields of its configuration.
        salt: Salt of its stream.
    """

    name: str
    levels: Mapping[str, str] = field(default_factory=dict[str, str])
    size: float = 1.0
    gain: float = 0.2
    iid: bool = False
    values: Mapping[str, Any] = field(default_factory=dict[str, Any])
    salt: str = "seed-100"


def sizes(values: Sequence[float] = (1e4, 4e4, 1.6e5)) -> tuple[list[dict[str, Any]], list[Made]]:
    """An axis of sizes, and its variants."""
    levels = [{"name": f"s{index}", "value": value} for index, value in enumerate(values)]
    axis = {
        "name": "size", "label": "parameters of the encoder", "unit": "", "numeric": True, "log": True, "levels": levels
    }  # fmt: skip
    variants = [
        Made(name=str(level["name"]), levels={"size": str(level["name"])}, size=value / 4e4, gain=0.1 + 0.05 * index)
        for index, (level, value) in enumerate(zip(levels, values, strict=True))
    ]
    return [axis], variants


def study(
    folder: Path,
    axes: Sequence[Mapping[str, Any]],
    variants: Sequence[Made],
    *,
    seeds: Sequence[int] = (0, 1, 2),
    plan: Plan = SMALL,
    name: str = "made",
    reference: str | None = None,
    rehearsal: bool = True,
) -> Path:
    """Writes a whole study; every trial of a seed has the same stream where the variants' salts agree."""
    folder.mkdir(parents=True, exist_ok=True)
    trials = [(variant, seed) for seed in seeds for variant in variants]
    bound = next((variant.name for variant in variants if variant.iid), None)
    described = {
        "v": 1, "name": name, "title": f"What {name} does to memory", "question": "Do larger encoders remember longer?",
        "match": "steps", "rate": 0.0, "preset": "demo", "scale": "small", "seeds": list(seeds), "bound": bound,
        "reference": reference, "axes": list(axes), "trials": [f"{variant.name}-s{seed}" for variant, seed in trials],
        "variants": [{"name": one.name, "levels": dict(one.levels), "iid": one.iid} for one in variants],
        "command": f"engram sweep {name} --out studies/{name}", "code": "0.1.0-3f9c2a1b",
    }  # fmt: skip
    (folder / "study.json").write_text(json.dumps(described), "utf-8")
    for variant, seed in trials:
        trial(folder / "trials" / f"{variant.name}-s{seed}", variant, seed, plan, study_name=name, rehearsal=rehearsal)
    return folder


def trial(folder: Path, made: Made, seed: int, plan: Plan, *, study_name: str, rehearsal: bool = True) -> None:
    """Writes the run directory of one trial."""
    folder.mkdir(parents=True)
    draw: dict[str, Any] = {"learner.replay.draw": "rehearsal"} if rehearsal else {}
    config = with_values(preset("demo"), {"seed": seed, "stream.salt": made.salt, **draw, **made.values})
    (folder / "config.yaml").write_text(to_yaml(config), "utf-8")
    (folder / "events.jsonl").touch()
    plan = replace(plan, rise=plan.rise * made.size**FASTER, half_life=plan.half_life * made.size**LONGER)
    rng = np.random.default_rng([seed, int(made.size * 1000), int(made.gain * 1000)])
    own = np.random.default_rng(seed)
    noise = {task: float(own.normal(0, 0.03)) for task in Task}
    with (folder / "evaluations.jsonl").open("w", encoding="utf-8") as file:
        for row in _rows(plan, made, rng, noise):
            file.write(to_json({"v": 1, **row}) + "\n")
    parameters = int(4e4 * made.size)
    steps = int(plan.duration * plan.steps)
    (folder / "trial.json").write_text(
        json.dumps({
            "v": 1, "study": study_name, "name": folder.name, "variant": made.name, "levels": dict(made.levels),
            "seed": seed, "iid": made.iid, "match": "steps", "seconds_per_step": 0.0, "steps": steps, "resumed": 0,
            "parameters": {"encoder": parameters, "predictor": parameters // 4, "trained": parameters * 5 // 4},
            "images": steps * 32, "flops": 6.0 * parameters * steps * 32 * 64, "seconds": 120.0 + parameters / 2000,
            "cpu_seconds": 110.0 + parameters / 2000, "evaluation_cpu_seconds": 60.0,
            "data": {"exposed": 3000, "withheld": 600, "guard": 500},
            "stream": {"digest": "255a92bbfbcb2f1505b9c8873c0719f3", "salt": made.salt, "seconds": plan.duration,
                       "frames": int(plan.duration * 5), "fps": 5.0, "recording": "tour.rec"},
            "machine": {"cpu": "a processor", "threads": 1, "device": "cpu", "gpu": None, "torch": "2.9"},
            "code": "0.1.0-3f9c2a1b", "weights": "0" * 32, "numbers": "1" * 32,
        }),
        "utf-8",
    )  # fmt: skip


def _rows(plan: Plan, made: Made, rng: np.random.Generator, noise: Mapping[Task, float]) -> Iterator[dict[str, Any]]:
    worlds = [f"world-{number}" for number in range(plan.worlds)] + ["placebo-0", "placebo-1"]
    for row in simulate(plan, LEVELS["low"], rng):
        if made.iid and row["row"] == "experience":
            continue
        if row["row"] == "experience":
            yield row
        else:
            share = 1 - float(np.exp(-3 * row["version"] * plan.every / plan.duration))
            yield row | _representation(made, share, worlds, rng, noise)


def _representation(
    made: Made, share: float, worlds: Sequence[str], rng: np.random.Generator, noise: Mapping[Task, float]
) -> dict[str, Any]:
    gained = {task: made.gain * share + 0.3 * noise[task] + float(rng.normal(0, 0.01)) for task in Task}
    random = {task: RANDOM[task] + noise[task] for task in Task}
    probes = {
        str(task): {
            "trained": _score(random[task] + gained[task]),
            "random": _score(random[task]),
            "pixels": _score(RANDOM[task]),
        }
        for task in Task
    }  # fmt: skip
    right = {world: rng.binomial(10, min(0.4 + gained[Task.PLACE], 0.95), 4).tolist() for world in worlds}
    places = {
        "trained": {world: {**_score(sum(of) / 40), "right": of, "asked": [10] * 4} for world, of in right.items()},
        "random": {world: {**_score(0.4), "right": [4] * 4, "asked": [10] * 4} for world in worlds},
    }
    bits = {
        world: _halved(0.5 * share * (not world.startswith("placebo")) + float(rng.normal(0, 0.05))) for world in worlds
    }
    healthy = {"rankme": 10 + 20 * made.gain, "feature_std": 0.3, "dormant": 0.02}
    return {
        "probes": probes,
        "gains": {str(task): _score(value) for task, value in gained.items()},
        "places": places,
        "worlds": bits,
        "losses": {kind: _score(0.4) for kind in ("exposed", "withheld", "placebo")},
        "memory": {kind: {"bits": _score(0.4), "loss": _score(0.4)} for kind in ("exposed", "withheld", "placebo")},
        "knn": {str(task): {"trained": _score(random[task])} for task in (Task.WORLD, Task.PLACE)},
        "health": {"trained": healthy, "random": healthy},
    }


def _score(value: float) -> dict[str, Any]:
    return {"value": value, "low": value - 0.05, "high": value + 0.05, "frames": 40, "clusters": 4}


def _halved(value: float) -> dict[str, Any]:
    return {"bits": {"value": value, "halves": [value, value]}}
