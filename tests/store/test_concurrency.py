"""Sixteen at once, on raw connections: nothing is tried again here, so an error that is surfaced is seen."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from random import Random
from typing import Any, TypeAlias

import asyncpg
import pytest

from daemon.contracts import Pair
from daemon.store.database import Database
from tests.databases import TestDatabase
from tests.rows import HOLDER, counts, make_ready, orphans, queue
from tests.store.test_every_function import CALLS, set_the_stage
from tests.store.test_queue import QUOTE

CROWD = 16
SYMBOLS = [f"S{number}" for number in range(60)]
TYPES = ("quote", "profile")
EXPIRE = "update api_call_queue_v2_processing set lease_expires_at = now() - interval '1 s'"
COMPLETE = """
select complete_queue_jobs_v2(
    array_agg(i.job_id), array_agg(i.lease_id), array_agg('changed'::text), array_agg(now()),
    array_agg(now() + interval '1 h'), array_agg(1000::bigint), array_agg(null::timestamptz), array_agg(null::text)
)
from unnest($1::uuid[], $2::uuid[]) i (job_id, lease_id)
"""

WRITTEN = [
    "active_subscriptions_v2",
    "api_call_queue_v2_completed",
    "api_call_queue_v2_pending",
    "api_call_queue_v2_processing",
    "api_data_usage_v2",
    "api_usage_hours_v2",
    "live_quote_indicators",
    "refresh_state_v2",
    "upstream_limits_v2",
    "upstreams_v2",
]
WRITERS = {
    "announce_limits_v2",
    "check_and_queue_stale_data_from_presence_v2",
    "check_and_queue_stale_pairs_v2",
    "complete_queue_job_v2",
    "fail_queue_job_v2",
    "get_queue_batch_v2",
    "invoke_processor_loop_v2",
    "open_jobs_v2",
    "recover_stuck_jobs_v2",
    "refresh_analytics_from_presence_v2",
    "release_jobs_v2",
    "reserve_api_calls_v2",
    "reset_job_immediate_v2",
    "roll_up_usage_v2",
    "settle_api_calls_v2",
    "store_rows_v2",
    "trip_breaker_v2",
    "update_job_demand_v2",
}

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Work: TypeAlias = Callable[[Connection], Awaitable[None]]


@pytest.fixture
async def crowd(urls: TestDatabase) -> AsyncIterator[list[Connection]]:
    """Sixteen connections of the daemon's role."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(connected(urls.daemon_url)) for _ in range(CROWD)]


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(url, statement_cache_size=0)
    try:
        yield connection
    finally:
        await connection.close()


async def at_once(crowd: Iterable[Connection], *works: Work, turns: int = 40) -> Counter[str]:
    """Have every connection do its work again and again, the works dealt round; return the errors by SQLSTATE."""
    errors: Counter[str] = Counter()

    async def keep_on(connection: Connection, work: Work) -> None:
        for _ in range(turns):
            try:
                await work(connection)
            except asyncpg.PostgresError as error:
                errors[f"{error.sqlstate}: {error}"] += 1

    async with asyncio.TaskGroup() as group:
        for number, connection in enumerate(crowd):
            group.create_task(keep_on(connection, works[number % len(works)]))
    return errors


async def claim(connection: Connection, calls: int = 5) -> list[asyncpg.Record]:
    return await connection.fetch("select * from get_queue_batch_v2($1, $2)", calls, HOLDER)


async def complete(connection: Connection, jobs: list[asyncpg.Record]) -> list[asyncpg.Record]:
    return await connection.fetch(COMPLETE, [job["job_id"] for job in jobs], [job["lease_id"] for job in jobs])


async def waits(owner: Database) -> bool:
    return bool(await owner.fetchval("select exists (select from pg_locks where not granted)"))


async def test_claimers_and_enqueuers_meet_without_a_duplicate_or_an_error(
    owner: Database, crowd: list[Connection]
) -> None:
    await make_ready(owner, SYMBOLS)
    random = Random(1)
    finished: list[Any] = []

    async def enqueue(connection: Connection) -> None:
        symbols, types = random.choices(SYMBOLS, k=40), random.choices(TYPES, k=40)
        await connection.fetch("select * from queue_refreshes_v2($1, $2, $3)", symbols, types, [1] * 40)

    async def work(connection: Connection) -> None:
        held = await complete(connection, await claim(connection))
        finished.extend(row[0] for row in held)

    errors = await at_once(crowd, enqueue, work)

    assert errors == {}
    assert len(finished) == len(set(finished)) > 0
    assert await orphans(owner) == 0
    assert (await counts(owner))["completed"] == len(finished)


async def test_everything_that_moves_jobs_at_once_deadlocks_nowhere_and_loses_nothing(
    owner: Database, crowd: list[Connection]
) -> None:
    await make_ready(owner, SYMBOLS)
    for symbol in SYMBOLS:
        await owner.execute("insert into active_subscriptions_v2 values ('user:1', $1, 'quote', 's')", symbol)
    random = Random(2)

    async def check(connection: Connection) -> None:
        symbols, types = random.choices(SYMBOLS, k=30), random.choices(TYPES, k=30)
        await connection.fetch("select check_and_queue_stale_pairs_v2($1, $2, $3)", symbols, types, [2] * 30)

    async def follow_demand(connection: Connection) -> None:
        symbols, types = random.choices(SYMBOLS, k=30), random.choices(TYPES, k=30)
        await connection.fetch("select update_job_demand_v2($1, $2, $3)", symbols, types, [5.0] * 30)

    async def sweep_up(connection: Connection) -> None:
        await connection.fetch("select check_and_queue_stale_data_from_presence_v2()")

    async def end_in_every_way(connection: Connection) -> None:
        jobs = await claim(connection)
        random.shuffle(jobs)
        await complete(connection, jobs[:2])
        await connection.fetch("select release_jobs_v2($1)", [job["lease_id"] for job in jobs[2:3]])
        for job in jobs[3:]:
            retryable = random.random() < 0.5
            await connection.fetch(
                "select fail_queue_job_v2($1, $2, 'x', $3, '0', null)", job["job_id"], job["lease_id"], retryable
            )

    async def lose_and_recover(connection: Connection) -> None:
        await claim(connection, 2)
        await connection.execute(
            "update api_call_queue_v2_processing set lease_expires_at = now() - interval '1 s' where id in"
            " (select id from api_call_queue_v2_processing order by id limit 5 for update skip locked)"
        )
        await connection.fetch("select recover_stuck_jobs_v2()")

    async def run_the_gate(connection: Connection) -> None:
        await connection.fetch("select * from invoke_processor_loop_v2()")

    errors = await at_once(
        crowd, check, end_in_every_way, follow_demand, end_in_every_way, lose_and_recover, sweep_up, run_the_gate
    )

    assert errors == {}
    assert await orphans(owner) == 0
    assert (
        await owner.fetchval("select count(*) from (select from api_call_queue_v2 group by id having count(*) > 1) t")
        == 0
    )


async def test_recovery_beside_completion_waits_for_nobody_and_takes_nothing_that_is_being_completed(
    owner: Database, crowd: list[Connection]
) -> None:
    await make_ready(owner, SYMBOLS)
    await queue(owner, *(Pair(symbol, "profile") for symbol in SYMBOLS))
    jobs = await claim(crowd[0], len(SYMBOLS))
    await owner.execute(EXPIRE)

    async with crowd[0].transaction():
        held = await complete(crowd[0], jobs[:20])
        recovered = await asyncio.wait_for(crowd[1].fetchval("select recover_stuck_jobs_v2()"), 30)

    assert (len(held), recovered) == (20, 40)
    assert await counts(owner) == {"completed": 20, "pending": 40}
    assert await orphans(owner) == 0


async def test_a_claim_waits_for_no_other_claim(owner: Database, crowd: list[Connection]) -> None:
    await make_ready(owner, SYMBOLS)
    await queue(owner, *(Pair(symbol, "profile") for symbol in SYMBOLS))

    async with crowd[0].transaction():
        first = await claim(crowd[0], 20)
        second = await asyncio.wait_for(claim(crowd[1], 60), 30)

    assert (len(first), len(second)) == (20, 40)
    assert {job["job_id"] for job in first}.isdisjoint({job["job_id"] for job in second})


async def test_a_completion_that_comes_after_recovery_holds_nothing(owner: Database, crowd: list[Connection]) -> None:
    await make_ready(owner, SYMBOLS)
    await queue(owner, *(Pair(symbol, "profile") for symbol in SYMBOLS))
    jobs = await claim(crowd[0], len(SYMBOLS))
    await owner.execute(EXPIRE)

    async with crowd[1].transaction():
        assert await crowd[1].fetchval("select recover_stuck_jobs_v2()") == len(SYMBOLS)
        late = asyncio.create_task(complete(crowd[0], jobs))
        while not (late.done() or await waits(owner)):  # noqa: ASYNC110
            await asyncio.sleep(0)

    assert await late == []
    assert await counts(owner) == {"pending": len(SYMBOLS)}
    assert await orphans(owner) == 0


async def test_demand_moves_no_job_that_was_opened_while_it_waited_for_its_locks(
    owner: Database, crowd: list[Connection]
) -> None:
    await make_ready(owner, SYMBOLS)
    await queue(owner, Pair("S1", "quote"))

    async with crowd[1].transaction():
        await crowd[1].fetch("select from refresh_state_v2 where symbol = 'S1' for update")
        moved = asyncio.create_task(
            crowd[0].fetchval("select update_job_demand_v2('{S0,S1}', '{quote,quote}', '{1,1}')")
        )
        while not (moved.done() or await waits(owner)):  # noqa: ASYNC110
            await asyncio.sleep(0)
        await queue(owner, Pair("S0", "quote"))

    assert await moved == 1
    assert await owner.fetchval("select array_agg(symbol) from api_call_queue_v2_pending") == ["S0"]


async def test_of_sixteen_sweeps_one_works_and_the_others_return_at_once(
    owner: Database, crowd: list[Connection]
) -> None:
    await make_ready(owner, SYMBOLS)
    for symbol in SYMBOLS:
        await owner.execute("insert into active_subscriptions_v2 values ('user:1', $1, 'quote', 's')", symbol)
    sweep = "select check_and_queue_stale_data_from_presence_v2()"

    async with crowd[0].transaction():
        first = await crowd[0].fetchval(sweep)
        others = [await asyncio.wait_for(connection.fetchval(sweep), 30) for connection in crowd[1:]]

    assert first == len(SYMBOLS)
    assert set(others) == {0}
    assert await orphans(owner) == 0


async def test_scheduled_work_waits_for_viewed_work_whatever_the_registry_says(
    owner: Database, crowd: list[Connection]
) -> None:
    await make_ready(owner, SYMBOLS)
    await owner.execute("update data_type_registry_v2 set priority = 1000, weight = 1000 where data_type = 'profile'")
    await queue(owner, *(Pair(symbol, "profile") for symbol in SYMBOLS), priority=-1)
    await queue(owner, *(Pair(symbol, "quote") for symbol in SYMBOLS[:3]))

    first = await claim(crowd[0], 10)
    then = await claim(crowd[0], 10)

    assert {(job["data_type"], job["lane"]) for job in first} == {("quote", 0)}
    assert {(job["data_type"], job["lane"], job["priority"]) for job in then} == {("profile", 2, -1)}


async def test_a_viewer_of_a_scheduled_pair_makes_it_viewed_work(owner: Database, crowd: list[Connection]) -> None:
    await make_ready(owner)
    await queue(owner, QUOTE, priority=-1)
    await queue(owner, QUOTE, priority=4)
    await queue(owner, QUOTE, priority=-1)

    [job] = await claim(crowd[0])

    assert (job["lane"], job["priority"]) == (0, 4)


async def test_a_statement_timeout_in_the_middle_of_a_function_leaves_no_lock_and_nothing_half_done(
    owner: Database, urls: TestDatabase
) -> None:
    await set_the_stage(owner)
    before = [await owner.fetch(f"select t.* from {table} t order by t") for table in WRITTEN]
    stopped: set[str] = set()

    async with connected(urls.daemon_url) as session, connected(urls.owner_url) as blocker:
        await session.execute("set statement_timeout = '100 ms'")
        for table in WRITTEN:
            async with blocker.transaction():
                await blocker.execute(f"lock table {table} in share mode")
                stopped |= {name for name, call in CALLS.items() if await is_stopped(session, call)}
        held = await owner.fetchval("select count(*) from pg_locks where locktype = 'advisory'")
    after = [await owner.fetch(f"select t.* from {table} t order by t") for table in WRITTEN]

    assert held == 0
    assert after == before
    assert WRITERS - stopped == set()


async def is_stopped(session: Connection, call: str) -> bool:
    """Make a call and undo it; return whether the timeout ended it. The owner's calls are not the daemon's to make."""
    transaction = session.transaction()
    await transaction.start()
    try:
        await session.fetch(call)
    except asyncpg.QueryCanceledError:
        return True
    except asyncpg.InsufficientPrivilegeError:
        return False
    finally:
        await transaction.rollback()
    return False


async def test_the_end_of_a_sweep_that_timed_out_frees_its_lock_for_the_next(
    owner: Database, urls: TestDatabase
) -> None:
    await set_the_stage(owner)
    sweep, gate = "select check_and_queue_stale_data_from_presence_v2()", "select * from invoke_processor_loop_v2()"

    async with connected(urls.daemon_url) as session, connected(urls.owner_url) as blocker:
        await session.execute("set statement_timeout = '100 ms'")
        async with blocker.transaction():
            await blocker.execute("lock table api_call_queue_v2_pending, api_data_usage_v2 in share mode")
            for statement in (sweep, gate):
                with pytest.raises(asyncpg.QueryCanceledError):
                    await session.fetch(statement)

            assert await owner.fetchval("select pg_try_advisory_lock(42) and pg_try_advisory_lock(44)")
