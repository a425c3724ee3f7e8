"""The breaker, with the clock in hand and its one row on a real server."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.contracts import CallRefusedError
from daemon.processor.breaker import CACHE_SECONDS, Breaker, BreakerLimits, FailureWindow
from daemon.store.database import Database
from tests.clocks import StandingClock

LIMITS = BreakerLimits()
UPSTREAM = "fmp"


async def time_is_up(owner: Database) -> None:
    await owner.execute("update upstreams_v2 set breaker_open_until = now() - interval '1 s'")


async def open_it(breaker: Breaker) -> None:
    for _ in range(LIMITS.failures_in_a_row):
        await breaker.failed(None, "timeout")


def past_the_cache(clock: StandingClock) -> None:
    clock.move(CACHE_SECONDS + 0.1)


async def admitted(breaker: Breaker) -> UUID | str | None:
    try:
        return await breaker.admit()
    except CallRefusedError as error:
        return error.reason


@given(st.lists(st.booleans(), max_size=60))
def test_the_window_trips_exactly_at_five_in_a_row_or_half_of_twenty(failures: Sequence[bool]) -> None:
    window = FailureWindow(LIMITS)

    for count in range(1, len(failures) + 1):
        tripped = window.record(failed=failures[count - 1], now=0.0)

        seen = failures[:count]
        five_in_a_row = count >= 5 and all(seen[-5:])
        half_of_twenty = count >= 20 and sum(seen) * 2 >= count
        assert tripped == (five_in_a_row or half_of_twenty)


def test_what_is_older_than_the_window_does_not_count_towards_the_share() -> None:
    window = FailureWindow(LIMITS)
    for number in range(19):
        window.record(failed=number % 2 == 0, now=0.0)

    assert not window.record(failed=True, now=61.0)


@given(st.lists(st.tuples(st.floats(0, 40), st.booleans()), max_size=200))
def test_the_share_is_that_of_the_attempts_within_the_window(steps: Sequence[tuple[float, bool]]) -> None:
    limits = BreakerLimits(failures_in_a_row=1_000, window_attempts=4)
    window = FailureWindow(limits)
    attempts: list[tuple[float, bool]] = []
    now = 0.0

    for wait_seconds, failed in steps:
        now += wait_seconds
        attempts.append((now, failed))
        tripped = window.record(failed=failed, now=now)

        recent = [failed for at, failed in attempts if at >= now - limits.window_seconds]
        assert tripped == (len(recent) >= 4 and sum(recent) * 2 >= len(recent))


def test_a_cleared_window_has_forgotten_its_failures() -> None:
    window = FailureWindow(BreakerLimits(failures_in_a_row=1_000, window_attempts=4))
    for _ in range(3):
        window.record(failed=True, now=0.0)

    window.clear()

    assert not any(window.record(failed=number == 0, now=0.0) for number in range(20))


async def test_it_opens_for_every_process_and_refuses(owner: Database, database: Database) -> None:
    clock = StandingClock()
    one, other = (Breaker(database, UPSTREAM, LIMITS, clock) for _ in range(2))
    assert await other.admit() is None

    await open_it(one)
    past_the_cache(clock)

    assert await admitted(one) == "breaker"
    assert await admitted(other) == "breaker"
    assert (one.refused, other.refused) == (1, 1)
    assert await owner.fetchval("select breaker_reason from upstreams_v2") == "timeout"


async def test_exactly_one_of_many_callers_in_many_processes_gets_the_probe(
    owner: Database, database: Database
) -> None:
    clock = StandingClock()
    breakers = [Breaker(database, UPSTREAM, LIMITS, clock) for _ in range(5)]
    await open_it(breakers[0])
    await time_is_up(owner)
    past_the_cache(clock)

    answers = await asyncio.gather(*(admitted(breaker) for breaker in breakers * 8))

    assert sum(isinstance(answer, UUID) for answer in answers) == 1
    assert sum(answer == "breaker" for answer in answers) == 39


async def test_a_good_probe_closes_it(owner: Database, database: Database) -> None:
    clock = StandingClock()
    breaker = Breaker(database, UPSTREAM, LIMITS, clock)
    await open_it(breaker)
    await time_is_up(owner)

    await breaker.succeeded(await breaker.admit())

    assert await breaker.admit() is None
    assert await owner.fetchval("select breaker_state from upstreams_v2") == "closed"


async def test_every_bad_probe_doubles_the_time_up_to_five_minutes(owner: Database, database: Database) -> None:
    clock = StandingClock()
    breaker = Breaker(database, UPSTREAM, LIMITS, clock)
    await open_it(breaker)

    open_seconds = []
    for _ in range(5):
        open_seconds.append(await owner.fetchval("select breaker_open_seconds from upstreams_v2"))
        await time_is_up(owner)
        await breaker.failed(await breaker.admit(), "timeout")

    assert open_seconds == [30, 60, 120, 240, 300]


async def test_a_probe_whose_lease_ran_out_goes_to_the_next_and_decides_nothing_any_more(
    owner: Database, database: Database
) -> None:
    clock = StandingClock()
    breaker = Breaker(database, UPSTREAM, LIMITS, clock)
    await open_it(breaker)
    await time_is_up(owner)
    frozen = await breaker.admit()
    assert await admitted(breaker) == "breaker"

    await owner.execute("update upstreams_v2 set probe_expires_at = now() - interval '1 s'")
    past_the_cache(clock)
    following = await breaker.admit()
    await breaker.succeeded(frozen)

    assert isinstance(following, UUID)
    assert await owner.fetchval("select breaker_state from upstreams_v2") == "half_open"


async def test_a_probe_that_decided_nothing_is_free_again_at_once(owner: Database, database: Database) -> None:
    clock = StandingClock()
    breaker = Breaker(database, UPSTREAM, LIMITS, clock)
    await open_it(breaker)
    await time_is_up(owner)

    await breaker.undecided(await breaker.admit())

    assert isinstance(await breaker.admit(), UUID)


async def test_a_wrong_key_opens_it_at_once(owner: Database, database: Database) -> None:
    breaker = Breaker(database, UPSTREAM, LIMITS, StandingClock())

    await breaker.failed(None, "the key is wrong, check FMP_API_KEY", at_once=True)

    assert await owner.fetchval("select breaker_reason from upstreams_v2") == "the key is wrong, check FMP_API_KEY"
    with pytest.raises(CallRefusedError):
        await breaker.admit()
