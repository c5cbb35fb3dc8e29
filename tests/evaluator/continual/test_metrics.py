"""Every continual metric against numbers worked out by hand, and what must hold of any stream."""

import numpy as np
import pytest

from evaluator.continual.metrics import Metric, continual
from evaluator.continual.stream import Stream
from evaluator.continual.tasks import Tasks
from evaluator.scores import NotMeasurable, Score
from tests.evaluator.continual.rows import rows

TIMES = (10.0, 20.0, 40.0, 50.0, 70.0, 80.0, 100.0)
ACCURACY = {
    "a": (0.5, 0.6, 0.3, 0.5, 0.2, 0.4, 0.5),
    "b": (0.1, 0.2, 0.4, 0.6, 0.5, 0.4, 0.45),
    "c": (0.2, 0.2, 0.3, 0.3, 0.6, 0.8, 0.7),
    "p": (0.1, 0.3, 0.2, 0.2, 0.4, 0.1, 0.15),
}
RANDOM = {"a": 0.2, "b": 0.15, "c": 0.25, "p": 0.1}
VISITS = (("a", 5.0), ("b", 30.0), ("c", 60.0), ("a", 90.0))

BY_HAND = {
    Metric.ACC: (0.5 + 0.45 + 0.7) / 3,
    Metric.BWT: ((0.5 - 0.6) + (0.45 - 0.6)) / 2,
    Metric.FWT: ((0.2 - 0.15) + (0.3 - 0.25)) / 2,
    Metric.FORGETTING: ((0.6 - 0.5) + (0.6 - 0.45)) / 2,
    Metric.FORGETTING_UNSEEN: 0.3 - 0.15,
    Metric.MIN_ACC: (0.2 + 0.4) / 2,
    Metric.WC_ACC: (0.7 + 0.2 + 0.4) / 3,
    Metric.GAP_DEPTH: ((0.6 - 0.3) + (0.55 - 0.35) + (0.6 - 0.575)) / 3,
    Metric.GAP_DEPTH_UNSEEN: ((0.3 - 0.2) + (0.2 - 0.1) + (0.1 - 0.15)) / 3,
}


def stream(
    visits: tuple[tuple[str, float], ...] = VISITS,
    accuracy: dict[str, tuple[float, ...]] = ACCURACY,
    actors: tuple[str, ...] = (),
) -> Stream:
    found = Stream.read(rows(TIMES, accuracy, RANDOM, visits, actors=actors))
    assert isinstance(found, Stream)
    return found


@pytest.mark.parametrize("metric", BY_HAND)
def test_each_metric_is_what_it_is_by_hand(metric: Metric) -> None:
    score = continual(stream()).scores[metric]
    assert isinstance(score, Score)
    assert score.value == pytest.approx(BY_HAND[metric])
    assert score.low is not None
    assert score.high is not None
    assert score.low <= score.value <= score.high


def test_tasks_begin_with_first_visits_only() -> None:
    found = continual(stream())
    assert found.tasks == [["a"], ["b"], ["c"]]
    assert found.returns == 1
    more = stream((*VISITS[:2], ("a", 45.0), *VISITS[2:]))
    np.testing.assert_array_equal(Tasks.of(more).end_G, Tasks.of(stream()).end_G)


def test_worlds_entered_between_the_same_two_versions_are_one_task() -> None:
    found = continual(stream((("a", 5.0), ("b", 6.0), ("c", 60.0)), actors=("one", "two", "one")))
    assert found.tasks == [["a", "b"], ["c"]]
    back, forward = found.scores[Metric.BWT], found.scores[Metric.FWT]
    assert isinstance(back, Score)
    assert isinstance(forward, Score)
    assert back.value == pytest.approx(((0.5 - 0.5) + (0.45 - 0.6)) / 2)
    assert forward.value == pytest.approx(0.3 - 0.25)


def test_a_world_entered_after_the_last_version_is_a_control() -> None:
    found = continual(stream((*VISITS, ("p", 200.0))))
    assert found.tasks == [["a"], ["b"], ["c"]]
    assert found.scores[Metric.FORGETTING_UNSEEN] == continual(stream()).scores[Metric.FORGETTING_UNSEEN]


def test_an_encoder_that_never_changes_forgets_nothing() -> None:
    same = {world: (values[0],) * len(TIMES) for world, values in ACCURACY.items()}
    scores = continual(stream(accuracy=same)).scores
    for metric in (Metric.BWT, Metric.FORGETTING, Metric.FORGETTING_UNSEEN, Metric.GAP_DEPTH):
        score = scores[metric]
        assert isinstance(score, Score)
        assert score.value == pytest.approx(0, abs=1e-12)
        assert score.low == pytest.approx(0, abs=1e-12)
        assert score.high == pytest.approx(0, abs=1e-12)


def test_the_spread_of_replicates_is_the_standard_error_of_the_mean_also_with_few_walks() -> None:
    rng = np.random.default_rng(3)
    worlds, walks = 6, 3
    right_C = rng.integers(0, 50, worlds * walks).astype(float)
    made = Stream(
        time_V=np.zeros(1), worlds=tuple(map(str, range(worlds))),
        first_W=np.zeros(worlds), right_VC=right_C[None], asked_C=np.full(worlds * walks, 50.0), base_C=right_C,
        world_C=np.repeat(np.arange(worlds), walks), visits=(),
    )  # fmt: skip
    drawn, base = made.replicates(np.array([0]))
    rates = right_C.reshape(worlds, walks) / 50
    expected = np.sqrt((rates.var(axis=1, ddof=1) / walks).sum()) / worlds
    assert drawn[:, 0].mean(axis=1).std() == pytest.approx(expected, rel=0.06)
    np.testing.assert_array_equal(drawn[:, 0], base)


def test_one_walk_leaves_no_interval() -> None:
    one = rows(TIMES, ACCURACY, RANDOM, VISITS)
    for row in one:
        for of_encoder in row.get("places", {}).values():
            for places in of_encoder.values():
                places["right"], places["asked"] = places["right"][:1], places["asked"][:1]
    score = continual(Stream.read(one)).scores[Metric.ACC]
    assert isinstance(score, Score)
    assert (score.low, score.high) == (None, None)


def test_a_world_whose_fall_is_made_good_has_a_recovery_time() -> None:
    times = tuple(float(t) for t in range(10, 250, 5))
    at = np.array(times)
    worlds = [f"w{number}" for number in range(7)]
    visits = tuple((world, 5.0 + 30 * number) for number, world in enumerate(worlds))
    curve = np.full(len(at), 0.9)
    for _, start in visits[1:]:
        curve[(at > start) & (at <= start + 12)] = 0.3
    accuracy = {world: tuple(curve.tolist()) for world in worlds}
    made = Stream.read(rows(times, accuracy, dict.fromkeys(worlds, 0.2), visits))
    scores = continual(made).scores
    depth, recovery = scores[Metric.GAP_DEPTH], scores[Metric.RECOVERY]
    assert isinstance(depth, Score)
    assert depth.value == pytest.approx(0.6)
    assert isinstance(recovery, Score)
    assert recovery.value == pytest.approx(12.5)  # back at 15 s, last seen low at 10 s
    assert recovery.frames == 6


@pytest.mark.parametrize(
    ("given", "because"),
    [
        ([], "no version"),
        ([{"schema": 2, "row": "evaluation", "version": 1, "system_time": 1.0}], "no place scores"),
        (
            [{"schema": 2, "row": "evaluation", "version": 1, "system_time": 1.0,
              "places": {"trained": {"a": {"not_measurable": "features are constant"}}, "random": {}}}],
            "features are constant",
        ),
        (rows(TIMES, ACCURACY, RANDOM, ()), "no world"),
        (rows(TIMES, ACCURACY, RANDOM, (("a", 5.0),)), "no world"),
    ],
    ids=["no-rows", "no-places", "collapsed", "no-visit", "one-world"],
)  # fmt: skip
def test_what_cannot_be_taken_says_why(given: list[dict[str, object]], because: str) -> None:
    scores = continual(Stream.read(given)).scores
    assert set(scores) == set(Metric)
    reason = scores[Metric.BWT]
    assert isinstance(reason, NotMeasurable)
    assert because in reason.because or "it takes two" in reason.because
    assert isinstance(scores[Metric.RECOVERY], NotMeasurable)
    assert "nan" not in str(continual(Stream.read(given)).row()).lower().split()
