"""The tables that a measurement becomes, in plain text: a bare machine has nothing to draw them with."""

from collections.abc import Sequence

from learner.bench.case import Outcome


def report(outcome: Outcome) -> str:
    """Writes down what was asked for and what was found."""
    case, model = outcome.bench, outcome.bench.model
    heading = (
        f"Training step on {outcome.device}\n"
        f"encoder {model.dim} wide, {model.depth} deep, {model.heads} heads; predictor {model.predictor_dim} wide, "
        f"{model.predictor_depth} deep, {model.predictor_heads} heads; patches of {model.patch_size} on "
        f"{case.image_size[0]}×{case.image_size[1]}; batch {case.batch}\n"
        f"medians of {case.rounds} rounds of {case.steps} steps, taken in turns; the same masks for all\n\n"
    )
    rows = [("", "images/s", "CPU s/step", "of GEMM rate", outcome.what_memory)]
    for line in outcome.lines:
        rate, memory = f"{line.images_per_second:.1f}", f"{line.memory / 2**20:.0f} MiB"
        rows.append((line.name, rate, f"{line.cpu_seconds:.3f}", f"{line.share:.0%}", memory))
    against = [("ours is faster", "by", "range", "by CPU time")]
    for line in outcome.lines[1:]:
        low, middle, high = line.ratios
        against.append((f"than {line.name}", f"× {middle:.2f}", f"{low:.2f}–{high:.2f}", f"× {line.cpu_ratio:.2f}"))
    measured = (
        f"\nGEMM {outcome.gemm_name}: {outcome.gemm / 1e9:.0f} GFLOP/s; "
        f"model: {outcome.flops / 1e9:.1f} GFLOP a step of ours\n\n"
    )
    whole = sum(outcome.phases.values())
    phases = [("phase of a step of ours", "ms", "share")]
    phases += [(name, f"{seconds * 1e3:.1f}", f"{seconds / whole:.0%}") for name, seconds in outcome.phases.items()]
    phases.append(("together, in a pass of its own", f"{whole * 1e3:.1f}", ""))
    compared = "\n" + _table(against) if outcome.lines[1:] else ""
    return heading + _table(rows) + compared + measured + _table(phases)


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines: list[str] = []
    for first, *others in rows:
        cells = [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))]
        lines.append("  ".join(cells).rstrip() + "\n")
    return "".join(lines)
