"""What the agent `scripted` does, in a line: `ahead:3s left+ahead:1.5s use:0.2s stay:1s`, over and over."""

from common.config.units import parse_seconds

MOVES: dict[str, tuple[float, float, float, float]] = {
    "stay": (0.0, 0.0, 0.0, 0.0),
    "ahead": (1.0, 0.0, 0.0, 0.0),
    "back": (-1.0, 0.0, 0.0, 0.0),
    "strafe-right": (0.0, 1.0, 0.0, 0.0),
    "strafe-left": (0.0, -1.0, 0.0, 0.0),
    "left": (0.0, 0.0, 0.5, 0.0),
    "right": (0.0, 0.0, -0.5, 0.0),
    "use": (0.0, 0.0, 0.0, 1.0),
}
"""What each word adds to the action: forward, strafe, turn to the left, use."""

type Script = tuple[tuple[tuple[float, ...], float], ...]
"""Action, float [4], and for how many seconds, one after the other."""


def parse_script(text: str) -> Script:
    """Reads a script.

    Raises:
        ValueError: It is empty or malformed; says what is allowed.
    """
    found: list[tuple[tuple[float, ...], float]] = []
    for word in text.split():
        moves, _, length = word.partition(":")
        unknown = [move for move in moves.split("+") if move not in MOVES]
        if unknown or not length:
            raise ValueError(f"{word!r} must be moves:time, for example left+ahead:1.5s; moves: {', '.join(MOVES)}")
        seconds = parse_seconds(length)
        if not 0 < seconds < float("inf"):
            raise ValueError(f"{word!r}: the time must be above 0")
        columns = zip(*(MOVES[move] for move in moves.split("+")), strict=True)
        found.append((tuple(min(max(sum(column), -1.0), 1.0) for column in columns), seconds))
    if not found:
        raise ValueError("must name moves and times, for example ahead:3s left:1.5s")
    return tuple(found)
