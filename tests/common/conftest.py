from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.store import EmbeddedStore
from tests.common.rig import Rig


@pytest.fixture
def rig(store: EmbeddedStore, tmp_path: Path) -> Iterator[Rig]:
    made = Rig(store.url, tmp_path)
    yield made
    made.client.close()
