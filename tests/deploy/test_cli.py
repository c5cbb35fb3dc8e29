"""The command line as a user meets it: real processes, one line of complaint, exit code 2, nothing left."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# Redis, Ray and Arrow are untyped in parts.

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from common.config.files import to_yaml
from common.config.presets import preset
from common.stream import connect
from deploy.store import EmbeddedStore


def engram(*words: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "engram", *words],
        cwd=folder,
        env=os.environ | {"COLUMNS": "200"} | environment,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("run", "--learner.replay.capacity", "100000000"), "learner.replay.capacity = 100000000: the run may need"),
        (("run", "--preset", "gigantic"), "preset = 'gigantic': must be one of demo,"),
        (("run", "--world.worlds", "freedoom2:map99"), "world.worlds = 'freedoom2:map99': must be"),
        (("run", "--frames-per-second", "10"), "--frames-per-second"),
        (("run", "--learner.masks.target-scale", "0.6", "0.7"), "learner.masks.target_scale = (0.6, 0.7)"),
        (("run", "--learner.model.patch-size", "7"), "learner.model.patch_size = 7: must divide"),
        (("run", "--duration", "soon"), "soon"),
        (("run", "--redis-url", "redis://127.0.0.1:1"), "redis_url = 'redis://127.0.0.1:1': does not answer"),
        (("run", "--redis-url", "http://127.0.0.1:1"), "redis_url = 'http://…': must start with redis://"),
        (("run", "--run-dir", "taken"), "exists"),
        (("resume", "nowhere"), "run_dir = 'nowhere': is no folder"),
        (("run", "--redis-url", "redis://user:se/cret@127.0.0.1:6380"), "redis_url = 'redis://***': is no URL"),
        (("run", "--evaluator.cache", "/etc/passwd/x"), "evaluator.cache = '/etc/passwd/x': cannot be made"),
        (("run", "--config", "nowhere.yaml"), "config = 'nowhere.yaml': cannot be read"),
        (("run", "--preset", "demo", "--preset", "tiny"), "preset = 'tiny': must be given once"),
        (("run", "--learner.device", "cuda:abc"), "learner.device = 'cuda:abc': must be auto"),
        (("run", "--learner.device", "cuda:900"), "learner.device = 'cuda:900': is not here"),
        (("run", "--stream.heartbeat", "20s"), "stream.heartbeat = 20.0: must be at most a third"),
        (("run", "--redis-url", "redis://[::1"), "redis_url = 'redis://***': is no URL"),
        (("run", "--redis-url", "redis://127.0.0.1:1?decode_responses=true"), "has the option decode_responses"),
        (("run", "--redis-url", "redis://127.0.0.1:1/abc"), "must end with the number of a database"),
        (("bench", "learner", "--preset", "gigantic"), "preset = 'gigantic': must be one of demo,"),
        (("bench", "learner", "--device", "cuda:900"), "device = 'cuda:900': is not here"),
        (("bench", "learner", "--device", "tpu"), "device = 'tpu': must be auto"),
        (("bench", "learner", "--batch", "0"), "batch = 0: must be above 0"),
        (("bench", "learner", "--official", "taken"), "official = 'taken': is no checkout of facebookresearch/ijepa"),
        (("dance",), "unknown command 'dance'"),
    ],
)
def test_a_mistake_is_named_before_anything_starts(tmp_path: Path, words: tuple[str, ...], complaint: str) -> None:
    (tmp_path / "taken").mkdir()
    done = engram(*words, folder=tmp_path)
    assert done.returncode == 2, done.stderr
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr
    assert "cret" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
    assert not list((tmp_path / "taken").iterdir())


def test_a_server_that_evicts_or_refuses_the_login_is_refused(tmp_path: Path, store: EmbeddedStore) -> None:
    wrong = store.url.replace("engram:", "engram:wrong")
    refused = engram("run", folder=tmp_path, ENGRAM_REDIS_URL=wrong)
    assert refused.returncode == 2
    assert "refuses the login" in refused.stderr
    assert wrong.split("@", maxsplit=1)[0].rpartition(":")[2] not in refused.stderr
    client = connect(store.url)
    client.config_set("maxmemory-policy", "allkeys-lru")
    client.close()
    evicts = engram("run", folder=tmp_path, ENGRAM_REDIS_URL=store.url)
    assert evicts.returncode == 2
    assert "noeviction" in evicts.stderr
    assert not list(tmp_path.iterdir())


def test_a_run_without_a_checkpoint_cannot_be_resumed(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "config.yaml").write_text(to_yaml(preset("demo")), "utf-8")
    done = engram("resume", "a", folder=tmp_path)
    assert done.returncode == 2
    assert "holds no complete checkpoint" in done.stderr


def test_help_names_every_command_and_every_field(tmp_path: Path) -> None:
    overview = engram("--help", folder=tmp_path)
    assert overview.returncode == 0
    assert all(
        command in overview.stdout
        for command in ("run", "resume", "record", "sweep", "probe", "maps", "convert", "worlds", "bench", "vit_h14")
    )
    details = engram("run", "--help", folder=tmp_path)
    assert details.returncode == 0
    for flag in ("--duration", "--learner.optim.lr", "--actors.fps", "--stream.budget", "--evaluator.share"):
        assert flag in details.stdout


def test_bench_measures_a_small_network(tmp_path: Path) -> None:
    sizes = ("--model.dim", "24", "--model.depth", "1", "--model.predictor-depth", "1", "--model.predictor-dim", "24")
    done = engram("bench", "learner", *sizes, "--batch", "4", "--rounds", "2", "--steps", "1", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "encoder 24 wide, 1 deep" in done.stdout
    for word in ("images/s", "GEMM fp32", "target forward", "optimiser", "kept for the way back"):
        assert word in done.stdout
    details = engram("bench", "learner", "--help", folder=tmp_path)
    assert details.returncode == 0
    assert all(word in details.stdout for word in ("--official", "--threads", "Examples:", "--preset"))
    assert engram("bench", folder=tmp_path).returncode == 2


def test_a_saved_configuration_is_where_flags_start_from(tmp_path: Path) -> None:
    config = replace(preset("tiny"), run_dir="runs/of-then", seed=5)
    (tmp_path / "config.yaml").write_text(to_yaml(config), "utf-8")
    done = engram("run", "--config", "config.yaml", "--actors.fps", "99", folder=tmp_path)
    assert done.returncode == 2
    assert "actors.fps = 99.0" in done.stderr
    details = engram("run", "--config=config.yaml", "--help", folder=tmp_path).stdout
    assert "(default: 5)" in details
    assert "of-then" not in details


def test_worlds_lists_both_wads(tmp_path: Path) -> None:
    done = engram("worlds", folder=tmp_path)
    assert done.returncode == 0
    assert {"freedoom1:e1m1", "freedoom2:map32"} <= set(done.stdout.split())


def test_a_foreign_module_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "common.py").write_text("", "utf-8")
    done = subprocess.run(
        [sys.executable, "-c", "import engram"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode != 0
    assert f"shadowed by {tmp_path / 'common.py'}" in done.stderr
