"""What is known of an agent's curiosity: moving averages of what it found, one to eight steps ahead."""

from common.curiosity.status import CuriosityStatus

_KEEP = 0.99
"""Share of an average that a step keeps: about the last hundred steps count."""


class Tally:
    """Keeps the averages; read from other threads."""

    def __init__(self) -> None:
        self._averages: dict[str, tuple[float, float]] = {}
        self.steps = 0

    def note(self, name: str, value: float) -> None:
        """Takes a value into the average of this name."""
        total, weight = self._averages.get(name, (0.0, 0.0))
        self._averages[name] = _KEEP * total + (1 - _KEEP) * value, _KEEP * weight + (1 - _KEEP)

    def _mean(self, name: str) -> float:
        total, weight = self._averages.get(name, (0.0, 0.0))
        return total / weight if weight else float("nan")

    def _by_steps(self, name: str) -> tuple[float, ...]:
        count = sum(key.startswith(f"{name}/") for key in list(self._averages))
        return tuple(self._mean(f"{name}/{ahead}") for ahead in range(1, count + 1))

    def status(self) -> CuriosityStatus:
        """The averages as they are now."""
        return CuriosityStatus(
            steps=self.steps,
            reward=self._mean("reward"),
            entropy=self._mean("entropy"),
            value=self._mean("value"),
            errors=self._by_steps("error"),
            persistence=self._by_steps("persistence"),
        )
