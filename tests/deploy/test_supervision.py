from deploy.supervision import Pulses


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def beat(number: int) -> dict[str, dict[str, int]]:
    return {"actor-0": {"t": number}}


def test_a_part_is_silent_from_its_last_beat_on() -> None:
    clock = Clock()
    pulses = Pulses(clock)
    assert pulses.silence("actor-0") is None
    for number in range(5):
        clock.now = float(number)
        pulses.hear(beat(number))
    clock.now = 20.0
    pulses.hear(beat(4))
    assert pulses.silence("actor-0") == 16.0


def test_the_value_of_a_beat_does_not_matter_only_that_it_changes() -> None:
    """Hosts' clocks may be years apart."""
    clock = Clock()
    pulses = Pulses(clock)
    pulses.hear(beat(10**18))
    clock.now = 30.0
    pulses.hear(beat(1))
    assert pulses.silence("actor-0") == 0.0


def test_after_an_outage_or_an_empty_restart_every_part_has_its_time_anew() -> None:
    clock = Clock()
    pulses = Pulses(clock)
    pulses.hear(beat(1))
    clock.now = 10.0
    pulses.hear(None)
    assert pulses.silence("actor-0") is None
    clock.now = 60.0
    pulses.hear({})
    assert pulses.silence("actor-0") == 0.0
    clock.now = 70.0
    pulses.hear({})
    assert pulses.silence("actor-0") == 10.0


def test_a_part_that_is_started_anew_has_time_for_its_first_beat() -> None:
    clock = Clock()
    pulses = Pulses(clock)
    pulses.hear(beat(1))
    clock.now = 60.0
    pulses.forget("actor-0")
    pulses.hear(beat(1))
    assert pulses.silence("actor-0") is None
