import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import tyro

from common.config import (
    ActorConfig,
    EvaluatorConfig,
    Keep,
    LearnerConfig,
    MaskConfig,
    ModelConfig,
    OptimConfig,
    ReplayConfig,
    RunConfig,
    StreamConfig,
    WorldConfig,
)
from common.config.files import from_yaml, to_yaml
from common.config.presets import PRESETS, preset
from common.config.units import format_bytes, format_seconds, parse_bytes, parse_seconds
from common.errors import ConfigError


@pytest.mark.parametrize("name", list(PRESETS))
def test_every_preset_survives_a_round_trip_through_yaml(name: str, tmp_path: Path) -> None:
    config = preset(name)
    path = tmp_path / "config.yaml"
    path.write_text(to_yaml(config), "utf-8")
    assert config.preset == name
    assert from_yaml(path) == config


def test_the_redis_url_never_reaches_the_file() -> None:
    config = replace(preset("demo"), redis_url="redis://user:hunter2@127.0.0.1:6380")
    assert "hunter2" not in to_yaml(config)


@pytest.mark.parametrize(
    ("build", "field"),
    [
        (lambda: ActorConfig(fps=0.5), "actors.fps"),
        (lambda: ActorConfig(agent="ghost"), "actors.agent"),
        (lambda: ModelConfig(heads=5), "learner.model.heads"),
        (lambda: MaskConfig(target_scale=(0.3, 0.2)), "learner.masks.target_scale"),
        (lambda: OptimConfig(ema=1.5), "learner.optim.ema"),
        (lambda: OptimConfig(lr=float("nan")), "learner.optim.lr"),
        (lambda: ReplayConfig(capacity=10, min_fill=20), "learner.replay.min_fill"),
        (lambda: LearnerConfig(device="tpu"), "learner.device"),
        (lambda: LearnerConfig(ranks=0), "learner.ranks"),
        (lambda: LearnerConfig(ranks=3, optim=OptimConfig(batch_size=64)), "learner.ranks"),
        (lambda: LearnerConfig(ranks=4, optim=OptimConfig(batch_size=8, accumulate=4)), "learner.ranks"),
        (lambda: LearnerConfig(ranks=2, replay=ReplayConfig(capacity=1001)), "learner.replay.capacity"),
        (lambda: LearnerConfig(ranks=2, device="cuda:1"), "learner.device"),
        (lambda: StreamConfig(experience=1.0), "stream.experience"),
        (lambda: StreamConfig(experience=float("nan")), "stream.experience"),
        (lambda: RunConfig(seed=2**63), "seed"),
        (lambda: RunConfig(learner=LearnerConfig(slice=6.0)), "learner.slice"),
        (lambda: EvaluatorConfig(share=0.0), "evaluator.share"),
        (lambda: WorldConfig(placebo_worlds=("freedoom2:map01",)), "world.placebo_worlds"),
        (lambda: RunConfig(world=WorldConfig(image_size=(100, 96))), "learner.model.patch_size"),
        (lambda: RunConfig(learner=LearnerConfig(masks=MaskConfig(target_scale=(0.001, 0.2)))), "target_scale"),
        (lambda: RunConfig(stream=StreamConfig(budget=1000)), "stream.budget"),
        (lambda: RunConfig(redis_url="http://user:hunter2@host"), "redis_url"),
        (lambda: preset("gigantic"), "preset"),
    ],
)
def test_a_bad_value_is_refused_by_name_with_what_is_allowed(build: Callable[[], object], field: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(field)) as caught:
        build()
    assert "hunter2" not in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_an_unknown_field_in_a_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(to_yaml(preset("demo")).replace("  fps:", "  fsp:"), "utf-8")
    with pytest.raises(ConfigError, match=r"actors\.fsp"):
        from_yaml(path)


def test_a_wrong_type_in_a_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(to_yaml(preset("demo")).replace("fps: 10.0", "fps: fast"), "utf-8")
    with pytest.raises(ConfigError, match=r"actors\.fps"):
        from_yaml(path)


def test_every_field_is_a_flag_and_durations_take_units() -> None:
    words = ["--duration", "90s", "--actors.fps", "5", "--stream.budget", "64MiB", "--learner.optim.lr", "1e-3"]
    config = tyro.cli(RunConfig, args=words, default=preset("demo"))
    assert (config.duration, config.actors.fps, config.stream.budget) == (90.0, 5.0, 64 * 2**20)
    assert config.learner.optim.lr == 1e-3


@pytest.mark.parametrize(("text", "seconds"), [("60", 60), ("90s", 90), ("10m", 600), ("2h", 7200), ("500ms", 0.5)])
def test_durations(text: str, seconds: float) -> None:
    assert parse_seconds(text) == seconds
    assert parse_seconds(format_seconds(seconds)) == seconds


@pytest.mark.parametrize("text", ["", "ten", "5 parsecs", "-3s", "1e3"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="90s or 10m"):
        parse_seconds(text)


@pytest.mark.parametrize("count", [1, 1000, 2**20, 3 * 2**30])
def test_byte_counts_survive_a_round_trip(count: int) -> None:
    assert parse_bytes(format_bytes(count)) == count


@pytest.mark.parametrize(
    ("field", "value"), [("slack", 0.5), ("min_new", -1), ("max_staleness", -1.0), ("min_fill", 10_000)]
)
def test_a_replay_configuration_that_could_never_train_is_refused(field: str, value: float) -> None:
    with pytest.raises(ConfigError, match=rf"learner\.replay\.{field}"):
        ReplayConfig(**{field: value})  # pyright: ignore[reportArgumentType]


def test_a_gate_that_actors_cannot_pass_is_refused() -> None:
    replay = ReplayConfig(max_staleness=1.0)
    with pytest.raises(
        ConfigError, match=r"learner\.replay\.max_staleness = 1\.0: must be 0 or above actors\.pull_every = 1"
    ):
        RunConfig(learner=LearnerConfig(replay=replay))
    RunConfig(learner=LearnerConfig(replay=replay), actors=ActorConfig(pull_every=0.5))


@pytest.mark.parametrize("keep", Keep)
@pytest.mark.parametrize("ranks", [1, 2, 3, 8])
def test_what_is_divided_among_ranks_adds_up(keep: Keep, ranks: int) -> None:
    survival = 24 * 200 * 12 if keep is Keep.RANDOM_REPLACEMENT else 0
    replay = ReplayConfig(capacity=24 * 200, keep=keep, survival=survival, min_fill=100, min_new=7)
    learner = LearnerConfig(ranks=ranks, replay=replay, optim=OptimConfig(batch_size=48))
    share = replay.share(ranks)
    assert (learner.rank_batch * ranks, share.capacity * ranks) == (48, replay.capacity)
    for name in ("min_fill", "min_new", "survival"):
        assert 0 <= getattr(share, name) * ranks - getattr(replay, name) < ranks
    assert replay.share(1) is replay
