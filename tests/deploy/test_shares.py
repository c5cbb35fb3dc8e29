"""How often the size of streams is measured node by node, which holds the server up."""

from typing import Any

from common.stream import StreamKeys
from deploy.shares import EXACT_EVERY, Shares

MIB = 2**20
LIMIT, BUDGET = 1000 * MIB, 800 * MIB


class Server:
    """One with honest streams, which notes how many nodes of each it was asked to look at."""

    def __init__(self) -> None:
        self.samples: list[int] = []

    def memory_usage(self, key: str, samples: int) -> int:
        self.samples.append(samples)
        return BUDGET // 2

    def exact(self) -> int:
        """How often it was asked for all since it was last asked this."""
        count = self.samples.count(0)
        self.samples.clear()
        return count


class Clock:
    """Stands still until it is set."""

    time = 0.0

    def __call__(self) -> float:
        return self.time


def shares() -> tuple[Shares, Server, Clock]:
    server, clock = Server(), Clock()
    client: Any = server
    said: list[object] = []
    made = Shares(
        client, StreamKeys("s"), ["actor-0", "actor-1"], budget=BUDGET, say=lambda *of, **_: said.append(of), now=clock
    )
    return made, server, clock


def test_a_full_server_is_measured_seldom_while_nothing_grows() -> None:
    made, server, clock = shares()
    for tenth in range(10 * int(2 * EXACT_EVERY)):
        clock.time = tenth / 10
        made.look(900 * MIB + tenth % 7 * MIB, LIMIT)
    assert len(server.samples) == 2 * 10 * int(2 * EXACT_EVERY), "estimates go on"
    assert server.exact() == 2 * 2, "both streams, at the beginning and after ten seconds"


def test_one_that_fills_up_is_measured_at_once() -> None:
    made, server, _ = shares()
    for used, exact in ((790, 0), (810, 2), (840, 0), (870, 2), (500, 0), (850, 2), (860, 0), (920, 2)):
        made.look(used * MIB, LIMIT)
        assert server.exact() == exact, f"{used} MiB"


def test_without_a_limit_estimates_do() -> None:
    made, server, _ = shares()
    made.look(5 * LIMIT, 0)
    assert len(server.samples) == 2
    assert server.exact() == 0
    made.look(BUDGET, LIMIT)
    assert server.samples == []
