"""The command line of `engram doctor`: any options of `engram run`, and what else is to be looked at."""

import logging
from dataclasses import dataclass, replace
from typing import Annotated

import tyro
from rich.console import Console

from common.config import RunConfig
from common.options import URL_VARIABLE, secret
from deploy.doctor.examination import all_checks, examine
from deploy.doctor.finding import Case, Finding, State
from deploy.doctor.table import conclusion, is_healthy, row
from deploy.rundir import to_json
from deploy.starting import starting_point

SCHEMA = 1
"""Version of what `--json` prints, its field `v`."""

_DESCRIPTION = """\
Look whether this machine, and a cluster, have what a run needs: one line each, with what to do about it.

Takes every option of `engram run`, --cluster ADDRESS for one. Starts no run. Exit code 1 where something that the run
needs is not there; warnings do not count.

Examples:
  engram doctor
  engram doctor --preset vrchat
  ENGRAM_REDIS_URL=rediss://user:password@host:6380 engram doctor --config runs/a/config.yaml
  engram doctor --cluster head.lan:6379 --deep
  engram doctor --json
"""


@dataclass(frozen=True)
class Doctor:
    """Options.

    Attributes:
        json: Print one JSON object in place of the table.
        deep: Start also what takes longer: a local Ray.
        run: What is to be run.
    """

    json: bool = False
    deep: bool = False
    run: Annotated[RunConfig, tyro.conf.arg(name="")] = RunConfig()  # noqa: RUF009


def doctor(words: list[str]) -> int:
    """Runs `engram doctor` with the words after it; returns the exit code."""
    words, default = starting_point(words)
    asked = tyro.cli(
        Doctor,
        args=words,
        default=Doctor(run=default),
        prog="engram doctor",
        description=_DESCRIPTION,
        config=(tyro.conf.EnumChoicesFromValues,),
    )
    run = replace(asked.run, redis_url=asked.run.redis_url or secret(URL_VARIABLE))
    logging.disable(logging.CRITICAL)  # what libraries warn of is a finding, or none
    case = Case(run=run, deep=asked.deep)
    findings = _as_json(case) if asked.json else _as_table(case)
    return 0 if is_healthy(findings) else 1


def _as_json(case: Case) -> list[Finding]:
    findings = list(examine(case))
    healthy = is_healthy(findings)
    print(to_json({"v": SCHEMA, "preset": case.run.preset, "healthy": healthy, "checks": findings}))
    return findings


def _as_table(case: Case) -> list[Finding]:
    console, findings = Console(highlight=False), list[Finding]()
    for check in all_checks():
        with console.status(check.name):
            findings.extend(examine(case, [check]))
        if findings[-1].state is not State.SKIPPED:
            console.print(row(findings[-1], console))
    console.print(f"\n{case.run.preset}: {conclusion(findings)}", style="bold")
    return findings
