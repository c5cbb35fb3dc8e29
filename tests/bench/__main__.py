"""Runs the benchmarks and prints one table: `make bench`, or `make bench ARGS=evaluator` for one of them."""

import json
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.bench.evaluator import evaluator
from tests.bench.measure import Result
from tests.bench.step import training_step
from tests.bench.stream import collect, reader, sample, writer

QUICK = {"writer": writer, "reader": reader, "collect": collect, "sample": sample, "step": training_step}
BENCHMARKS = QUICK | {"evaluator": evaluator}


def main(names: list[str]) -> int:
    """Runs the benchmarks with these names; without names all that take seconds."""
    if unknown := set(names) - BENCHMARKS.keys():
        print(f"unknown benchmark {sorted(unknown)[0]!r}: must be one of {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    results: list[Result] = []
    for name in names or QUICK:
        results += BENCHMARKS[name]()
    table = Table("what", "ours", "limit", "ours ÷ limit", "at least", title="medians of alternating rounds")
    for result in results:
        share = "" if result.ratio is None else f"{result.ratio:.2f}"
        table.add_row(result.what, result.ours, result.limit, share, result.goal)
    Console().print(table)
    path = Path("bench.json")
    path.write_text(json.dumps([result.row() for result in results], indent=1), "utf-8")
    print(f"written to {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
