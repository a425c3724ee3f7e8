"""A flood of one kind of line, and what is left of it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from daemon.log_rate import TELL_SECONDS, LogRate
from tests.clocks import StandingClock


def test_a_flood_is_cut_to_a_burst_and_a_rate_and_the_rest_is_told() -> None:
    clock = StandingClock()
    rate = LogRate(burst=10, lines_per_second=2, monotonic=clock.monotonic)

    at_once = sum(rate.admits("flood") for _ in range(100))
    other = rate.admits("other")
    loud = rate.admits("warning", is_loud=True)
    told_too_soon = list(rate.take_suppressed())
    clock.move(TELL_SECONDS)
    later = sum(rate.admits("flood") for _ in range(100))
    told = list(rate.take_suppressed())

    assert (at_once, other, loud, later) == (10, False, True, 10)
    assert told_too_soon == []
    assert told == [("flood", 180), ("other", 1)]
    assert list(rate.take_suppressed()) == []
    assert rate.suppressed_lines == 181
    assert all(rate.admits("log_lines_suppressed") for _ in range(1_000))


@given(st.lists(st.floats(0, 5), max_size=200))
def test_within_any_time_no_more_than_burst_and_rate_come_through(pauses: list[float]) -> None:
    clock = StandingClock()
    rate = LogRate(burst=5, lines_per_second=3, monotonic=clock.monotonic)
    admitted = []
    for pause in pauses:
        clock.move(pause)
        admitted += [clock.monotonic()] * sum(rate.admits("kind") for _ in range(4))

    for first in range(len(admitted)):
        for last in range(first, len(admitted)):
            assert last - first + 1 <= 5 + 3 * (admitted[last] - admitted[first]) + 1e-6
