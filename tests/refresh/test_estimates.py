"""What is measured: how long viewers stay, and what is carried over a restart."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.contracts import DemandChange, Pair, Standing, Subscription
from daemon.refresh.estimates import MEMORY_SECONDS, Estimates, SessionLength
from daemon.refresh.policy import MEAN_SESSION_SECONDS
from tests.clocks import StandingClock

QUOTE = Pair("AAPL", "quote")
GRACE_SECONDS = 30.0


def subscriptions(count: int) -> list[Subscription]:
    return [Subscription(f"user:{number}", QUOTE) for number in range(count)]


def change(joined: int = 0, left: int = 0, *, source: str = "viewers:0") -> DemandChange:
    return DemandChange(source, {}, joined=subscriptions(joined), left=subscriptions(left))


@settings(max_examples=10)
@given(st.sampled_from([60.0, 260.0, 1_800.0]), st.integers(0, 1_000))
def test_the_mean_session_is_found_whatever_was_assumed(mean: float, seed: int) -> None:
    chance, clock = random.Random(seed), StandingClock()
    session = SessionLength(clock, leave_grace_seconds=GRACE_SECONDS)
    events = sorted(
        event
        for _ in range(20_000)
        for start in (chance.uniform(0, 20 * mean),)
        for event in ((start, 1), (start + chance.expovariate(1 / mean) + GRACE_SECONDS, -1))
    )
    now = 0.0
    for at, moved in events:
        if at > 20 * mean:
            break
        clock.move(at - now)
        now = at
        session.note_demand(change(joined=int(moved > 0), left=int(moved < 0)))

    assert session.mean_seconds == pytest.approx(mean, rel=0.1)


def test_what_another_daemon_takes_over_is_no_departure() -> None:
    clock = StandingClock()
    session = SessionLength(clock)
    session.note_demand(change(joined=500))
    clock.move(100)

    session.note_demand(DemandChange("viewers:0", {}, standing=Standing.HANDED_OVER))
    after_the_hand_over = session.mean_seconds
    clock.move(1_000)
    session.note_demand(change(joined=1))

    assert after_the_hand_over > MEAN_SESSION_SECONDS
    assert session.mean_seconds == pytest.approx(after_the_hand_over)


def test_leaving_without_having_come_counts_for_nothing() -> None:
    session = SessionLength(StandingClock())

    session.note_demand(change(left=1_000))

    assert session.mean_seconds == pytest.approx(MEAN_SESSION_SECONDS)


def test_the_estimate_is_kept_within_bounds_and_forgets() -> None:
    clock = StandingClock()
    session = SessionLength(clock)
    session.note_demand(change(joined=1_000_000))
    session.note_demand(change(left=1_000_000))
    at_once = session.mean_seconds

    clock.move(30 * MEMORY_SECONDS)
    session.note_demand(change(joined=1))
    clock.move(10 * MEMORY_SECONDS)
    session.note_demand(change())

    assert at_once == 10.0
    assert session.mean_seconds == 21_600.0


def test_a_restart_goes_on_with_what_was_known() -> None:
    clock = StandingClock()
    before, after = Estimates(SessionLength(clock)), Estimates(SessionLength(clock))
    before.session.note_demand(change(joined=100))
    clock.move(500)
    before.session.note_demand(change(left=50))
    for seconds in (0.2, 0.4):
        before.lead("quote").measure(seconds)
    before.lead("profile")  # asked for, never measured

    after.restore(before.known())

    assert after.session.mean_seconds == pytest.approx(before.session.mean_seconds)
    assert after.lead("quote").seconds == before.lead("quote").seconds
    assert {known.subject for known in before.known()} == {"", "quote"}
