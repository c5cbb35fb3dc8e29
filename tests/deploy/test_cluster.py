"""What a cluster must have for several ranks."""

import re
from dataclasses import replace

import pytest

from common.config import LearnerConfig
from common.errors import ConfigError
from deploy.cluster import check_ranks

TWO = LearnerConfig(ranks=2)


@pytest.mark.parametrize(
    ("learner", "cpus", "gpus"),
    [
        (TWO, 2, 0),
        (TWO, 1, 2),
        (replace(TWO, device="cpu"), 2, 1),
        (LearnerConfig(threads=64), 1, 0),
    ],
)
def test_enough_is_enough(learner: LearnerConfig, cpus: int, gpus: int) -> None:
    check_ranks(learner, cpus=cpus, gpus=gpus)


@pytest.mark.parametrize(
    ("learner", "cpus", "gpus", "said"),
    [
        (TWO, 64, 1, "learner.ranks = 2: each rank needs a GPU of its own and there are 1; learner.device cpu"),
        (TWO, 1, 0, "learner.ranks = 2: with learner.threads = 1 they need 2 CPUs, and there are 1"),
        (replace(TWO, device="cpu", threads=2), 3, 8, "with learner.threads = 2 they need 4 CPUs, and there are 3"),
    ],
)
def test_too_little_is_said(learner: LearnerConfig, cpus: int, gpus: int, said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        check_ranks(learner, cpus=cpus, gpus=gpus)
