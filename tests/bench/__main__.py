"""Runs the benchmarks and prints one table: `make bench`, or `make bench ARGS=evaluator` for one of them."""

import json
import logging
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.bench.broadcast import broadcast
from tests.bench.calibration import calibration
from tests.bench.capture import capture
from tests.bench.collect import collect
from tests.bench.evaluator import evaluator
from tests.bench.fleet import fleet
from tests.bench.inference import inference
from tests.bench.launch import launch
from tests.bench.ledger import ledger
from tests.bench.masks import masks
from tests.bench.measure import Result
from tests.bench.replay import replay
from tests.bench.signing import signing
from tests.bench.step import training_step
from tests.bench.strategies import strategies
from tests.bench.stream import reader, sample, writer

USUAL = {
    "writer": writer,
    "reader": reader,
    "signing": signing,
    "sample": sample,
    "replay": replay,
    "collect": collect,
    "capture": capture,
    "broadcast": broadcast,
    "inference": inference,
    "fleet": fleet,
    "masks": masks,
    "step": training_step,
    "ledger": ledger,
    "launch": launch,
}
BENCHMARKS = USUAL | {"evaluator": evaluator, "calibration": calibration, "strategies": strategies}


def main(names: list[str]) -> int:
    """Runs the benchmarks with these names; without names those that are `USUAL`, about fifteen minutes."""
    if unknown := set(names) - BENCHMARKS.keys():
        print(f"unknown benchmark {sorted(unknown)[0]!r}: must be one of {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    logging.basicConfig(level=logging.ERROR)
    results: list[Result] = []
    for name in names or USUAL:
        results += BENCHMARKS[name]()
    table = Table("what", "ours", "limit", "ours ÷ limit", "goal", "met", title="medians of alternating rounds")
    for result in results:
        share = "" if result.ratio is None else f"{result.ratio:.2f}"
        met = {None: "", True: "yes", False: "no"}[result.met]
        table.add_row(result.what, result.ours, result.limit, share, result.goal, met)
    Console(width=max(140, Console().width)).print(table)
    path = Path("bench.json")
    path.write_text(json.dumps([result.row() for result in results], indent=1), "utf-8")
    print(f"written to {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
