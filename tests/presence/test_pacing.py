"""Back-off and the bound on connections."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from daemon.presence.pacing import Backoff, TokenBucket


def test_delays_grow_from_one_to_thirty_seconds_and_never_leave_them() -> None:
    backoff = Backoff(random.Random(1))

    delays = [backoff.next_delay() for _ in range(1000)]

    assert delays[0] <= 2
    assert min(delays) >= 1
    assert 25 < max(delays) <= 30


def test_after_a_reset_delays_are_short_again() -> None:
    backoff = Backoff(random.Random(1))
    for _ in range(10):
        backoff.next_delay()

    backoff.reset()

    assert backoff.next_delay() <= 2


def test_the_first_connections_need_not_wait() -> None:
    bucket = TokenBucket(limit=20, window_seconds=600)

    for _ in range(5):
        assert bucket.wait_seconds(0.0) == 0
        bucket.take(0.0)

    assert bucket.wait_seconds(0.0) == 40


@given(pauses=st.lists(st.floats(0, 120), min_size=21, max_size=60))
def test_no_ten_minutes_see_more_than_twenty_connections(pauses: list[float]) -> None:
    bucket = TokenBucket(limit=20, window_seconds=600)
    now, taken = 0.0, []

    for pause in pauses:
        now += pause
        now += bucket.wait_seconds(now)
        bucket.take(now)
        taken.append(now)

    for first, later in zip(taken, taken[20:], strict=False):
        assert later - first > 599.999
