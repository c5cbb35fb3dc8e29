"""A learner that does not act, in one line: for the live view."""

from common.status import MemberStatus
from deploy.wording import WAITING, count, decimal


def tell_member(member: MemberStatus) -> str:
    """Says what it is and how it does."""
    learner = member.learner
    now = WAITING.get(learner.waiting, learner.waiting) if learner.step or learner.waiting else "starts"
    again = f", {count(member.restarts)} restart{'' if member.restarts == 1 else 's'}" if member.restarts else ""
    return (
        f"{count(learner.parameters)} parameters, step {count(learner.step)}, "
        f"{learner.images_per_second:.1f} images/s, {learner.replay_ratio:.2f} × admitted, "
        f"loss {decimal(learner.loss)}, {now}{again}"
    )
