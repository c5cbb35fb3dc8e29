import numpy as np

from common.exposure import GROUP, GUARD_SECONDS, Exposure, ExposureRule

RULE = ExposureRule(salt="s", block=10.0)


def test_exactly_one_of_five_consecutive_blocks_is_withheld() -> None:
    for visit in ("a", "b", "c"):
        for group in range(40):
            blocks = range(group * GROUP, (group + 1) * GROUP)
            assert sum(RULE.withheld(visit, block) for block in blocks) == 1


def test_the_position_in_the_group_is_uniform() -> None:
    positions = [next(b for b in range(GROUP) if RULE.withheld(f"visit-{n}", b)) for n in range(5000)]
    counts = np.bincount(positions, minlength=GROUP)
    assert (((counts - 1000) ** 2) / 1000).sum() < 18.5  # chi-squared, 4 degrees of freedom, p = 0.001


def test_another_salt_withholds_other_blocks() -> None:
    other = ExposureRule(salt="t", block=10.0)
    ours = [RULE.withheld("v", block) for block in range(200)]
    theirs = [other.withheld("v", block) for block in range(200)]
    assert ours != theirs


def test_guard_bands_lie_at_borders_between_exposed_and_withheld_only() -> None:
    withheld = next(block for block in range(1, 100) if RULE.withheld("v", block))
    border = withheld * RULE.block
    half = GUARD_SECONDS / 2
    assert RULE.classify("v", border - half + 0.01) is Exposure.GUARD
    assert RULE.classify("v", border + half - 0.01) is Exposure.GUARD
    assert RULE.classify("v", border - half - 0.01) is Exposure.EXPOSED
    assert RULE.classify("v", border + half + 0.01) is Exposure.WITHHELD
    quiet = next(b for b in range(1, 100) if not RULE.withheld("v", b) and not RULE.withheld("v", b - 1))
    assert RULE.classify("v", quiet * RULE.block) is Exposure.EXPOSED


def test_the_share_of_each_kind() -> None:
    moments = np.arange(0.05, 5000, 0.1)
    kinds = [RULE.classify("v", float(moment)) for moment in moments]
    assert 0.16 < kinds.count(Exposure.WITHHELD) / len(kinds) < 0.2
    assert 0.02 < kinds.count(Exposure.GUARD) / len(kinds) < 0.045


def test_nothing_is_withheld_from_plain_buffers() -> None:
    rule = ExposureRule(salt="s", block=10.0, withhold=False)
    assert {rule.classify("v", float(moment)) for moment in np.arange(0, 300, 0.25)} == {Exposure.EXPOSED}
