"""What the functions of the schema promise, asked of each directly."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from time import perf_counter
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from daemon.store.database import Database
from tests.databases import TestDatabase
from tests.rows import HOLDER, counts, make_ready, orphans, queue
from tests.store.test_queue import PROFILE, QUOTE

ESTIMATE = "select estimated_data_size_bytes from data_type_state_v2 where data_type = 'quote'"
OTHER_TYPE = """
insert into data_type_registry_v2 (
    data_type, table_name, timestamp_column, staleness_function, default_ttl_minutes, edge_function_name, upstream,
    key_columns, estimated_data_size_bytes, batch_size
) values ($1, $2, 'fetched_at', 'is_data_stale_v2', 5, 'other', $3, '{symbol}', 100, 1)
"""


async def claim(database: Database, calls: int = 10, *, fetchers: list[str] | None = None) -> list[asyncpg.Record]:
    return await database.fetch("select * from get_queue_batch_v2($1, $2, 30, $3)", calls, HOLDER, fetchers)


async def check_pairs(database: Database, symbols: Sequence[str], viewers: int = 1) -> int:
    return int(
        await database.fetchval(
            "select check_and_queue_stale_pairs_v2($1, $2, $3)",
            list(symbols),
            ["quote"] * len(symbols),
            [viewers] * len(symbols),
        )
    )


async def complete(database: Database, job: asyncpg.Record, *, size: int = 1000) -> bool:
    return bool(
        await database.fetchval(
            "select complete_queue_job_v2($1, $2, 'changed', now() + interval '60 s', now() + interval '55 s', $3,"
            " null, null)",
            job["job_id"],
            job["lease_id"],
            size,
        )
    )


async def sweep(database: Database) -> int:
    return int(await database.fetchval("select check_and_queue_stale_data_from_presence_v2()"))


@pytest.mark.parametrize(
    ("name", "valid"),
    [
        ("symbol", True),
        ("_Price2", True),
        ("a" * 63, True),
        ("a" * 64, False),
        ("2nd", False),
        ("a b", False),
        ('a"; drop', False),
        ("a\n", False),
        ("é", False),
        ("", False),
        (None, False),
    ],
)
async def test_an_identifier_is_a_plain_name_of_up_to_63_bytes(
    database: Database, name: str | None, valid: bool
) -> None:
    assert await database.fetchval("select is_valid_identifier($1)", name) is valid


@pytest.mark.parametrize("function", ["is_data_stale_v2", "is_profile_stale_v2"])
async def test_data_is_stale_past_its_ttl_and_not_at_it(database: Database, function: str) -> None:
    row = await database.fetch(
        f"""
        select {function}(now() - interval '5 minutes', 5) as at_ttl,
               {function}(now() - interval '5 minutes' - interval '1 microsecond', 5) as past_ttl,
               {function}(null, 5) as never_fetched
        """
    )

    assert tuple(row[0]) == (False, True, True)


@pytest.mark.parametrize("function", ["is_data_stale_v2", "is_profile_stale_v2"])
@pytest.mark.parametrize("ttl", [None, 0, -1])
async def test_a_missing_ttl_raises(database: Database, function: str, ttl: int | None) -> None:
    with pytest.raises(asyncpg.InvalidParameterValueError, match="is no TTL"):
        await database.fetchval(f"select {function}(now(), $1)", ttl)


@pytest.mark.parametrize(("retries", "most_seconds"), [(-1, 5), (0, 5), (3, 40), (1000, 900)])
async def test_the_back_off_doubles_up_to_fifteen_minutes_with_full_jitter(
    database: Database, retries: int, most_seconds: int
) -> None:
    row = (
        await database.fetch(
            "select min(d) as least, max(d) as most"
            " from (select extract(epoch from retry_delay_v2($1))::float8 as d from generate_series(1, 400)) x",
            retries,
        )
    )[0]

    assert 0 <= row["least"] < most_seconds * 0.1
    assert most_seconds * 0.9 < row["most"] <= most_seconds


async def test_one_symbol_is_checked_for_several_types_and_unknown_ones_are_left_out(
    owner: Database, database: Database
) -> None:
    await make_ready(owner)

    call = "select check_and_queue_stale_batch_v2($1, $2, 3)"

    assert await database.fetchval(call, "AAPL", ["quote", "profile", "horoscope"]) == 2
    assert await database.fetchval(call, "AAPL", ["quote", "profile"]) == 0
    assert await database.fetchval(call, "NOBODY", ["quote"]) == 0
    assert await database.fetchval(call, "AAPL", []) == 0
    assert await owner.fetchval("select array_agg(distinct priority) from api_call_queue_v2_pending") == [3]


async def test_the_check_of_a_global_type_queues_its_one_pair(owner: Database, database: Database) -> None:
    await make_ready(owner)
    await owner.execute("update data_type_registry_v2 set symbol_column = null where data_type = 'profile'")

    queued = await database.fetchval("select check_and_queue_stale_batch_v2('AAPL', '{profile}', 1)")

    assert queued == 1
    assert await owner.fetchval("select symbol from api_call_queue_v2_pending") == "GLOBAL"


async def test_queueing_one_pair_twice_returns_one_job_and_keeps_the_estimate_of_the_first(
    owner: Database, database: Database
) -> None:
    await make_ready(owner)

    first = await database.fetchval("select queue_refresh_if_not_exists_v2('AAPL', 'quote', 1, 777)")
    second = await database.fetchval("select queue_refresh_if_not_exists_v2('AAPL', 'quote', 5, 999)")

    assert first == second
    job = (await owner.fetch("select id, priority, estimated_data_size_bytes from api_call_queue_v2_pending"))[0]
    assert tuple(job) == (first, 5, 777)


@pytest.mark.parametrize(
    ("symbol", "data_type", "priority"), [("NOBODY", "quote", 1), ("AAPL", "x", 1), ("AAPL", "quote", -2)]
)
async def test_queueing_what_is_unknown_raises(
    owner: Database, database: Database, symbol: str, data_type: str, priority: int
) -> None:
    await make_ready(owner)

    with pytest.raises(asyncpg.InvalidParameterValueError, match="cannot queue"):
        await database.fetchval("select queue_refresh_if_not_exists_v2($1, $2, $3)", symbol, data_type, priority)


async def test_opening_jobs_leaves_out_what_is_unknown_or_off(owner: Database, database: Database) -> None:
    await make_ready(owner)
    await owner.execute("update supported_symbols set is_active = false where symbol = 'MSFT'")
    await owner.execute("update feature_flags set enabled = false where flag_name = 'migrate_profile_type'")

    opened = await database.fetch(
        "select * from open_jobs_v2($1, $2, $3)",
        ["AAPL", "MSFT", "NOBODY", "AAPL", "AAPL", None],
        ["quote", "quote", "quote", "profile", "x", "quote"],
        [1] * 6,
    )

    assert [(row["symbol"], row["data_type"], row["created"]) for row in opened] == [("AAPL", "quote", True)]
    assert await orphans(owner) == 0


async def test_checking_open_pairs_again_is_cheap_and_locks_nothing(
    owner: Database, database: Database, urls: TestDatabase
) -> None:
    symbols = [f"S{number}" for number in range(2000)]
    await make_ready(owner, symbols)
    assert await check_pairs(database, symbols) == 2000
    blocker = await asyncpg.connect(urls.owner_url)

    async with blocker.transaction():
        await blocker.execute("select from refresh_state_v2 for update")
        started = perf_counter()
        again = await asyncio.wait_for(check_pairs(database, symbols), 30)
        seconds = perf_counter() - started

    await blocker.close()
    assert again == 0
    assert seconds < 2


async def test_more_viewers_raise_an_open_job_and_fewer_do_not_lower_it(owner: Database, database: Database) -> None:
    await make_ready(owner)

    for viewers in (2, 5, 1):
        await check_pairs(database, ["AAPL"], viewers)

    assert await owner.fetchval("select priority from api_call_queue_v2_pending") == 5


@pytest.mark.parametrize("status", ["pending", "processing"])
async def test_a_pair_whose_state_lost_its_job_adopts_it(owner: Database, database: Database, status: str) -> None:
    await make_ready(owner)
    [job] = await queue(owner, QUOTE)
    if status == "processing":
        await claim(database)
    await owner.execute("update refresh_state_v2 set open_job_id = null")

    assert await check_pairs(database, ["AAPL"]) == 0

    assert await queue(owner, QUOTE) == [job]
    assert await counts(owner) == {status: 1}
    assert await orphans(owner) == 0


async def test_a_viewed_pair_whose_job_is_gone_gets_a_new_one_in_the_same_turn(
    owner: Database, database: Database
) -> None:
    await make_ready(owner)
    await queue(owner, QUOTE)
    await owner.execute("delete from api_call_queue_v2")
    await owner.execute("insert into active_subscriptions_v2 values ('user:1', 'AAPL', 'quote', 's')")

    assert await sweep(database) == 1

    assert await orphans(owner) == 0


async def test_the_sweep_drops_old_viewed_jobs_that_nobody_views_and_nothing_else(
    owner: Database, database: Database
) -> None:
    await make_ready(owner, ["IDLE", "VIEWED", "NEW", "PLANNED"])
    for symbol, priority in (("IDLE", 1), ("VIEWED", 1), ("NEW", 1), ("PLANNED", -1)):
        await owner.execute("select from queue_refreshes_v2($1, '{quote}', $2)", [symbol], [priority])
    await owner.execute("insert into active_subscriptions_v2 values ('user:1', 'VIEWED', 'quote', 's')")
    await owner.execute(
        "update api_call_queue_v2_pending set created_at = now() - interval '6 minutes' where symbol <> 'NEW'"
    )

    assert await sweep(database) == 0

    left = await owner.fetch("select symbol from api_call_queue_v2_pending order by symbol")
    assert [row["symbol"] for row in left] == ["NEW", "PLANNED", "VIEWED"]
    assert await orphans(owner) == 0


async def test_a_job_of_the_pair_that_is_queued_at_the_same_time_is_no_error(
    owner: Database, database: Database, urls: TestDatabase
) -> None:
    await make_ready(owner)
    intruder = await asyncpg.connect(urls.owner_url)

    async with intruder.transaction():
        await intruder.execute(
            "insert into api_call_queue_v2_pending (symbol, data_type, lane, priority, gain)"
            " values ('AAPL', 'quote', 1, 1, 1)"
        )
        checking = asyncio.create_task(check_pairs(database, ["AAPL"]))
        while not await owner.fetchval("select exists (select from pg_locks where not granted)"):  # noqa: ASYNC110
            await asyncio.sleep(0)

    assert await checking == 0
    assert await check_pairs(database, ["AAPL"]) == 0
    await intruder.close()
    assert await orphans(owner) == 0


async def test_touching_subscriptions_is_heap_only(urls: TestDatabase) -> None:
    connection = await asyncpg.connect(urls.owner_url)
    await connection.execute(
        "insert into active_subscriptions_v2 (user_id, symbol, data_type, source, last_seen_at)"
        " select 'user:' || n, 'AAPL', 'quote', 's', now() - interval '1 minute' from generate_series(1, 1000) n"
    )

    async with connection.transaction():
        touched = await connection.fetchval("select touch_subscriptions_v2('s', now() - interval '1 hour')")
        heap_only = await connection.fetchval(
            "select pg_stat_get_xact_tuples_hot_updated('active_subscriptions_v2'::regclass)"
        )

    await connection.close()
    assert (touched, heap_only) == (1000, 1000)


async def test_completing_one_job_learns_its_size_and_a_lost_lease_changes_nothing(
    owner: Database, database: Database
) -> None:
    await make_ready(owner)
    await queue(owner, QUOTE)
    [job] = await claim(database)

    assert await complete(database, {**job, "lease_id": uuid4()}) is False  # type: ignore[arg-type]
    assert await complete(database, job, size=4000) is True
    assert await complete(database, job, size=4000) is False

    assert await counts(owner) == {"completed": 1}
    assert await owner.fetchval(ESTIMATE) == 2200


async def test_sizes_are_learned_from_completed_jobs_and_from_zero_at_once(owner: Database, database: Database) -> None:
    await make_ready(owner)
    await owner.execute("update data_type_state_v2 set estimated_data_size_bytes = 0")
    ids = [uuid4(), uuid4()]
    for job_id, size in zip(ids, (1000, 3000), strict=True):
        await owner.execute(
            "insert into api_call_queue_v2_completed"
            " (id, symbol, data_type, status, lane, priority, gain, actual_data_size_bytes)"
            " values ($1, 'AAPL', 'quote', 'completed', 1, 1, 1, $2)",
            job_id,
            size,
        )

    await database.execute("select learn_sizes_v2($1)", [*ids, uuid4()])
    assert await owner.fetchval(ESTIMATE) == 2000
    await database.execute("select learn_sizes_v2($1)", ids[:1])

    assert await owner.fetchval(ESTIMATE) == 1900


async def test_the_set_based_completion_leaves_the_sizes_alone(owner: Database, database: Database) -> None:
    await make_ready(owner)
    await queue(owner, QUOTE)
    [job] = await claim(database)

    held = await database.fetchval(
        "select complete_queue_jobs_v2(array[$1::uuid], array[$2::uuid], '{changed}', array[now()], array[now()],"
        " '{9000}', '{null}', '{null}')",
        job["job_id"],
        job["lease_id"],
    )

    assert held == job["job_id"]
    assert await owner.fetchval(ESTIMATE) is None


async def test_locking_the_pairs_of_jobs_locks_those_state_rows_alone(
    owner: Database, database: Database, urls: TestDatabase
) -> None:
    await make_ready(owner)
    await queue(owner, QUOTE, PROFILE)
    [job] = await claim(database, fetchers=["quote"])
    locker = await asyncpg.connect(urls.daemon_url)

    async with locker.transaction():
        await locker.execute("select lock_job_pairs_v2($1)", [job["job_id"], uuid4()])
        free = await owner.fetch("select data_type from refresh_state_v2 for update skip locked")

    await locker.close()
    assert [row["data_type"] for row in free] == ["profile"]


async def test_a_renewal_passes_over_a_job_that_is_just_being_ended(
    owner: Database, database: Database, urls: TestDatabase
) -> None:
    await make_ready(owner)
    await queue(owner, QUOTE, PROFILE)
    jobs = {job["data_type"]: job for job in await claim(database)}
    ender = await asyncpg.connect(urls.owner_url)

    async with ender.transaction():
        await ender.execute("select from api_call_queue_v2_processing where data_type = 'quote' for update")
        renewed = await asyncio.wait_for(
            database.fetch("select renew_leases_v2($1, 30) as lease", [job["lease_id"] for job in jobs.values()]), 10
        )

    await ender.close()
    assert [row["lease"] for row in renewed] == [jobs["profile"]["lease_id"]]


async def test_a_stuck_job_without_a_state_row_is_recovered(owner: Database, database: Database) -> None:
    await make_ready(owner)
    await queue(owner, QUOTE)
    await claim(database)
    await owner.execute("delete from refresh_state_v2")
    await owner.execute("update api_call_queue_v2_processing set lease_expires_at = now() - interval '1 s'")

    assert await database.fetchval("select recover_stuck_jobs_v2()") == 1

    assert await counts(owner) == {"pending": 1}


async def test_a_stuck_job_whose_pair_somebody_works_on_waits_for_the_next_turn(
    owner: Database, database: Database, urls: TestDatabase
) -> None:
    await make_ready(owner)
    await queue(owner, QUOTE)
    await claim(database)
    await owner.execute("update api_call_queue_v2_processing set lease_expires_at = now() - interval '1 s'")
    worker = await asyncpg.connect(urls.owner_url)

    async with worker.transaction():
        await worker.execute("select from refresh_state_v2 for update")
        meanwhile = await database.fetchval("select recover_stuck_jobs_v2()")
    afterwards = await database.fetchval("select recover_stuck_jobs_v2()")

    await worker.close()
    assert (meanwhile, afterwards) == (0, 1)


async def test_the_slots_of_a_claim_are_shared_by_all_upstreams(owner: Database, database: Database) -> None:
    await owner.execute("insert into upstreams_v2 (upstream) values ('other')")
    await owner.execute("create table ratings (symbol text primary key, fetched_at timestamptz)")
    await owner.execute(OTHER_TYPE, "rating", "ratings", "other")
    symbols = [f"S{number}" for number in range(5)]
    await make_ready(owner, symbols)
    await owner.execute("insert into upstream_limits_v2 values ('other', 'test', 100, 1000000000)")
    for data_type in ("profile", "rating"):
        await owner.execute("select from queue_refreshes_v2($1, $2, $3)", symbols, [data_type] * 5, [1] * 5)

    sizes = [len(await claim(database, 3)) for _ in range(5)]

    assert sizes == [3, 3, 3, 1, 0]


async def test_batch_mates_of_a_job_that_does_not_fit_take_a_call_of_their_own(
    owner: Database, database: Database
) -> None:
    await make_ready(owner, [f"S{number}" for number in range(6)])
    await owner.execute("update data_type_registry_v2 set batch_size = 3 where data_type = 'quote'")
    for number in range(6):
        await owner.execute("select from queue_refreshes_v2($1, '{quote}', $2)", [f"S{number}"], [9 - number])
    await owner.execute(
        "update api_call_queue_v2_pending set estimated_data_size_bytes = 20e9::bigint where symbol = 'S0'"
    )

    claimed = await claim(database, 1)

    assert [job["symbol"] for job in claimed] == ["S1", "S2", "S3"]


async def test_a_claim_takes_only_jobs_of_the_named_fetchers(owner: Database, database: Database) -> None:
    await make_ready(owner)
    await queue(owner, QUOTE, PROFILE)

    assert await claim(database, fetchers=[]) == []
    assert [job["fetcher"] for job in await claim(database, fetchers=["profile", "unknown"])] == ["profile"]
    assert [job["fetcher"] for job in await claim(database)] == ["quote"]


async def test_a_turn_of_the_gate_recovers_and_tells_the_state_of_every_upstream(
    owner: Database, database: Database, urls: TestDatabase
) -> None:
    await make_ready(owner)
    await queue(owner, QUOTE)
    await claim(database)
    await owner.execute("update api_call_queue_v2_processing set lease_expires_at = now() - interval '1 s'")
    gate = "select upstream, breaker, paused_until, recovered from invoke_processor_loop_v2()"
    other = await asyncpg.connect(urls.owner_url)

    async with other.transaction():
        await other.execute("select pg_advisory_xact_lock(44)")
        beside = await database.fetch(gate)
    alone = await database.fetch(gate)

    await other.close()
    assert [tuple(row) for row in beside] == [("fmp", "closed", None, 0)]
    assert [tuple(row) for row in alone] == [("fmp", "closed", None, 1)]


async def test_an_instance_that_retires_no_longer_limits_the_others(owner: Database, database: Database) -> None:
    await owner.execute("insert into upstream_limits_v2 values ('fmp', 'small', 10, 1000), ('fmp', 'large', 300, 9000)")

    await database.execute("select retire_instance_v2('small')")

    assert await owner.fetchval("select calls_per_minute from upstream_limits_in_force_v2") == 300


async def store(database: Database, *rows: dict[str, Any]) -> tuple[int, int, int]:
    result = await database.fetch("select inserted, updated, unchanged from store_rows_v2('quote', $1)", list(rows))
    return (result[0]["inserted"], result[0]["updated"], result[0]["unchanged"])


async def test_of_duplicate_rows_the_last_is_stored_and_unknown_columns_are_passed_over(
    owner: Database, database: Database
) -> None:
    stored = await store(database, {"symbol": "AAPL", "price": 1, "horoscope": "good"}, {"symbol": "AAPL", "price": 2})

    assert stored == (1, 0, 0)
    assert await owner.fetchval("select price from live_quote_indicators") == 2


async def test_an_unchanged_row_is_left_untouched_with_its_timestamp(owner: Database, database: Database) -> None:
    row = {"symbol": "AAPL", "price": 1.5}
    await store(database, row)
    before = await owner.fetchval("select fetched_at from live_quote_indicators")

    assert await store(database, row) == (0, 0, 1)
    assert await owner.fetchval("select fetched_at from live_quote_indicators") == before
    assert await store(database, {**row, "price": 2}) == (0, 1, 0)
    assert await owner.fetchval("select fetched_at from live_quote_indicators") > before


async def test_rows_without_their_key_or_of_an_unknown_type_raise(database: Database) -> None:
    with pytest.raises(asyncpg.InvalidParameterValueError, match="must carry the key columns"):
        await store(database, {"price": 1})
    with pytest.raises(asyncpg.InvalidParameterValueError, match="unknown data type"):
        await database.fetch("select * from store_rows_v2('x', $1)", [{"symbol": "AAPL"}])


async def test_a_broken_registry_row_leaves_the_other_types_working(owner: Database, database: Database) -> None:
    await owner.execute("create table ratings (symbol text primary key, fetched_at timestamptz)")
    await owner.execute(OTHER_TYPE, "rating", "ratings", "fmp")
    await owner.execute("drop table ratings")
    await make_ready(owner)
    await owner.execute("insert into live_quote_indicators (symbol, price) values ('AAPL', 1)")

    await database.execute("select seed_refresh_state_v2($1, $2)", ["AAPL", "AAPL"], ["rating", "quote"])

    rows = await owner.fetch("select symbol, data_type, next_due_at > now() as fresh from refresh_state_v2")
    assert [tuple(row) for row in rows] == [("AAPL", "quote", True)]
