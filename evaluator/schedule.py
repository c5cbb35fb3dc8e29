"""When to measure which experiences again: log-spaced in age and in time since the last exposure, within a budget.

What is compared must be measured at the same version, so a visit is measured whole, or at least a chapter of it (ten
blocks, two of them withheld); placebos are measured always. A chapter is due where either of two clocks says so:

    age                 starts at the end of its newest block
    since exposure      starts at the last gradient that any of its experiences was used in, as far as the ledger goes

A clock says so where its time has grown by `RATIO` since the chapter was last measured, or where that was before the
clock started. When not everything that is due has room, the longest overdue goes first: what is old waits longer, and
nothing waits for ever. Scores play no part: to choose by them would bias what they say.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import inf

from evaluator.experience import Experience

RATIO = 1.25
"""Growth of a clock's time between two measurements: ten to a factor of ten."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Chapter:
    """Experiences that are measured together.

    Attributes:
        name: Id.
        size: Experiences in it.
        ended_ns: Wall clock at the end of its newest block, ns.
        exposed_ns: Wall clock of its last exposure so far, ns; 0 for none that is known.
    """

    name: str
    size: int
    ended_ns: int
    exposed_ns: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What is measured at one version.

    Attributes:
        chapters: Their names, the most overdue first.
        due: Experiences that were due.
        postponed: Experiences of these that had no room and wait.
    """

    chapters: tuple[str, ...]
    due: int
    postponed: int


class Schedule:
    """Remembers when each chapter was measured, and says which are due.

    Args:
        shortest: Seconds that a clock must show before its growth counts; the length of a block.
        measured: When each chapter was last measured, as `measured` gave it, ns.

    Attributes:
        measured: The same, now.
    """

    def __init__(self, shortest: float, measured: Mapping[str, int] | None = None) -> None:
        self._shortest = shortest
        self.measured = dict(measured or {})

    def plan(self, chapters: Iterable[Chapter], now_ns: int, room: int) -> Plan:
        """Chooses what to measure at a version.

        Args:
            chapters: All there are.
            now_ns: Wall clock of the version's making, ns.
            room: Experiences that fit into the budget; the most overdue chapter is measured even so.
        """
        overdue = {chapter: self._overdue(chapter, now_ns) for chapter in chapters}
        due = [chapter for chapter, by in overdue.items() if by >= 1]
        due.sort(key=lambda chapter: (-overdue[chapter], -chapter.ended_ns, chapter.name))
        taken: list[Chapter] = []
        for chapter in due:
            if not taken or sum(one.size for one in taken) + chapter.size <= room:
                taken.append(chapter)
        sizes = sum(chapter.size for chapter in due), sum(chapter.size for chapter in taken)
        return Plan(chapters=tuple(one.name for one in taken), due=sizes[0], postponed=sizes[0] - sizes[1])

    def note(self, plan: Plan, now_ns: int, kept: Iterable[Chapter]) -> None:
        """Takes down that a plan was carried out at a version, and forgets chapters that are kept no more."""
        names = {chapter.name for chapter in kept}
        self.measured |= dict.fromkeys(plan.chapters, now_ns)
        self.measured = {name: at for name, at in self.measured.items() if name in names}

    def _overdue(self, chapter: Chapter, now_ns: int) -> float:
        """Time that has passed ÷ time that had to pass, by the clock that has gone further."""
        last_ns = self.measured.get(chapter.name)
        if last_ns is None or last_ns < chapter.ended_ns:
            return inf
        clocks = [chapter.ended_ns] + ([chapter.exposed_ns] if chapter.exposed_ns else [])
        return max(self._growth(start_ns, last_ns, now_ns) for start_ns in clocks)

    def _growth(self, start_ns: int, last_ns: int, now_ns: int) -> float:
        passed, before = (now_ns - start_ns) / 1e9, (last_ns - start_ns) / 1e9
        if before < 0:
            return passed / self._shortest
        return passed / (RATIO * max(before, self._shortest))


def chapters(experiences: Iterable[Experience], exposed_ns: Mapping[str, int]) -> list[Chapter]:
    """Groups live experiences into chapters.

    Args:
        experiences: What is followed.
        exposed_ns: Last exposure of each experience that has one, ns.
    """
    found: dict[str, Chapter] = {}
    for item in experiences:
        before = found.get(item.chapter, Chapter(name=item.chapter, size=0, ended_ns=0))
        found[item.chapter] = Chapter(
            name=item.chapter,
            size=before.size + 1,
            ended_ns=max(before.ended_ns, item.ended_ns),
            exposed_ns=max(before.exposed_ns, exposed_ns.get(item.name, 0)),
        )
    return list(found.values())
