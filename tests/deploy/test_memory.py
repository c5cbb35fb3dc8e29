"""What a run may need of memory, against what a machine has."""

from dataclasses import replace

import pytest

from common.config import Keep, RunConfig
from common.config.presets import PRESETS, preset
from common.errors import ConfigError
from common.ijepa.model import IJepa
from deploy.memory import (
    available_bytes,
    check_memory,
    encoder_floats,
    needs,
    object_store_bytes,
    predictor_floats,
    relay_bytes,
)

GIB = 2**30


def with_capacity(run: RunConfig, frames: int) -> RunConfig:
    return replace(run, learner=replace(run.learner, replay=replace(run.learner.replay, capacity=frames)))


def test_the_demo_fits_into_a_laptop() -> None:
    check_memory(preset("demo"), 6 * GIB)
    check_memory(preset("demo"))


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_fits_into_the_machine_it_is_meant_for(name: str) -> None:
    check_memory(preset(name), 128 * GIB)


def test_a_ring_that_does_not_fit_is_named_with_the_sum() -> None:
    run = with_capacity(preset("demo"), 10**6)
    with pytest.raises(ConfigError, match=r"learner.replay.capacity = 1000000: the run may need 1\d\d\.\d GiB") as told:
        check_memory(run, 16 * GIB)
    assert "16.0 GiB are free" in str(told.value)
    assert "the embedded server" in str(told.value)


@pytest.mark.parametrize(
    ("run", "setting"),
    [
        (replace(preset("demo"), stream=replace(preset("demo").stream, budget=64 * GIB)), "stream.budget"),
        (replace(preset("demo"), actors=replace(preset("demo").actors, count=100, spool=1.0)), "actors.count"),
        (with_capacity(preset("vit_h14"), 1024), "learner.model"),
    ],
)
def test_the_setting_that_asks_for_most_is_named(run: RunConfig, setting: str) -> None:
    with pytest.raises(ConfigError) as told:
        check_memory(run, 4 * GIB)
    assert told.value.field == setting


def test_features_that_the_buffer_keeps_need_memory() -> None:
    demo = preset("demo")
    minred = replace(demo, learner=replace(demo.learner, replay=replace(demo.learner.replay, keep=Keep.MINRED)))
    features = 4 * demo.learner.replay.capacity * demo.learner.model.dim
    assert object_store_bytes(minred) - object_store_bytes(demo) == 2 * features
    assert sum(need.size for need in needs(minred)) - sum(need.size for need in needs(demo)) == 4 * features


def test_someone_else_s_server_costs_nothing_here() -> None:
    run = replace(preset("demo"), redis_url="redis://elsewhere:6380")
    assert "stream.budget" not in {need.setting for need in needs(run)}


def test_the_count_of_parameters_is_right_within_a_tenth() -> None:
    run = preset("vit_s16")
    model = IJepa(run.learner.model, run.world.image_size, seed=0)
    for part, counted in (
        (model.target_encoder, encoder_floats(run.learner.model)),
        (model.predictor, predictor_floats(run.learner.model)),
    ):
        real = sum(value.numel() for value in part.parameters())
        assert counted == pytest.approx(real, rel=0.1)


def test_weights_in_redis_need_room_there() -> None:
    demo = preset("demo")
    assert relay_bytes(demo) == 0
    run = replace(demo, stream=replace(demo.stream, weights=True))
    assert relay_bytes(run) > 3 * 2 * encoder_floats(run.learner.model)


def test_versions_that_are_kept_need_memory_and_a_place_in_ray() -> None:
    few = preset("vit_b16")
    many = replace(few, learner=replace(few.learner, versions_kept=100))
    size = 2 * (3 * encoder_floats(few.learner.model) + predictor_floats(few.learner.model))
    assert object_store_bytes(many) - object_store_bytes(few) == 96 * size
    with pytest.raises(ConfigError, match=r"learner\.versions_kept = 100: "):
        check_memory(many, 32 * GIB)


def test_a_machine_has_some_memory() -> None:
    assert 2**28 < available_bytes() < 2**50
