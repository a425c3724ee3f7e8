"""The pace of calls and bytes, what waits at the head of the queue, and when to ask again."""

from __future__ import annotations

import asyncpg
import pytest

from daemon.contracts import Pair
from daemon.refresh.prices import Allowance, Prices, first_view_chance
from daemon.store.database import Database
from daemon.store.estimates import Estimate, read_estimates, write_estimates
from daemon.store.queue import seconds_to_claim
from tests.rows import HOLDER, make_ready, queue

FETCHERS = ["quote", "profile"]
DAY = 0.95 * 30e9 / 30
"""What a day brings of 30 GB."""

SPEND = """
insert into api_data_usage_v2 (upstream, holder, calls, bytes, reserved_at)
select 'fmp', 'x', 1, $2, now() - make_interval(secs => $3) from generate_series(1, $1)
"""
LEFT = "select bytes_ceiling - (select bytes_in_30_days from upstream_usage_v2('fmp')) from upstreams_v2"


async def claim(database: Database, calls: int) -> list[asyncpg.Record]:
    return await database.fetch("select * from get_queue_batch_v2($1, $2)", calls, HOLDER)


async def spend(owner: Database, calls: int, *, size: int = 0, seconds_ago: float = 0.0) -> None:
    await owner.execute(SPEND, calls, size, seconds_ago)


@pytest.mark.parametrize(
    ("limit", "in_window", "lately", "paced"),
    [
        (300, 0, 0, 150),
        (300, 150, 150, 0),
        (300, 150, 0, 75),
        (300, 270, 0, 30),
        (300, 290, 0, 10),
        (300, 290, 25, 5),
        (300, 300, 0, 0),
        (5, 0, 0, 5),
        (5, 4, 4, 1),
    ],
)
async def test_a_burst_is_spread_before_the_window_is_empty(
    database: Database, limit: int, in_window: int, lately: int, paced: int
) -> None:
    assert await database.fetchval("select paced_calls_v2($1, $2, $3)", limit, in_window, lately) == paced


async def test_a_claim_leaves_half_of_an_idle_minute_for_what_comes_next(owner: Database, database: Database) -> None:
    symbols = [f"S{number}" for number in range(60)]
    await make_ready(owner, symbols, calls=60)
    await queue(owner, *(Pair(symbol, "profile") for symbol in symbols))

    assert len(await claim(database, 60)) == 30


async def test_what_needs_three_calls_is_not_overtaken_while_two_are_left(owner: Database, database: Database) -> None:
    await make_ready(owner, ["A", "B"], calls=40)
    await owner.execute("update data_type_registry_v2 set api_calls_per_job = 3 where data_type = 'profile'")
    await queue(owner, Pair("A", "profile"), Pair("B", "quote"))
    await owner.execute(
        "update api_call_queue_v2_pending set lane = 1, gain = case symbol when 'A' then 1e6 else 1 end"
    )
    await spend(owner, 38, seconds_ago=30)

    assert await claim(database, 10) == []

    await owner.execute("update api_data_usage_v2 set reserved_at = reserved_at - interval '40 s'")
    assert [job["symbol"] for job in await claim(database, 1)] == ["A"]


async def test_a_day_of_bytes_may_be_spent_at_once_and_then_only_their_pace(
    owner: Database, database: Database
) -> None:
    await make_ready(owner, ["A", "B", "C"], bytes_per_30_days=30_000_000_000)
    await queue(owner, Pair("A", "profile"), Pair("B", "profile"))

    await owner.execute("select pace_bytes_v2()")
    assert await owner.fetchval(LEFT) == pytest.approx(DAY, rel=1e-3)
    assert len(await claim(database, 1)) == 1

    await spend(owner, 1, size=int(DAY * 1.5))
    await owner.execute("select pace_bytes_v2()")
    assert await owner.fetchval(LEFT) == pytest.approx(-DAY / 2, rel=1e-3)
    assert await claim(database, 1) == []

    await owner.execute("delete from api_data_usage_v2")
    await owner.execute(
        "insert into api_usage_hours_v2 select 'fmp', date_trunc('hour', now()) - interval '12 hours', 1, $1",
        int(DAY * 1.5),
    )
    await owner.execute("select pace_bytes_v2()")
    left = await owner.fetchval(LEFT)
    assert 0 <= left <= 0.06 * DAY  # half a day later, and up to an hour more: the hour is counted from its beginning
    assert len(await claim(database, 1)) == 1


async def test_an_idle_month_saves_no_more_than_a_day(owner: Database) -> None:
    await make_ready(owner, bytes_per_30_days=30_000_000_000)
    await owner.execute("insert into api_usage_hours_v2 select 'fmp', now() - interval '29 days', 1, 1000")

    await owner.execute("select pace_bytes_v2()")

    assert await owner.fetchval(LEFT) == pytest.approx(DAY, rel=1e-3)


async def test_of_a_batch_only_what_keeps_the_pace_is_claimed_and_one_at_least(
    owner: Database, database: Database
) -> None:
    symbols = [f"S{number}" for number in range(30)]
    await make_ready(owner, symbols, bytes_per_30_days=30_000_000_000)
    await queue(owner, *(Pair(symbol, "quote") for symbol in symbols))
    await owner.execute("update api_call_queue_v2_pending set lane = 1, gain = substr(symbol, 2)::int + 1")
    await owner.execute("update upstreams_v2 set bytes_ceiling = 7000")

    assert sorted(job["symbol"] for job in await claim(database, 5)) == ["S27", "S28", "S29"]

    await owner.execute("update upstreams_v2 set bytes_ceiling = 1")
    assert [job["symbol"] for job in await claim(database, 5)] == ["S26"]

    await owner.execute("update upstreams_v2 set bytes_ceiling = 0")
    assert await claim(database, 5) == []


async def test_first_views_get_a_tenth_of_what_is_spent_not_of_the_calls(owner: Database, database: Database) -> None:
    symbols = [f"S{number}" for number in range(300)]
    await make_ready(owner, symbols, calls=100_000)
    await owner.execute("update data_type_registry_v2 set batch_size = 1")
    await owner.execute(
        "update data_type_state_v2 set estimated_data_size_bytes = case data_type when 'profile' then 1e9 else 1e6 end"
    )
    await queue(owner, *(Pair(symbol, "quote") for symbol in symbols[:150]))
    await queue(owner, *(Pair(symbol, "profile") for symbol in symbols[150:]))
    await owner.execute("update api_call_queue_v2_pending set lane = (data_type = 'quote')::int, gain = 100")
    await owner.execute("update api_call_queue_v2_pending set estimated_data_size_bytes = 1000")

    lanes = [(await claim(database, 1))[0]["lane"] for _ in range(100)]

    assert lanes.count(0) <= 3  # each is a thousand times as dear: one in ten thousand calls


async def test_the_cost_in_sql_is_that_of_the_policy(owner: Database, database: Database) -> None:
    allowance, prices = Allowance(300, 20e9), Prices(0.7, 0.3)
    dear, cheap = prices.cost(allowance, 1, 50_000), prices.cost(allowance, 1, 2_000)
    await make_ready(owner, ["A", "B"], calls=300, bytes_per_30_days=20_000_000_000)
    await owner.execute("update upstreams_v2 set price_calls = 0.7, price_bytes = 0.3")
    await owner.execute("update data_type_registry_v2 set batch_size = 1")
    await owner.execute(
        "update data_type_state_v2 set estimated_data_size_bytes = "
        " case data_type when 'profile' then 50000 else 2000 end"
    )
    await queue(owner, Pair("A", "profile"), Pair("B", "quote"))

    firsts = []
    for factor in (0.999, 1.001):
        await owner.execute("update api_call_queue_v2_pending set lane = 1")
        await owner.execute(
            "update api_call_queue_v2_pending set gain = case symbol when 'A' then $1::float8 else 1 end",
            dear / cheap * factor,
        )
        [job] = await claim(database, 1)
        await database.execute("select release_jobs_v2($1)", [job["lease_id"]])
        firsts.append(job["symbol"])

    assert firsts == ["B", "A"]
    assert first_view_chance(dear, cheap) == pytest.approx(0.1 * cheap / dear)
    assert first_view_chance(cheap, dear) == 0.1


async def test_prices_in_sql_move_as_those_of_the_policy(owner: Database, database: Database) -> None:
    await make_ready(owner, calls=60, bytes_per_30_days=20_000_000_000)
    await spend(owner, 31, size=200_000)
    await owner.execute("update upstreams_v2 set prices_adapted_at = now() - interval '31 s'")

    await database.execute("select adapt_prices_v2()")

    row = await owner.fetchrow("select price_calls, price_bytes from upstreams_v2")
    expected = Prices().adapted(31 / 60, 31 * 200_000 / (20e9 * 0.95 * 62 / 2_592_000))
    assert tuple(row or ()) == pytest.approx((expected.calls, expected.bytes))


async def test_nothing_that_waits_needs_no_second_look(owner: Database, database: Database) -> None:
    await make_ready(owner)

    assert await seconds_to_claim(database, FETCHERS) is None


async def test_a_retry_is_looked_for_when_its_time_has_come(owner: Database, database: Database) -> None:
    await make_ready(owner)
    await queue(owner, Pair("AAPL", "quote"))
    await owner.execute("update api_call_queue_v2_pending set not_before = now() + interval '3 s'")

    assert await seconds_to_claim(database, FETCHERS) == pytest.approx(3.0, abs=0.5)
    assert await seconds_to_claim(database, ["another"]) is None


@pytest.mark.parametrize(("seconds_ago", "seconds"), [(20.0, 42.0), (59.0, 3.0)])
async def test_an_empty_minute_is_looked_at_again_when_its_first_call_leaves_it(
    owner: Database, database: Database, seconds_ago: float, seconds: float
) -> None:
    await make_ready(owner, calls=30)
    await queue(owner, Pair("AAPL", "quote"))
    await spend(owner, 30, seconds_ago=seconds_ago)

    assert await seconds_to_claim(database, FETCHERS) == pytest.approx(seconds, abs=0.5)


async def test_a_burst_that_went_too_far_is_looked_at_again_within_a_tenth_of_the_minute(
    owner: Database, database: Database
) -> None:
    await make_ready(owner, calls=300)
    await queue(owner, Pair("AAPL", "quote"))
    await spend(owner, 200, seconds_ago=2)

    assert await claim(database, 1) == []
    assert await seconds_to_claim(database, FETCHERS) == pytest.approx(4.2, abs=0.5)


async def test_a_pause_and_an_open_breaker_say_when_they_end(owner: Database, database: Database) -> None:
    await make_ready(owner)
    await queue(owner, Pair("AAPL", "quote"))

    await owner.execute("update upstreams_v2 set paused_until = now() + interval '20 s'")
    assert await seconds_to_claim(database, FETCHERS) == pytest.approx(20, abs=0.5)

    await owner.execute(
        "update upstreams_v2 set paused_until = null, breaker_state = 'open',"
        " breaker_open_until = now() + interval '7 s'"
    )
    assert await seconds_to_claim(database, FETCHERS) == pytest.approx(7, abs=0.5)


async def test_what_was_measured_is_remembered(database: Database) -> None:
    first = [Estimate("session_seconds", "", 200.0, 0.0, 50.0), Estimate("lead_seconds", "quote", 0.2, 0.1, 0.0)]
    await write_estimates(database, first)
    await write_estimates(database, [Estimate("lead_seconds", "quote", 0.3, 0.2, 0.0)])

    known = {(e.estimate, e.subject): e.mean for e in await read_estimates(database)}

    assert known == {("session_seconds", ""): 200.0, ("lead_seconds", "quote"): 0.3}
