import numpy as np
import pytest
import torch
from torch import Tensor

from common.errors import ConfigError
from learner.device import Staging, choose_device


def test_devices_by_name() -> None:
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    for name, complaint in (("tpu", "must be auto"), ("cuda:x", "must be auto"), ("cuda:900", "is not here")):
        with pytest.raises(ConfigError, match=complaint):
            choose_device(name)


def test_frames_stay_where_they_are_on_a_cpu() -> None:
    frames = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)
    staged = Staging(torch.device("cpu"))(frames)
    assert np.shares_memory(staged.numpy(), frames)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_no_batch_is_overtaken_on_its_way_to_a_gpu() -> None:
    stage = Staging(torch.device("cuda"))
    batches = [np.full((64, 224, 224, 3), number, np.uint8) for number in range(8)]
    staged: list[Tensor] = []
    for batch in batches:
        staged.append(stage(batch))
        batch[:] = 255  # the caller's array is its own again at once
    assert [int(batch.max()) for batch in staged] == list(range(8))
    assert [int(batch.min()) for batch in staged] == list(range(8))
