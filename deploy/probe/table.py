"""How results stand in a table."""

from rich.table import Table

from evaluator.scores import NotMeasurable, Result

type Shown = Table | str


def shown(result: Result, digits: int = 3) -> tuple[str, str]:
    """Writes a number and its interval, or why there is none."""
    if isinstance(result, NotMeasurable):
        return f"not measurable, because {result.because}", ""
    interval = (
        "" if result.low is None or result.high is None else f"[{result.low:.{digits}f}, {result.high:.{digits}f}]"
    )
    return f"{result.value:.{digits}f}", interval


def together(result: Result | None, digits: int = 3) -> str:
    """Writes both in one cell."""
    return "" if result is None else " ".join(shown(result, digits)).strip()
