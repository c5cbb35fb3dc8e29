"""The files for `ray up`: Ray's own schema takes them, and all three bring hosts up by the same commands."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
FILES = ("cluster.yaml", "cluster-aws.yaml", "cluster-gcp.yaml")
COMMANDS = ("initialization_commands", "setup_commands", "head_start_ray_commands", "worker_start_ray_commands")


def read(name: str) -> dict[str, Any]:
    return yaml.safe_load((DEPLOY / name).read_text("utf-8"))


@pytest.mark.parametrize("name", FILES)
def test_ray_takes_it(name: str) -> None:
    validate_config(prepare_config(read(name)))


def test_the_schema_is_not_a_formality() -> None:
    with pytest.raises(Exception, match="cluster_nam"):
        validate_config(prepare_config({**read(FILES[0]), "cluster_nam": "engram"}))


def test_clouds_differ_in_machines_alone() -> None:
    amazon, google = read(FILES[1]), read(FILES[2])
    for field in (*COMMANDS, "file_mounts", "rsync_exclude", "max_workers", "head_node_type"):
        assert amazon[field] == google[field], field
    for found in (amazon, google):
        types = found["available_node_types"]
        assert set(types) == {"head", "learner", "capture"}
        assert types["capture"]["resources"]["capture"] == 2


TRAVELS = {"Makefile", "deploy/cluster.yaml", "deploy/keys/command.py", "tests/runs.py"}
STAYS = {
    ".git/config",
    ".venv/bin/python",
    ".venv-uv/bin/python",
    "deploy/__pycache__/cli.pyc",
    "keys/learner.env",
    "keys/redis.conf",
    "life.rec",
    "runs/one/stream.json",
    "tests/runs/one/life.rec",
}


def brought(name: str, source: Path, target: Path) -> set[str]:
    """What arrives of a folder, by rsync as Ray calls it."""
    config = prepare_config(read(name))
    rules = [word for pattern in config["rsync_exclude"] for word in ("--exclude", pattern)]
    rules += [word for pattern in config["rsync_filter"] for word in ("--filter", f"dir-merge,- {pattern}")]
    subprocess.run(["rsync", "-az", *rules, f"{source}/", f"{target}/"], check=True)
    return {str(path.relative_to(target)) for path in target.rglob("*") if path.is_file()}


@pytest.mark.skipif(shutil.which("rsync") is None, reason="no rsync")
@pytest.mark.parametrize("name", FILES)
def test_no_secret_and_no_cache_travels_with_the_code(name: str, tmp_path: Path) -> None:
    here = tmp_path / "here"
    for path in TRAVELS | STAYS:
        (here / path).parent.mkdir(parents=True, exist_ok=True)
        (here / path).write_text(path)
    assert brought(name, here, tmp_path / "code") == TRAVELS
    assert brought(name, here / "keys", tmp_path / "keys") == {"learner.env", "redis.conf"}, (
        "they have a way of their own"
    )
