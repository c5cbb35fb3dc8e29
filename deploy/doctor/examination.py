"""Goes through all checks, each for a bounded time; what one raises is its finding."""

import contextlib
import threading
from collections.abc import Iterator, Sequence
from functools import partial
from importlib import import_module

from common.errors import ConfigError, EngramError
from common.printable import printable
from deploy.doctor.finding import Case, Check, Finding, State, Verdict, wrong

THEMES = ("packages", "machine", "gpu", "store", "cluster", "worlds", "network", "disk", "private")
"""Modules with a constant `CHECKS`, in the order of the table."""


def all_checks() -> tuple[Check, ...]:
    """All checks; a theme that cannot even be imported, since a package is missing, becomes one that fails."""
    found: list[Check] = []
    for theme in THEMES:
        try:
            found.extend(import_module(f"deploy.doctor.{theme}").CHECKS)
        except ImportError as error:
            found.append(Check(name=theme, look=partial(_not_looked, f"cannot be looked at: {error}")))
    return tuple(found)


def _not_looked(why: str, _case: Case) -> Verdict:
    return wrong(why, "make install")


def examine(case: Case, checks: Sequence[Check] | None = None) -> Iterator[Finding]:
    """Looks at everything.

    Args:
        case: The configuration, and where it is to run.
        checks: What to look at; all of them if left out.

    Yields:
        One finding a check, as soon as it is known.
    """
    for check in all_checks() if checks is None else checks:
        verdict = _within(check, case)
        state = verdict.state
        if state is State.FAILED and not check.needed:
            state = State.WARNING
        found, fix = printable(verdict.found), printable(verdict.fix)  # servers on the network say part of it
        yield Finding(name=check.name, state=state, found=found, fix=fix, needed=check.needed)


def _within(check: Check, case: Case) -> Verdict:
    """Looks for as long as the check may take; one that hangs is left behind on its thread."""
    said: list[Verdict] = []
    thread = threading.Thread(target=lambda: said.append(_look(check, case)), name=check.name, daemon=True)
    thread.start()
    thread.join(check.patience)
    if not said:
        return wrong(f"no answer within {check.patience:g} s", "look at what hangs there")
    return said[0]


def _look(check: Check, case: Case) -> Verdict:
    try:
        return check.look(case)
    except ConfigError as error:
        return wrong(f"{error.field} = {error.value!r}", error.allowed)
    except EngramError as error:
        return wrong(str(error), "")
    except BaseException as error:  # whatever a driver or a server does wrong is a finding, not the end
        with contextlib.suppress(Exception):
            return wrong(" ".join(f"{type(error).__name__}: {error}".split())[:200], "")
        return wrong(type(error).__name__, "")
