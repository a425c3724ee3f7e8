"""Both budgets on a real server: nothing is spent that was not there, and what is unknown is spent."""

from __future__ import annotations

import asyncio

import pytest

from daemon.contracts import CallRefusedError
from daemon.store.budgets import Limits, Settlement, announce_limits, pause_upstream, reserve_call, settle
from daemon.store.database import Database

GIGABYTE = 1_000_000_000


async def test_a_hundred_callers_at_once_get_exactly_what_the_minute_allows(database: Database) -> None:
    await announce_limits(database, "fmp", "test", Limits(40, GIGABYTE))

    async def reserve() -> bool:
        try:
            await reserve_call(database, "fmp", 100, "test/1")
        except CallRefusedError as error:
            refusals.append(error)
            return False
        return True

    refusals: list[CallRefusedError] = []
    assert sum(await asyncio.gather(*(reserve() for _ in range(100)))) == 40
    assert {refusal.reason for refusal in refusals} == {"calls"}
    assert all(0 < refusal.retry_after_seconds <= 62 for refusal in refusals)


async def test_a_call_that_was_not_sent_is_given_back(database: Database) -> None:
    await announce_limits(database, "fmp", "test", Limits(1, GIGABYTE))
    reservation = await reserve_call(database, "fmp", 100, "test/1")

    await settle(database, [Settlement(reservation, 0, 0)])

    assert await reserve_call(database, "fmp", 100, "test/1") > reservation


@pytest.mark.parametrize(("share", "exceeded"), [(0.949, False), (0.95, True), (1.0, True)])
async def test_the_quota_is_exceeded_from_95_percent_on(
    owner: Database, database: Database, share: float, exceeded: bool
) -> None:
    await announce_limits(database, "fmp", "test", Limits(300, GIGABYTE))
    await owner.execute(
        "insert into api_usage_hours_v2 values ('fmp', date_trunc('hour', now()) - interval '10 days', 1, $1)",
        int(GIGABYTE * share),
    )

    assert await database.fetchval("select is_quota_exceeded_v2()") is exceeded


async def test_the_quota_without_a_limit_raises_and_reserves_nothing(database: Database) -> None:
    with pytest.raises(Exception, match="no limit is in force for upstream fmp"):
        await database.fetchval("select is_quota_exceeded_v2()")
    with pytest.raises(CallRefusedError, match="no_limits"):
        await reserve_call(database, "fmp", 1, "test/1")


async def test_bytes_are_refused_before_they_are_spent(owner: Database, database: Database) -> None:
    await announce_limits(database, "fmp", "test", Limits(300, 1_000_000))
    await reserve_call(database, "fmp", 900_000, "test/1")

    with pytest.raises(CallRefusedError, match="bytes"):
        await reserve_call(database, "fmp", 60_000, "test/1")

    assert await owner.fetchval("select count(*) from api_data_usage_v2") == 1


async def test_usage_older_than_thirty_days_no_longer_counts(owner: Database, database: Database) -> None:
    await owner.execute(
        "insert into api_usage_hours_v2 values ('fmp', date_trunc('hour', now()) - interval '31 days', 1, 5),"
        " ('fmp', date_trunc('hour', now()) - interval '29 days', 1, 7)"
    )

    assert await database.fetchval("select bytes_in_30_days from upstream_usage_v2('fmp')") == 7


async def test_rolling_up_changes_no_total_and_a_late_settlement_corrects_it(
    owner: Database, database: Database
) -> None:
    await announce_limits(database, "fmp", "test", Limits(300, GIGABYTE))
    settled = await reserve_call(database, "fmp", 1000, "test/1")
    unsettled = await reserve_call(database, "fmp", 1000, "test/1")
    await settle(database, [Settlement(settled, 1, 400)])
    await owner.execute("update api_data_usage_v2 set reserved_at = now() - interval '20 minutes'")

    assert await database.fetchval("select roll_up_usage_v2()") == 2
    assert await database.fetchval("select bytes_in_30_days from upstream_usage_v2('fmp')") == 1400
    await settle(database, [Settlement(unsettled, 1, 300), Settlement(settled, 1, 999_999)])

    assert await database.fetchval("select bytes_in_30_days from upstream_usage_v2('fmp')") == 700


async def test_a_pause_refuses_calls_and_a_shorter_one_does_not_end_it(database: Database) -> None:
    await announce_limits(database, "fmp", "test", Limits(300, GIGABYTE))
    await pause_upstream(database, "fmp", 100, "429")
    await pause_upstream(database, "fmp", 1, "429")

    with pytest.raises(CallRefusedError, match="paused") as refusal:
        await reserve_call(database, "fmp", 1, "test/1")

    assert 90 < refusal.value.retry_after_seconds <= 100
