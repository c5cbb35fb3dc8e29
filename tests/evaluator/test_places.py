"""The place score taken apart: the worlds' accuracies average to it, and collapse has its reason in every world."""

import numpy as np
import pytest

from evaluator.places import Places
from evaluator.probes import Probes, ProbeScores, Task
from evaluator.scores import NotMeasurable, Score
from tests.evaluator.walks import probe_set


def test_the_worlds_average_to_the_place_score() -> None:
    found = probe_set()
    probes = Probes(found)
    features = found.frames.reshape(len(found), -1).astype(np.float32)
    scores = probes.run(features, lambda: None)
    whole, places = scores.linear[Task.PLACE], probes.places(scores)
    assert isinstance(whole, Score)
    assert set(places) == set(found.spec.names)
    rates = [sum(place.right) / sum(place.asked) for place in places.values() if isinstance(place, Places)]
    assert np.mean(rates) == pytest.approx(whole.value)
    for place, rate in zip(places.values(), rates, strict=True):
        assert isinstance(place, Places)
        assert isinstance(place.score, Score)
        assert place.score.value == pytest.approx(rate)
        assert len(place.right) == len(place.asked) <= 2  # of eight walks every fourth is asked
        assert place.row()["right"] == list(place.right)


def test_constant_features_have_their_reason_in_every_world() -> None:
    probes = Probes(probe_set())
    scores = probes.run(np.ones((len(probe_set()), 4), np.float32), lambda: None)
    for place in probes.places(scores).values():
        assert isinstance(place, NotMeasurable)
        assert "do not vary" in place.because


def test_no_score_at_all_has_its_reason_too() -> None:
    places = Probes(probe_set()).places(ProbeScores.none("there is no probe set"))
    assert {str(place) for place in places.values()} == {str(NotMeasurable("there is no probe set"))}
