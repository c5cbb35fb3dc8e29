"""The server that tests of the page ask."""

from collections.abc import Generator
from pathlib import Path

import pytest

from deploy.store import EmbeddedStore
from tests.deploy.page.served import Served


@pytest.fixture
def served(store: EmbeddedStore, tmp_path: Path) -> Generator[Served]:
    made = Served(store, tmp_path)
    yield made
    made.close()
