"""One rank of `test_ranks.py`: `python -m tests.learner.rank FOLDER RANKS RANK PORT`."""

import json
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors.torch import save_file  # pyright: ignore[reportUnknownVariableType]
from torch import Tensor

from common.config import MaskConfig
from common.ijepa.masks import Masks, MultiBlockSampler
from learner.group import Place, join
from learner.ranks import DistributedRanks
from tests.learner.networks import PLAIN, TOGETHER, Recipe, Ticks, everything, frames, masks_of

STEPS = 3


def share(whole: Tensor, ranks: int, rank: int) -> Tensor:
    """The rank's rows."""
    size = len(whole) // ranks
    return whole[rank * size : (rank + 1) * size].contiguous()


def train(recipe: Recipe, ranks: int, rank: int) -> dict[str, Tensor]:
    """Trains on this rank's part of every batch, with a clock that runs differently from the others'."""
    clock = Ticks() if rank == 0 else Ticks((9.0, 0.1))
    step = recipe.build(ranks=DistributedRanks(), clock=clock)
    reports: dict[str, Tensor] = {}
    for index in range(STEPS):
        masks = masks_of(index)
        mine = Masks(share(masks.context_BK, ranks, rank), share(masks.targets_BTK, ranks, rank))
        report = step(share(frames(index), ranks, rank), mine)
        for name in ("loss", "regulariser", "grad_norm"):
            reports[f"report.{index}.{name}"] = getattr(report, name).clone()
    return {name: value.contiguous() for name, value in (everything(step) | reports).items()}


def broken(rank: int) -> dict[str, Tensor]:
    """Lets one rank alone have a loss that is not finite."""
    step = PLAIN.build(ranks=DistributedRanks())
    step(frames(rank, batch=4))
    before = {name: value for name, value in everything(step).items() if not name.endswith(("masks", "skipped"))}
    colours = step.model.context_encoder.offset_P
    healthy = colours.clone()
    if rank == 1:
        colours.fill_(float("nan"))
    step(frames(2 + rank, batch=4))
    after = everything(step)
    colours.copy_(healthy)
    moved = sum(not torch.equal(value, after[name]) for name, value in before.items())
    skipped = step.skipped
    step(frames(4 + rank, batch=4))
    later = everything(step)
    moved_later = sum(not torch.equal(value, later[name]) for name, value in before.items())
    return {
        "skipped": torch.tensor(skipped),
        "moved": torch.tensor(moved),
        "moved later": torch.tensor(moved_later),
    }


def talk(ranks: DistributedRanks) -> dict[str, object]:
    """What the hosts tell each other."""
    rank = ranks.rank
    return {
        "each": ranks.each(rank, -(2**60) - rank),
        "lead": ranks.lead(10 + rank, 20 + rank),
        "all": ranks.all(True, rank == 0, False),
        "collect": [told.decode() for told in ranks.collect(b"" if rank == 0 else b"from the second \0 rank")],
        "nothing": [told.decode() for told in ranks.collect(b"")],
        "first": ranks.first,
    }


def main(folder: Path, ranks: int, rank: int, port: int) -> None:
    """Trains every recipe and writes what came of it."""
    torch.set_num_threads(1)
    place = Place(rank=rank, count=ranks, host="127.0.0.1", port=port)
    joined = join(place, torch.device("cpu"), address="127.0.0.1")
    (folder / f"talk.{rank}.json").write_text(json.dumps(talk(joined)), "utf-8")
    for name, recipe in TOGETHER.items():
        save_file(train(recipe, ranks, rank), folder / f"{name}.{rank}.safetensors")
    save_file(broken(rank), folder / f"broken.{rank}.safetensors")
    drawn = MultiBlockSampler(MaskConfig(), (8, 8), DistributedRanks().seed(0)).sample(8)
    save_file({"targets": drawn.targets_BTK.contiguous()}, folder / f"masks.{rank}.safetensors")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
