"""What is said at the end of a cohort, and how a member is told of."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyarrow is untyped.

import io
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from rich.console import Console

from common.status import LearnerStatus, MemberStatus, ReaderCounts, RunStatus
from deploy.cohort.proof import Agreement, admitted, closing
from deploy.cohort.telling import tell_member
from deploy.view import dashboard, line

SAME = {"v/0000": 90, "v/0001": 1144}


def shown(status: RunStatus, found: Agreement) -> str:
    console = Console(file=io.StringIO(), width=100)
    console.print(closing(status, found))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_ledgers_that_are_the_same_are_said_to_be() -> None:
    found = Agreement.of({"small": SAME, "large": dict(reversed(SAME.items()))})
    assert not found.apart
    assert found.words({}) == "2 members admitted the same 2 experiences, 1,234 frames"


@pytest.mark.parametrize(
    ("other", "number"),
    [({"v/0000": 90, "v/0001": 1143}, 1), ({"v/0000": 90}, 1), ({}, 2), ({**SAME, "v/0002": 1, "v/0003": 1}, 2)],
)
def test_ledgers_that_differ_are_counted_by_experience(other: dict[str, int], number: int) -> None:
    found = Agreement.of({"small": SAME, "twin": SAME, "large": other})
    assert found.apart == {"large": number}
    said = found.words({"large": 7})
    assert said.startswith("NOT the same frames: small admitted 2 experiences, 1,234 frames; large admitted ")
    assert said.endswith(f"differs in {number} (missed 7)")


def test_a_ledger_is_read_from_its_run_directory(tmp_path: Path) -> None:
    assert admitted(tmp_path) == {}
    table = pyarrow.table({"experience": list(SAME), "frames": list(SAME.values()), "exposures": [1, 2]})
    pyarrow.parquet.write_table(table, tmp_path / "ledger.parquet")
    assert admitted(tmp_path) == SAME


LARGE = MemberStatus(
    name="large",
    learner=LearnerStatus(
        parameters=1_234_567,
        step=321,
        images=10_272,
        images_per_second=55.5,
        replay_ratio=3.21,
        loss=0.1234,
        waiting="ratio",
        counts={"actor-0": ReaderCounts(missed=3), "actor-1": ReaderCounts(missed=4)},
    ),
    restarts=1,
)
RUN = RunStatus(phase="running", member="small", learner=LearnerStatus(step=400), members=(LARGE,))


def test_the_end_has_a_row_a_member_and_the_proof() -> None:
    said = shown(RUN, Agreement.of({"small": SAME, "large": SAME}))
    assert "small acts" in said
    (row,) = [row for row in said.splitlines() if row.startswith("large")]
    assert row.split() == ["large", "1,234,567", "321", "10,272", "3.21", "0.123", "0", "7"]
    assert said.rstrip().endswith("2 members admitted the same 2 experiences, 1,234 frames")


def test_the_live_view_has_a_line_for_each_other_member() -> None:
    told = "1,234,567 parameters, step 321, 55.5 images/s, 3.21 × admitted, loss 0.123, waits for ratio, 1 restart"
    assert tell_member(LARGE) == told
    assert line(RUN).endswith(f"large: {told}")
    console = Console(file=io.StringIO(), width=120, height=34)
    console.print(dashboard(RUN, width=120, height=34))
    assert isinstance(console.file, io.StringIO)
    rows = console.file.getvalue().splitlines()
    assert len(rows) <= 34
    assert any("beside small, which acts" in row for row in rows)
    assert any(told in row for row in rows)
    assert "large" not in line(RunStatus(phase="running"))
