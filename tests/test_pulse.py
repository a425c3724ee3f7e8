"""Signs of life, and what becomes of them."""

from __future__ import annotations

from daemon.pulse import SLACK_SECONDS, Pulse, stuck
from tests.clocks import StandingClock


class Part:
    """A part with a pulse."""

    def __init__(self, name: str, clock: StandingClock) -> None:
        self.name = name
        self.pulse = Pulse(clock.monotonic)


class Mute:
    """A part without one."""

    name = "mute"


def test_a_part_is_stuck_when_one_of_its_loops_is_not_back_when_it_said() -> None:
    clock = StandingClock()
    silent, late, fine = Part("silent", clock), Part("late", clock), Part("fine", clock)
    late.pulse.beat(10, loop="first")
    late.pulse.beat(500, loop="second")
    fine.pulse.beat(500)

    clock.move(10 + SLACK_SECONDS)
    before = dict(stuck([silent, late, fine, Mute()]))
    clock.move(5)
    after = dict(stuck([silent, late, fine, Mute()]))
    late.pulse.beat(10, loop="first")

    assert before == {}
    assert after == {"late": 5.0}
    assert stuck([late]) == {}
