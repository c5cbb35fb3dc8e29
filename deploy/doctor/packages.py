"""Python and its packages: at the versions that the project is tested with, and none in the way of ours."""

import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from pathlib import Path

from packaging.markers import default_environment
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

import engram
from common.errors import ConfigError
from deploy.doctor.finding import Case, Check, Verdict, beside, fine, poor, wrong

OURS = "pamiq-engram"
_LISTED = 4
"""Packages that are named before the rest is only counted."""
_OPTIONS = {"vrchat": "vrchat", "screen": "screen"}
"""The optional dependencies that a kind of world needs."""


def _look_at_python(_case: Case) -> Verdict:
    found, allowed = platform.python_version(), metadata(OURS)["Requires-Python"]
    if Version(found) not in SpecifierSet(allowed):
        return wrong(found, f"Python {allowed} is needed: make the environment with it (PYTHON=… make install)")
    return fine(f"{found} ({allowed} is needed)")


def _look_at_packages(case: Case) -> Verdict:
    missing, unfit, present = list[str](), list[str](), 0
    for needed in _needed(_OPTIONS.get(case.run.world.kind, "") if case.lives_here else ""):
        found = installed(needed.name)
        if found is None:
            missing.append(needed.name)
        elif found not in needed.specifier:
            unfit.append(f"{needed.name} {found} ({needed.specifier})")
        else:
            present += 1
    if missing:
        return wrong(f"missing: {_some(missing)}", "make install, or pip install them into this environment")
    if unfit:
        return wrong(_some(unfit), "make install, which takes the versions of requirements.lock")
    return fine(f"{present} of {OURS} {version(OURS)}")


def _look_at_lock(case: Case) -> Verdict:
    if not case.lock.is_file():
        return beside("no requirements.lock beside the code: this is not a checkout")
    others, same = list[str](), 0
    for name, locked in read_lock(case.lock).items():
        found = installed(name)
        if found is not None and found.public != locked.public:
            others.append(f"{name} {found} (lock: {locked})")
        same += found is not None and found.public == locked.public
    if others:
        return poor(_some(others), "make install puts back the versions that the project is tested with")
    return fine(f"{same} packages at the versions of {case.lock.name}")


def _look_at_names(_case: Case) -> Verdict:
    try:
        engram.check_parts()
    except ImportError as error:
        return wrong(str(error).partition(": ")[0], str(error).partition(": ")[2])
    return fine(", ".join(engram.PARTS))


def installed(name: str) -> Version | None:
    """The version of a package that is installed here, or None."""
    try:
        return Version(version(name))
    except PackageNotFoundError:
        return None


def read_lock(path: Path) -> dict[str, Version]:
    """Reads the pinned versions that a lock has for this machine, by normalised name.

    Raises:
        ConfigError: A line pins nothing.
    """
    found: dict[str, Version] = {}
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        words = line.split("#")[0].strip().removesuffix("\\").strip()
        if not words or words.startswith("-"):
            continue
        try:
            pinned = Requirement(words)
            exact = next(one.version for one in pinned.specifier if one.operator == "==")
        except (InvalidRequirement, StopIteration):
            raise ConfigError(path.name, words, f"line {number} must pin a package: name==version") from None
        if pinned.marker is None or pinned.marker.evaluate():
            found[canonicalize_name(pinned.name)] = Version(exact)
    return found


def _needed(extra: str) -> Iterator[Requirement]:
    environment = {**{key: str(value) for key, value in default_environment().items()}, "extra": extra}
    for line in requires(OURS) or ():
        needed = Requirement(line)
        if needed.name != OURS and (needed.marker is None or needed.marker.evaluate(environment)):
            yield needed


def _some(names: list[str]) -> str:
    rest = len(names) - _LISTED
    return ", ".join(names[:_LISTED]) + (f" and {rest} more" if rest > 0 else "")


CHECKS = (
    Check(name="python", look=_look_at_python),
    Check(name="packages", look=_look_at_packages),
    Check(name="versions", look=_look_at_lock, needed=False),
    Check(name="names", look=_look_at_names),
)
