# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false, reportUnknownLambdaType=false

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import Ridge, RidgeClassifier
from sklearn.metrics import r2_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from common.budget import no_pause
from evaluator.encoders import Pixels, encode
from evaluator.folds import STRENGTHS, Split
from evaluator.probes import MIN_CELL_FRAMES, Probes, ProbeScores, Task
from evaluator.probeset import ProbeSet
from evaluator.ridge import NEIGHBOURS, TEMPERATURE
from evaluator.scores import NotMeasurable, Sample, Score
from tests.evaluator.walks import probe_set, spec

type Features = NDArray[np.float32]


@pytest.fixture(scope="module")
def made() -> ProbeSet:
    return probe_set(spec(worlds=4, placebo=1, trajectories=8, frames=30))


@pytest.fixture(scope="module")
def pixels(made: ProbeSet) -> Features:
    rng = np.random.default_rng(0)
    found = encode(Pixels(), made.frames, pause=no_pause)
    return (found + rng.normal(0, 0.12, found.shape)).astype(np.float32)


@pytest.fixture(scope="module")
def scores(made: ProbeSet, pixels: Features) -> ProbeScores:
    return Probes(made).run(pixels, no_pause)


def value(result: Score | NotMeasurable) -> float:
    assert isinstance(result, Score), result
    return result.value


def scaled(features: Features, split: Split) -> tuple[Features, Features, Features, Features]:
    """Features for choosing λ (fit, validate) and for scoring (train, test), as scikit-learn scales them."""
    choose = StandardScaler().fit(features[split.fit].astype(np.float64))
    final = StandardScaler().fit(features[split.train].astype(np.float64))
    asked: list[Any] = [choose.transform(features[role]) for role in (split.fit, split.validate)]
    scored: list[Any] = [final.transform(features[role]) for role in (split.train, split.test)]
    return asked[0], asked[1], scored[0], scored[1]


def test_world_equals_scikit_learn(made: ProbeSet, pixels: Features, scores: ProbeScores) -> None:
    split = Split.of(made)
    fit, validate, train, test = scaled(pixels, split)
    rates = [
        RidgeClassifier(alpha=len(fit) * s).fit(fit, made.world[split.fit]).score(validate, made.world[split.validate])
        for s in STRENGTHS
    ]
    best = max(s for s, rate in zip(STRENGTHS, rates, strict=True) if rate == max(rates))
    oracle = RidgeClassifier(alpha=len(train) * best).fit(train, made.world[split.train])
    expected = oracle.score(test, made.world[split.test])
    assert 0.4 < expected < 1
    assert value(scores.linear[Task.WORLD]) == pytest.approx(expected, abs=0.005)


def test_neighbours_equal_scikit_learn(made: ProbeSet, pixels: Features, scores: ProbeScores) -> None:
    split = Split.of(made)
    _, _, train, test = scaled(pixels, split)
    weights: Any = lambda distance: np.exp((1 - distance) / TEMPERATURE)  # noqa: E731
    oracle = KNeighborsClassifier(n_neighbors=NEIGHBOURS, metric="cosine", weights=weights)
    expected = oracle.fit(train, made.world[split.train]).score(test, made.world[split.test])
    assert 0.4 < expected < 1
    assert value(scores.knn[Task.WORLD]) == pytest.approx(expected, abs=0.005)


@pytest.mark.parametrize("task", [Task.HEADING, Task.DEPTH])
def test_regression_equals_scikit_learn(task: Task, made: ProbeSet, pixels: Features, scores: ProbeScores) -> None:
    heading = np.stack([np.sin(made.heading), np.cos(made.heading)], axis=1)
    target = heading if task is Task.HEADING else made.depth.reshape(-1, 9)
    split = Split.of(made)
    fit, validate, train, test = scaled(pixels, split)
    errors = [
        ((Ridge(alpha=len(fit) * s).fit(fit, target[split.fit]).predict(validate) - target[split.validate]) ** 2).mean()
        for s in STRENGTHS
    ]
    best = STRENGTHS[int(np.argmin(errors))]
    guess = Ridge(alpha=len(train) * best).fit(train, target[split.train]).predict(test)
    expected = r2_score(target[split.test], guess, multioutput="variance_weighted")
    assert 0.05 < expected < 1
    assert value(scores.linear[task]) == pytest.approx(expected, abs=1e-4)


def test_interval_of_r2_is_that_of_resampled_walks(made: ProbeSet, pixels: Features, scores: ProbeScores) -> None:
    sample, found = scores.samples[Task.HEADING], scores.linear[Task.HEADING]
    assert isinstance(sample, Sample)
    assert isinstance(found, Score)
    split = Split.of(made)
    target = np.stack([np.sin(made.heading), np.cos(made.heading)], axis=1)
    _, _, train, test = scaled(pixels, split)
    guesses: list[NDArray[np.float64]] = [
        Ridge(alpha=len(train) * s).fit(train, target[split.train]).predict(test) for s in STRENGTHS
    ]
    best = min(guesses, key=lambda guess: abs(value(found) - _r2(target[split.test], guess)))
    walk, rng = made.walk[split.test], np.random.default_rng(8)
    draws: list[float] = []
    for _ in range(1000):
        rows = np.concatenate([np.flatnonzero(walk == one) for one in rng.choice(np.unique(walk), 10)])
        draws.append(_r2(target[split.test][rows], best[rows]))
    width = np.subtract(*np.quantile(draws, [0.975, 0.025]))
    assert found.low == pytest.approx(np.quantile(draws, 0.025), abs=0.1 * width)
    assert found.high == pytest.approx(np.quantile(draws, 0.975), abs=0.1 * width)


def _r2(truth: NDArray[np.float64], guess: NDArray[np.float64]) -> float:
    return float(r2_score(truth, guess, multioutput="variance_weighted"))


def test_place_is_the_mean_over_worlds(made: ProbeSet, pixels: Features, scores: ProbeScores) -> None:
    split, cell, best = Split.of(made), made.cell, list[tuple[float, float]]()
    for strength in STRENGTHS:
        chosen, final = list[float](), list[float]()
        for world in range(5):
            cells, counts = np.unique(cell[split.train & (made.world == world)], return_counts=True)
            here = split.among((made.world == world) & np.isin(cell, cells[counts >= MIN_CELL_FRAMES]))
            fit, validate, train, test = scaled(pixels, here)
            first = RidgeClassifier(alpha=len(fit) * strength).fit(fit, cell[here.fit])
            chosen.append(first.score(validate, cell[here.validate]))
            second = RidgeClassifier(alpha=len(train) * strength).fit(train, cell[here.train])
            final.append(second.score(test, cell[here.test]))
        best.append((float(np.mean(chosen)), float(np.mean(final))))
    top = max(rate for rate, _ in best)
    expected = [score for rate, score in best if rate == top][-1]
    assert value(scores.linear[Task.PLACE]) == pytest.approx(expected, abs=0.005)
    assert expected > 0.15


def test_all_tasks_have_intervals_and_counts(made: ProbeSet, scores: ProbeScores) -> None:
    for result in (*scores.linear.values(), *scores.knn.values()):
        assert isinstance(result, Score)
        assert result.low is not None
        assert result.high is not None
        assert result.low <= result.value <= result.high
    world, place = scores.linear[Task.WORLD], scores.linear[Task.PLACE]
    assert isinstance(world, Score)
    assert isinstance(place, Score)
    assert (world.frames, world.clusters) == (300, 10)
    assert 0 < place.frames < 300
    assert 2 <= place.clusters <= 10


def test_split_is_by_walk_and_disjoint(made: ProbeSet) -> None:
    split = Split.of(made)
    roles = np.stack([split.fit, split.validate, split.test]).astype(int)
    assert (roles.sum(axis=0) == 1).all()
    walks = [set(made.walk[role]) for role in (split.fit, split.validate, split.test)]
    assert not walks[0] & walks[1]
    assert not (walks[0] | walks[1]) & walks[2]
    assert [len(found) for found in walks] == [20, 10, 10]


def test_test_walks_decide_nothing(made: ProbeSet, pixels: Features) -> None:
    """Labels that only the test walks give away: a leak would make the score good."""
    rng = np.random.default_rng(3)
    marked = rng.normal(size=pixels.shape).astype(np.float32)
    marked[made.is_test, :5] = 50 * np.eye(5, dtype=np.float32)[made.world[made.is_test]]
    found = Probes(made).run(marked, no_pause)
    assert value(found.linear[Task.WORLD]) < 0.45
    assert value(found.knn[Task.WORLD]) < 0.45


def test_test_frames_do_not_change_each_others_guess(made: ProbeSet, pixels: Features, scores: ProbeScores) -> None:
    """Breaking one test walk may only cost that walk: the scaling must not look at test frames."""
    broken = pixels.copy()
    walk = np.unique(made.walk[made.is_test])[0]
    broken[made.walk == walk] += 1e4
    found = Probes(made).run(broken, no_pause)
    assert abs(value(found.linear[Task.WORLD]) - value(scores.linear[Task.WORLD])) <= 0.1 + 1e-9


def test_informative_features_beat_noise(made: ProbeSet, scores: ProbeScores) -> None:
    noise = np.random.default_rng(1).normal(size=(len(made), 64)).astype(np.float32)
    chance = Probes(made).run(noise, no_pause)
    for task in Task:
        assert value(scores.linear[task]) > value(chance.linear[task])
    assert value(chance.linear[Task.DEPTH]) < 0.02
    assert value(scores.knn[Task.WORLD]) > 0.5 > value(chance.knn[Task.WORLD])


def test_gain_is_the_difference_of_the_scores(made: ProbeSet, scores: ProbeScores) -> None:
    noise = np.random.default_rng(1).normal(size=(len(made), 64)).astype(np.float32)
    chance = Probes(made).run(noise, no_pause)
    for task, gain in scores.gain_over(chance).items():
        assert value(gain) == pytest.approx(value(scores.linear[task]) - value(chance.linear[task]))
    collapsed = ProbeScores.none("of collapse")
    assert set(collapsed.gain_over(chance).values()) == {NotMeasurable("of collapse")}
    assert set(chance.gain_over(collapsed).values()) == {NotMeasurable("of collapse")}


def test_is_the_same_each_time(made: ProbeSet, pixels: Features, scores: ProbeScores) -> None:
    assert Probes(made).run(pixels, no_pause) == scores


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("constant", [0.0, 3.7])
def test_collapsed_features_are_not_measurable(made: ProbeSet, constant: float) -> None:
    found = Probes(made).run(np.full((len(made), 16), constant, np.float32), no_pause)
    for result in (*found.linear.values(), *found.knn.values()):
        assert result == NotMeasurable("the features do not vary over the training frames")


@pytest.mark.filterwarnings("error")
def test_features_that_are_not_finite_are_not_measurable(made: ProbeSet, pixels: Features) -> None:
    broken = pixels.copy()
    broken[3, 5] = np.inf
    found = Probes(made).run(broken, no_pause)
    assert all(isinstance(result, NotMeasurable) for result in found.linear.values())


@pytest.mark.filterwarnings("error")
def test_degenerate_labels_say_why(made: ProbeSet, pixels: Features) -> None:
    still = replace(
        made,
        x=np.zeros_like(made.x),
        y=np.zeros_like(made.y),
        heading=np.full_like(made.heading, 0.4),
        depth=np.full_like(made.depth, 9.0),
    )
    found = Probes(still).run(pixels, no_pause)
    assert value(found.linear[Task.WORLD]) > 0.4
    for task in (Task.PLACE, Task.HEADING, Task.DEPTH):
        assert isinstance(found.linear[task], NotMeasurable)
    assert found.linear[Task.HEADING] == NotMeasurable("the heading does not vary over the test frames")
    unknown = Probes(replace(made, heading=np.full_like(made.heading, np.nan))).run(pixels, no_pause)
    assert unknown.linear[Task.HEADING] == NotMeasurable("the heading is not known for all frames")


@pytest.mark.filterwarnings("error")
def test_one_constant_output_does_not_spoil_depth(made: ProbeSet, pixels: Features) -> None:
    depth = made.depth.copy()
    depth[:, 2] = 100.0
    found = Probes(replace(made, depth=depth)).run(pixels, no_pause)
    assert np.isfinite(value(found.linear[Task.DEPTH]))


@pytest.mark.filterwarnings("error")
def test_one_world_and_too_few_walks() -> None:
    alone = probe_set(spec(worlds=1, placebo=0))
    found = Probes(alone).run(encode(Pixels(), alone.frames, pause=no_pause), no_pause)
    assert found.linear[Task.WORLD] == NotMeasurable("the probe set has one world only")
    assert isinstance(found.linear[Task.DEPTH], Score)
    short = probe_set(spec(worlds=2, placebo=0, trajectories=3))
    found = Probes(short).run(encode(Pixels(), short.frames, pause=no_pause), no_pause)
    assert all(isinstance(result, NotMeasurable) for result in found.linear.values())


@pytest.mark.filterwarnings("error")
def test_a_world_that_looks_all_alike_is_guessed_by_its_mean(made: ProbeSet, pixels: Features) -> None:
    flat = pixels.copy()
    flat[made.world == 2] = pixels[0]
    found = Probes(made).run(flat, no_pause)
    assert isinstance(found.linear[Task.PLACE], Score)


def test_pauses_between_slices(made: ProbeSet, pixels: Features) -> None:
    pauses: list[int] = []
    Probes(made).run(pixels, lambda: pauses.append(1))
    assert len(pauses) >= 5
