"""The ledger: what is counted, against brute force."""

import json
from collections.abc import Callable

import numpy as np

from common.messages import Datum
from learner.ledger import NEVER, Ledger

type Make = Callable[..., Datum]


class TestLedger:
    def test_it_agrees_with_a_list_of_everything_that_happened(self, make_datum: Make) -> None:
        generator = np.random.default_rng(1)
        ledger, log = Ledger(), dict[str, list[int]]()
        rows: list[int] = []
        for step in range(1, 400):
            experience = f"e{generator.integers(step)}"
            rows.append(ledger.admit(make_datum(experience=experience), step=step, now_ns=step))
            log.setdefault(experience, [])
            batch = generator.choice(rows, size=16).astype(np.int32)
            ledger.expose(batch, step=step, now_ns=step * 10)
            for row in batch:
                log[ledger.experiences[row]].append(step)
        assert len(ledger) == len(log)
        table = ledger.table()
        for row, experience in enumerate(table["experience"]):
            uses = log[experience]
            assert table["exposures"][row] == len(uses)
            assert table["first_step"][row] == (uses[0] if uses else NEVER)
            assert table["last_step"][row] == (uses[-1] if uses else NEVER)
            assert table["last_ns"][row] == (uses[-1] * 10 if uses else NEVER)
        assert sum(table["frames"]) == 399

    def test_it_comes_back_from_its_table(self, make_datum: Make) -> None:
        ledger = Ledger()
        for number in range(700):
            ledger.admit(make_datum(experience=f"e{number}"), step=number, now_ns=number)
        table = json.loads(json.dumps(ledger.table()))
        again = Ledger.from_table(table)
        assert again.table() == ledger.table()
        assert again.admit(make_datum(experience="e5"), step=1, now_ns=1) == 5
        assert again.admit(make_datum(experience="new"), step=1, now_ns=1) == 700
