"""Learners that train on one stream at the same time: their names, and what those make of their parts' names."""

import re

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")
"""What a member of a cohort may be called: a folder, and a label value of Prometheus."""


def of_member(part: str, member: str) -> str:
    """Name of a member's part among all parts of a run: `learner.large`; that of the only learner stays as it is.

    Args:
        part: What the part is, for example `learner`.
        member: Name of the member; empty where there is one learner alone.
    """
    return f"{part}.{member}" if member else part
