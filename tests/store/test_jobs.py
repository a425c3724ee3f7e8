"""Jobs as an operator handles them: listed within bounds, tried again, cancelled."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from daemon.contracts import Job, Pair
from daemon.store.database import Database
from daemon.store.demand import PairDemand, queue_stale_pairs, read_due_times, sweep
from daemon.store.flags import set_flags
from daemon.store.jobs import (
    BoundedCount,
    JobFilter,
    JobIdError,
    cancel_job,
    find_job,
    list_jobs,
    read_job,
    retry_job,
)
from daemon.store.queue import Effect, apply_effect, claim_jobs, renew_leases
from tests.databases import LOGIN
from tests.rows import HOLDER, counts, make_ready, orphans, queue
from tests.store.test_queue import PROFILE, QUOTE, completion, failure

FINISHED = """
insert into api_call_queue_v2 (symbol, data_type, status, lane, priority, gain, finished_at, outcome)
select $1, 'quote', $2, 1, 1, 1, now() - make_interval(secs => n), $3 from generate_series(1, $4) n
"""


async def fail_one(owner: Database, pair: Pair = QUOTE) -> Job:
    """Queue a pair and let its job fail for good."""
    await queue(owner, pair)
    [job] = await claim_jobs(owner, 1, HOLDER, 30)
    await apply_effect(owner, Effect(failures=[failure(job, retryable=False)]))
    return job


async def job_row(owner: Database, job_id: UUID) -> asyncpg.Record:
    row = await owner.fetchrow("select * from api_call_queue_v2 where id = $1", job_id)
    assert row is not None
    return row


async def view(owner: Database, pair: Pair) -> None:
    await owner.fetch(
        "select refresh_analytics_from_presence_v2('viewers:0', $1, null)",
        [{"user_id": "user:1", "symbol": pair.symbol, "data_type": pair.data_type}],
    )


async def test_a_failed_job_is_queued_again_as_a_fresh_one(owner: Database, database: Database) -> None:
    await make_ready(owner)
    job = await fail_one(owner)
    await owner.execute(
        "update api_call_queue_v2_failed"
        " set gain = 60, retry_count = 3, claims = 4, resets = 2,"
        " created_at = now() - interval '1 d', not_before = now() + '1 d'"
    )

    assert await retry_job(database, job.id) == "queued"

    row = await job_row(owner, job.id)
    assert (row["status"], row["retry_count"], row["claims"], row["resets"]) == ("pending", 0, 0, 0)
    assert (row["error_message"], row["outcome"], row["finished_at"]) == (None, None, None)
    assert (row["lane"], row["priority"], row["gain"]) == (0, 1, 60)
    assert await orphans(owner) == 0
    assert [claimed.id for claimed in await claim_jobs(database, 1, HOLDER, 30)] == [job.id]


async def test_a_job_tried_again_has_the_lane_and_the_size_that_hold_now(owner: Database, database: Database) -> None:
    await make_ready(owner)
    job = await fail_one(owner)
    await owner.execute("update refresh_state_v2 set last_success_at = now()")
    await owner.execute("update data_type_state_v2 set estimated_data_size_bytes = 777")

    await retry_job(database, job.id)

    row = await job_row(owner, job.id)
    assert (row["lane"], row["estimated_data_size_bytes"]) == (1, 777)


async def test_a_failed_job_stays_failed_while_its_pair_has_an_open_one(owner: Database, database: Database) -> None:
    await make_ready(owner)
    job = await fail_one(owner)
    [newer] = await queue(owner, QUOTE)

    assert await retry_job(database, job.id) == "open"
    await claim_jobs(database, 1, HOLDER, 30)
    assert await retry_job(database, job.id) == "open"

    assert await counts(owner) == {"failed": 1, "processing": 1}
    assert await owner.fetchval("select open_job_id from refresh_state_v2") == newer


async def test_only_failed_jobs_can_be_tried_again(owner: Database, database: Database) -> None:
    await make_ready(owner)
    [job_id] = await queue(owner, QUOTE)

    assert await retry_job(database, uuid4()) == "unknown"
    assert await retry_job(database, job_id) == "not_failed"
    [job] = await claim_jobs(database, 1, HOLDER, 30)
    assert await retry_job(database, job_id) == "not_failed"
    await apply_effect(database, Effect([completion(job)]))
    assert await retry_job(database, job_id) == "not_failed"
    assert await counts(owner) == {"completed": 1}


@pytest.mark.parametrize("flag", ["use_queue_system", "migrate_quote_type"])
async def test_nothing_is_tried_again_against_a_flag(owner: Database, database: Database, flag: str) -> None:
    await make_ready(owner)
    job = await fail_one(owner)
    await set_flags(owner, [flag], enabled=False)

    assert await retry_job(database, job.id) == "off"

    assert await counts(owner) == {"failed": 1}


@pytest.mark.parametrize(
    "statement",
    [
        "update supported_symbols set is_active = false",
        "delete from supported_symbols",
        "delete from data_type_registry_v2",
    ],
)
async def test_nothing_is_tried_again_that_could_not_be_queued(
    owner: Database, database: Database, statement: str
) -> None:
    await make_ready(owner)
    job = await fail_one(owner)
    await owner.execute(statement)

    assert await retry_job(database, job.id) == "not_allowed"

    assert await counts(owner) == {"failed": 1}


async def test_a_pair_whose_state_is_gone_is_tried_again_all_the_same(owner: Database, database: Database) -> None:
    await make_ready(owner)
    job = await fail_one(owner)
    await owner.execute("delete from refresh_state_v2")

    assert await retry_job(database, job.id) == "queued"

    assert await orphans(owner) == 0


async def test_two_failed_jobs_of_a_pair_tried_again_at_once_open_one(owner: Database, database: Database) -> None:
    await make_ready(owner)
    for _ in range(8):
        await fail_one(owner)
    failed = [row["id"] for row in await owner.fetch("select id from api_call_queue_v2_failed")]

    verdicts = await asyncio.gather(*(retry_job(database, job_id) for job_id in failed * 2))

    assert verdicts.count("queued") == 1
    assert await counts(owner) == {"failed": 7, "pending": 1}
    assert await orphans(owner) == 0


@pytest.mark.parametrize(("pair", "least_seconds"), [(QUOTE, 15 * 60), (PROFILE, 24 * 60 * 60)])
async def test_a_cancelled_job_is_failed_and_its_pair_not_due_at_once(
    owner: Database, database: Database, pair: Pair, least_seconds: float
) -> None:
    await make_ready(owner)
    await view(owner, pair)
    assert await sweep(database) == 1
    await owner.execute("update refresh_state_v2 set consecutive_failures = 2")
    job_id = await owner.fetchval("select id from api_call_queue_v2_pending")

    assert await cancel_job(database, job_id) == "cancelled"

    row = await job_row(owner, job_id)
    assert (row["status"], row["outcome"], row["error_message"]) == ("failed", "failed", f"cancelled by {LOGIN}")
    assert row["finished_at"] is not None
    assert await sweep(database) == 0
    assert await queue_stale_pairs(database, [PairDemand(pair, 1, 60)]) == 0
    [due] = await read_due_times(database, [pair])
    assert least_seconds - 60 < due.due_in_seconds <= least_seconds
    assert await owner.fetchval("select consecutive_failures from refresh_state_v2") == 2
    assert await orphans(owner) == 0


async def test_a_worker_whose_job_is_cancelled_changes_nothing_any_more(owner: Database, database: Database) -> None:
    await make_ready(owner)
    await queue(owner, QUOTE)
    [job] = await claim_jobs(database, 1, HOLDER, 30)

    assert await cancel_job(database, job.id) == "cancelled"

    assert await renew_leases(database, [job.lease_id], 30) == set()
    assert (await apply_effect(database, Effect([completion(job)]))).verdicts == {job.id: "lost"}
    assert (await apply_effect(database, Effect(failures=[failure(job)]))).verdicts == {job.id: "lost"}
    assert await owner.fetchval("select count(*) from live_quote_indicators") == 0
    assert await counts(owner) == {"failed": 1}
    [due] = await read_due_times(database, [QUOTE])
    assert due.due_in_seconds > 800


async def test_only_open_jobs_can_be_cancelled(owner: Database, database: Database) -> None:
    await make_ready(owner)
    job = await fail_one(owner)

    assert await cancel_job(database, job.id) == "not_open"
    assert await cancel_job(database, uuid4()) == "unknown"


async def test_cancelling_a_job_that_its_pair_does_not_know_leaves_the_open_one(
    owner: Database, database: Database
) -> None:
    await make_ready(owner)
    [job_id] = await queue(owner, QUOTE)
    other = uuid4()
    await owner.execute("update refresh_state_v2 set open_job_id = $1", other)

    assert await cancel_job(database, job_id) == "cancelled"

    assert await owner.fetchval("select open_job_id from refresh_state_v2") == other


async def test_sixteen_operators_against_claimers_leave_one_open_job_per_pair(
    owner: Database, database: Database
) -> None:
    symbols = [f"S{number}" for number in range(12)]
    await make_ready(owner, symbols)
    pairs = [Pair(symbol, data_type) for symbol in symbols for data_type in ("quote", "profile")]
    await queue(owner, *pairs)
    verdicts: set[str] = set()

    async def operate(number: int) -> None:
        for _ in range(6):
            rows = await owner.fetch("select id from api_call_queue_v2 where status <> 'completed' order by id")
            for row in rows[number % 4 :: 4]:
                verdicts.add(await (cancel_job if number % 2 else retry_job)(database, row["id"]))

    async def work(number: int) -> None:
        for _ in range(20):
            jobs = await claim_jobs(database, 3, f"w{number}/1", 30)
            middle = len(jobs) // 2
            good = [completion(job, due_in_seconds=-1) for job in jobs[:middle]]
            await apply_effect(database, Effect(good, [failure(job, retryable=False) for job in jobs[middle:]]))
            await queue(owner, *pairs)

    await asyncio.gather(*(operate(number) for number in range(16)), *(work(number) for number in range(4)))

    assert {"queued", "cancelled", "open"} <= verdicts
    assert await orphans(owner) == 0


async def test_jobs_are_listed_by_what_an_operator_looks_for_first(owner: Database, database: Database) -> None:
    await make_ready(owner, ["A", "B", "C", "D"])
    await owner.execute(FINISHED, "D", "completed", "changed", 2)
    await fail_one(owner, Pair("D", "quote"))
    [running] = await queue(owner, Pair("C", "profile"))
    await claim_jobs(database, 1, HOLDER, 30)
    few, many, scheduled = [
        await queue(owner, Pair(symbol, "quote"), priority=priority)
        for symbol, priority in (("A", 1), ("B", 9), ("C", -1))
    ]

    found = await list_jobs(database, JobFilter(), 50)

    assert [job["status"] for job in found.jobs] == ["processing", *["pending"] * 3, "failed", *["completed"] * 2]
    assert [job["id"] for job in found.jobs[:4]] == [running, *many, *few, *scheduled]
    assert found.jobs[5]["age_seconds"] < found.jobs[6]["age_seconds"]
    assert found.more == BoundedCount(0, exact=True)
    assert found.totals["pending"] == BoundedCount(3, exact=True)


@pytest.mark.parametrize(
    ("wanted", "symbols"),
    [
        (JobFilter(status="pending"), ["A", "A", "B"]),
        (JobFilter(status="failed"), ["C"]),
        (JobFilter(data_type="profile"), ["A"]),
        (JobFilter(symbol="C"), ["C"]),
        (JobFilter("failed", "profile", "C"), []),
        (JobFilter("pending", "quote", "B"), ["B"]),
    ],
)
async def test_a_filter_holds_for_rows_and_counts(
    owner: Database, database: Database, wanted: JobFilter, symbols: list[str]
) -> None:
    await make_ready(owner, ["A", "B", "C"])
    await fail_one(owner, Pair("C", "quote"))
    await queue(owner, Pair("A", "quote"), Pair("B", "quote"), Pair("A", "profile"))

    found = await list_jobs(database, wanted, 50)
    first = await list_jobs(database, wanted, 1)

    assert sorted(job["symbol"] for job in found.jobs) == symbols
    assert first.more.count == max(len(symbols) - 1, 0)
    assert {status: total.count for status, total in found.totals.items() if total.count} == {"pending": 3, "failed": 1}


async def test_the_order_of_pending_jobs_is_that_of_claims(owner: Database, database: Database) -> None:
    symbols = [f"S{number}" for number in range(9)]
    await make_ready(owner, symbols)
    for number, symbol in enumerate(symbols):
        await queue(owner, Pair(symbol, "quote" if number % 2 else "profile"), priority=1 + number * 7 % 9)

    listed = [job["id"] for job in (await list_jobs(database, JobFilter("pending"), 5)).jobs]

    assert listed == [job.id for job in await claim_jobs(database, 100, HOLDER, 30)][:5]


async def test_counts_stop_where_they_say(owner: Database, database: Database) -> None:
    await owner.execute(FINISHED, "A", "completed", "changed", 10_003)

    exact = await list_jobs(database, JobFilter(), 3)
    beyond = await list_jobs(database, JobFilter(), 2)

    assert exact.more == BoundedCount(10_000, exact=True)
    assert beyond.more == exact.totals["completed"] == BoundedCount(10_000, exact=False)


async def test_a_job_is_found_by_the_beginning_of_its_id(owner: Database, database: Database) -> None:
    await make_ready(owner)
    ids = await queue(owner, QUOTE, PROFILE)
    near = (UUID("0123456789ab" + "0" * 20), UUID("0123456789ac" + "0" * 20))
    for old, new in zip(ids, near, strict=True):
        await owner.execute("update api_call_queue_v2_pending set id = $2 where id = $1", old, new)

    for text in ("0123456789ab", "01234567-89AB", str(near[0]), near[0].hex):
        assert (await find_job(database, text)).id == near[0]
    with pytest.raises(JobIdError, match=f"several ids, give more of it: {near[0]}, {near[1]}"):
        await find_job(database, "01234567")


@pytest.mark.parametrize("text", ["", "1234567", "0123456g", "1" * 33, "%' or true --", "-" * 40])
async def test_what_is_no_id_is_refused(database: Database, text: str) -> None:
    with pytest.raises(JobIdError, match="is no job id"):
        await find_job(database, text)


async def test_an_id_of_no_job_is_refused(database: Database) -> None:
    with pytest.raises(JobIdError, match="there is no job 12345678"):
        await find_job(database, "12345678")
    assert await read_job(database, uuid4()) is None


async def test_a_job_is_read_with_the_state_of_its_pair(owner: Database, database: Database) -> None:
    await make_ready(owner)
    job = await fail_one(owner)

    found: Any = await read_job(database, job.id)

    row, state = found
    assert (row["id"], row["error_message"]) == (job.id, "timeout: test")
    assert (state["last_outcome"], state["consecutive_failures"]) == ("failed", 1)
