"""What queueing, checking and sweeping promise, asked of each function directly."""

from __future__ import annotations

import asyncio
from time import perf_counter

import asyncpg
import pytest

from daemon.store.database import Database
from tests.databases import TestDatabase
from tests.rows import counts, make_ready, orphans, queue
from tests.store.calls import check_pairs, claim, sweep
from tests.store.test_queue import QUOTE


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
        touched = await connection.fetchval("select touch_subscriptions_v2('test/1', '{s}', '{s}')")
        heap_only = await connection.fetchval(
            "select pg_stat_get_xact_tuples_hot_updated('active_subscriptions_v2'::regclass)"
        )

    await connection.close()
    assert (touched, heap_only) == (1000, 1000)
