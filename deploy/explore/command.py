"""`engram explore`: compares where agents get, on a virtual clock."""

from dataclasses import replace
from pathlib import Path

import tyro
from rich.progress import Progress

from actors.worlds import check_worlds
from actors.worlds.kinds import kind_of
from common.config import RunConfig
from common.config.files import to_yaml
from common.config.presets import preset
from common.errors import ConfigError
from common.options import take_option
from deploy.explore.coverage import read
from deploy.explore.lives import live_all
from deploy.explore.plan import LIVE, Plan
from deploy.explore.table import table
from deploy.explore.ways import draw
from deploy.starting import starting_point

_DESCRIPTION = """\
Compare where agents get: lives on a virtual clock, as fast as they can be computed, each agent with the same seeds.

  --out DIR         folder of the results (explore); lives that are in it already are not lived again
  --agents A,B,C    agents, the baseline last (curious,rambler)
  --seeds 0,1,2     seeds (0,1,2)
  --encoder live    what the curious agent sees by: trained along (live), frozen (random), or that of a run directory
  --jobs N          lives at a time (1)

Everything else is as for `engram run`; the preset is `curious`. Afterwards DIR holds coverage.md and ways.png.

Examples:
  engram explore --duration 30m --jobs 2
  engram explore --agents curious,explorer,walker,rambler --seeds 0 --duration 10m --encoder runs/a --out few
"""


def explore(words: list[str]) -> int:
    """Runs `engram explore` with the words after it; returns the exit code."""
    words, out = take_option(words, "--out")
    words, agents = take_option(words, "--agents")
    words, seeds = take_option(words, "--seeds")
    words, encoder = take_option(words, "--encoder")
    words, jobs = take_option(words, "--jobs")
    named = any(word.partition("=")[0] in ("--preset", "--config") for word in words)
    words, default = starting_point(words)
    run = tyro.cli(
        RunConfig,
        args=words,
        default=default if named else preset("curious"),
        prog="engram explore",
        description=_DESCRIPTION,
        config=(tyro.conf.EnumChoicesFromValues,),
    )
    check_worlds(run.world)
    if not kind_of(run.world).truth:
        raise ConfigError("world.kind", run.world.kind, "must have ground truth of where an actor is: doom")
    plan = Plan(
        run=replace(run, run_dir="", redis_url=""),
        agents=tuple((agents or "curious,rambler").split(",")),
        seeds=tuple(_whole("seeds", seed, 0) for seed in (seeds or "0,1,2").split(",")),
        encoder=encoder or LIVE,
        out=Path(out or "explore"),
    )
    return _compare(plan, jobs=_whole("jobs", jobs or "1", 1))


def _compare(plan: Plan, *, jobs: int) -> int:
    plan.out.mkdir(parents=True, exist_ok=True)
    for name, text in (("config.yaml", to_yaml(plan.run)), ("encoder.txt", f"{plan.encoder}\n")):
        file = plan.out / name
        if file.exists() and file.read_text("utf-8") != text:
            allowed = f"holds lives of another configuration ({name}): name another folder"
            raise ConfigError("out", str(plan.out), allowed)
        file.write_text(text, "utf-8")
    with Progress() as progress:
        bars = {life: progress.add_task(f"{life[0]} {life[1]}", total=1.0) for life in plan.lives()}
        for life in plan.lives():
            progress.update(bars[life], completed=float(plan.path(*life).exists()))
        for life in live_all(
            plan,
            jobs=jobs,
            each=lambda agent, seed, share: progress.update(bars[agent, seed], completed=share),
        ):
            progress.update(bars[life], completed=1.0)
    rows = read(plan)
    found = table(rows, plan)
    (plan.out / "coverage.md").write_text(found, "utf-8")
    picture = draw(rows, plan, plan.out / "ways.png")
    print(f"{found}\nwritten to {plan.out / 'coverage.md'} and {picture}")
    return 0


def _whole(field: str, word: str, least: int) -> int:
    if not word.isdecimal() or int(word) < least:
        raise ConfigError(field, word, f"must be whole numbers from {least}")
    return int(word)
