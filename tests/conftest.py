"""Fixtures that several folders share: a real embedded server, and data to put into it."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from common.messages import Datum, Labels
from deploy.store import EmbeddedStore


@pytest.fixture
def store() -> Iterator[EmbeddedStore]:
    """A real server on loopback, with a password."""
    embedded = EmbeddedStore(32 * 2**20)
    yield embedded
    embedded.stop()


@pytest.fixture
def make_datum() -> Callable[..., Datum]:
    """Builds data with a small random frame; keyword arguments replace fields."""
    generator = np.random.default_rng(0)
    basis = Datum(
        buffer="frames",
        actor="actor-0",
        seq=1,
        ordinal=0,
        visit="actor-0.1.0000",
        world="freedoom2:map01",
        experience="actor-0.1.0000/0000",
        captured_ns=1_700_000_000_000_000_000,
        system_time=12.5,
        visit_time=3.25,
        weights_version=7,
        action=np.array([0.5, -1.0], np.float32),
        labels=Labels(
            x=1.0, y=-2.0, heading=0.5, depth=np.arange(9, dtype=np.float32).reshape(3, 3), objects={"item": 2}
        ),
        data=np.zeros((12, 16, 3), np.uint8),
    )

    def make(**fields: object) -> Datum:
        frame = generator.integers(0, 256, (12, 16, 3), dtype=np.uint8)
        return basis._replace(**({"data": frame} | fields))

    return make
