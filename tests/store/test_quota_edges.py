"""Both budgets at their edges: 94.9, 95 and 100 % of the bytes, no limit at all, and the ends of both windows."""

from __future__ import annotations

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from daemon.store.database import Database
from tests.databases import TestDatabase
from tests.rows import HOLDER, counts, make_ready, queue
from tests.store.test_queue import PROFILE, QUOTE

LIMIT = 20_000_000_000  # what make_ready announces
BELOW = LIMIT * 949 // 1000
AT = LIMIT * 95 // 100
WINDOW_SECONDS = 62

Limits = tuple[str, str, bool, bool]


async def spend(owner: Database, size: int, *, ago: str = "10 days", how: str = "hours") -> None:
    """Have spent bytes: rolled up by the hour, settled a moment ago, or reserved and not settled yet."""
    if how == "hours":
        await owner.execute(
            "insert into api_usage_hours_v2 values ('fmp', date_trunc('hour', now() - $1::text::interval), 1, $2)",
            ago,
            size,
        )
    else:
        await owner.execute(
            "insert into api_data_usage_v2 (upstream, holder, calls, bytes, settled_at)"
            " values ('fmp', 'test/1', 0, $1, case when $2 then now() end)",
            size,
            how == "settled",
        )


async def is_exceeded(database: Database) -> bool:
    return bool(await database.fetchval("select is_quota_exceeded_v2('fmp')"))


async def refusal_of(database: Database, calls: int = 1, size: int = 1) -> str | None:
    refusal = await database.fetchval(
        "select refused_by from reserve_api_calls_v2('fmp', $1, $2, $3)", calls, size, HOLDER
    )
    return None if refusal is None else str(refusal)


async def claimed(database: Database) -> int:
    return len(await database.fetch("select from get_queue_batch_v2(10, $1)", HOLDER))


async def checked(database: Database) -> int:
    return int(await database.fetchval("select check_and_queue_stale_pairs_v2('{MSFT}', '{quote}', '{1}')"))


@pytest.mark.parametrize("how", ["hours", "settled", "reserved"])
@pytest.mark.parametrize(
    ("spent", "exceeded"), [(0, False), (BELOW, False), (AT - 1, False), (AT, True), (LIMIT, True), (2 * LIMIT, True)]
)
async def test_from_95_percent_on_nothing_is_queued_claimed_or_reserved(
    owner: Database, database: Database, spent: int, exceeded: bool, how: str
) -> None:
    await make_ready(owner)
    await queue(owner, PROFILE)
    await owner.execute("update api_call_queue_v2_pending set estimated_data_size_bytes = 1")

    await spend(owner, spent, how=how)

    assert await is_exceeded(database) is exceeded
    assert await claimed(database) == (0 if exceeded else 1)
    assert await checked(database) == (0 if exceeded else 1)
    assert await refusal_of(database, size=1) == ("bytes" if exceeded else None)


async def test_an_estimate_may_fill_the_budget_and_not_exceed_it(owner: Database, database: Database) -> None:
    await make_ready(owner)
    await queue(owner, PROFILE)
    await spend(owner, BELOW)
    left = AT - BELOW

    await owner.execute("update api_call_queue_v2_pending set estimated_data_size_bytes = $1", left + 1)
    assert await refusal_of(database, size=left + 1) == "bytes"
    assert await claimed(database) == 0

    await owner.execute("update api_call_queue_v2_pending set estimated_data_size_bytes = $1", left)
    assert await claimed(database) == 1
    assert await refusal_of(database, size=left) is None
    assert await refusal_of(database, size=1) == "bytes"


@pytest.mark.parametrize("how", ["never announced", "not seen for five minutes"])
async def test_without_a_limit_nothing_is_queued_claimed_or_reserved_and_the_quota_raises(
    owner: Database, database: Database, how: str
) -> None:
    await make_ready(owner)
    await queue(owner, QUOTE)

    if how == "never announced":
        await owner.execute("delete from upstream_limits_v2")
    else:
        await owner.execute("update upstream_limits_v2 set seen_at = now() - interval '5 minutes'")

    assert await refusal_of(database) == "no_limits"
    assert await checked(database) == 0
    assert await claimed(database) == 0
    assert await counts(owner) == {"pending": 1}
    with pytest.raises(asyncpg.ObjectNotInPrerequisiteStateError, match="no limit is in force for upstream fmp"):
        await is_exceeded(database)


async def test_the_least_limit_of_the_live_instances_holds(owner: Database, database: Database) -> None:
    await make_ready(owner)
    await owner.execute("insert into upstream_limits_v2 values ('fmp', 'small', 2, 1000)")

    assert await refusal_of(database, calls=3) == "calls"
    assert await refusal_of(database, size=951) == "bytes"
    assert await refusal_of(database, calls=2, size=950) is None


@pytest.mark.parametrize(("ago", "counted"), [("29 days 23 hours", 7), ("30 days 2 hours", 0)])
async def test_bytes_count_for_thirty_days(owner: Database, ago: str, counted: int) -> None:
    await make_ready(owner)

    await spend(owner, 7, ago=ago)

    assert await owner.fetchval("select bytes_in_30_days from upstream_usage_v2('fmp')") == counted


@pytest.mark.parametrize("settled", [True, False])
async def test_an_attempt_that_is_rolled_up_late_counts_in_the_hour_of_its_reservation(
    owner: Database, database: Database, settled: bool
) -> None:
    await make_ready(owner)
    await spend(owner, 7, how="settled" if settled else "reserved")
    await owner.execute("update api_data_usage_v2 set reserved_at = now() - interval '31 days'")

    assert await database.fetchval("select roll_up_usage_v2()") == 1

    assert await owner.fetchval("select bytes_in_30_days from upstream_usage_v2('fmp')") == 0
    assert await owner.fetchval("select sum(bytes) from api_usage_hours_v2") == 7


@pytest.mark.parametrize(("seconds", "refusal"), [(0, "calls"), (61, "calls"), (62.1, None), (3600, None)])
@pytest.mark.parametrize("settled", [True, False])
async def test_a_call_counts_for_62_seconds(
    owner: Database, database: Database, seconds: float, refusal: str | None, settled: bool
) -> None:
    await make_ready(owner, calls=1)
    await refusal_of(database)
    await owner.execute(
        "update api_data_usage_v2 set reserved_at = clock_timestamp() - make_interval(secs => $1),"
        " settled_at = case when $2 then now() end",
        seconds,
        settled,
    )

    assert await refusal_of(database) == refusal


async def test_rolling_up_forgets_no_call_of_the_window(owner: Database, database: Database) -> None:
    await make_ready(owner, calls=1)
    await refusal_of(database)
    await owner.execute(
        "update api_data_usage_v2 set settled_at = now(), reserved_at = clock_timestamp() - interval '60 s'"
    )

    await database.execute("select roll_up_usage_v2()")

    assert await refusal_of(database) == "calls"


async def test_a_refusal_by_calls_says_when_the_oldest_leaves_the_window(owner: Database, database: Database) -> None:
    await make_ready(owner, calls=2)
    await refusal_of(database)
    await owner.execute("update api_data_usage_v2 set reserved_at = clock_timestamp() - interval '40 s'")
    await refusal_of(database)

    after = await database.fetchval("select retry_after_seconds from reserve_api_calls_v2('fmp', 1, 1, $1)", HOLDER)

    assert 0 < after <= WINDOW_SECONDS - 40


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    limit=st.integers(1, 6),
    steps=st.lists(
        st.tuples(st.integers(1, 4), st.sampled_from([0.0, 0.5, 1.9, 10.0, 30.0, 59.9, 61.0, 62.1])), max_size=20
    ),
)
async def test_no_sixty_seconds_hold_more_calls_than_the_limit(
    urls: TestDatabase, limit: int, steps: list[tuple[int, float]]
) -> None:
    connection = await asyncpg.connect(urls.owner_url)
    sent: list[float] = []
    now = 0.0

    transaction = connection.transaction()
    await transaction.start()
    await connection.execute("insert into upstream_limits_v2 values ('fmp', 'test', $1, 1000000)", limit)
    for calls, pause in steps:
        row = await connection.fetchrow("select ids, refused_by from reserve_api_calls_v2('fmp', $1, 1, 't/1')", calls)
        assert row is not None
        assert (row["refused_by"] is None) == (len(row["ids"]) == calls)
        sent += [now + min(pause, 2.0)] * len(row["ids"])  # sent as late as a reservation may be
        await connection.execute(
            "update api_data_usage_v2 set reserved_at = reserved_at - make_interval(secs => $1)", pause
        )
        now += pause
    await transaction.rollback()
    await connection.close()

    assert all(sum(start <= call < start + 60 for call in sent) <= limit for start in sent)
