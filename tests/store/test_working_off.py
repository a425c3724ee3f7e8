"""What claiming, completing and recovering promise, asked of each function directly."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import asyncpg

from daemon.store.database import Database
from tests.databases import TestDatabase
from tests.rows import counts, make_ready, queue
from tests.store.calls import claim, complete
from tests.store.test_queue import PROFILE, QUOTE

ESTIMATE = "select estimated_data_size_bytes from data_type_state_v2 where data_type = 'quote'"
OTHER_TYPE = """
insert into data_type_registry_v2 (
    data_type, table_name, timestamp_column, staleness_function, default_ttl_minutes, edge_function_name, upstream,
    key_columns, estimated_data_size_bytes, batch_size
) values ($1, $2, 'fetched_at', 'is_data_stale_v2', 5, 'other', $3, '{symbol}', 100, 1)
"""


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


async def test_new_rows_without_an_etag_are_not_asked_for_by_the_old_one(owner: Database, database: Database) -> None:
    await make_ready(owner)
    etags = []
    for outcome, etag in (("changed", '"a"'), ("unchanged", None), ("empty", None), ("changed", None)):
        await queue(owner, QUOTE)
        [job] = await claim(database)
        await database.execute(
            "select complete_queue_job_v2($1, $2, $3, now(), now(), 9, null, $4)",
            job["job_id"],
            job["lease_id"],
            outcome,
            etag,
        )
        etags.append(await owner.fetchval("select etag from refresh_state_v2"))

    assert etags == ['"a"', '"a"', '"a"', None]


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
