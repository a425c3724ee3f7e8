"""Retention: old rows go in small steps, their sums stay for ever, and nobody waits."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import pytest

from daemon.contracts import Pair
from daemon.store.database import Database
from daemon.store.queue import Effect, apply_effect, claim_jobs
from tests.databases import TestDatabase
from tests.rows import counts, make_ready, orphans, queue
from tests.store.test_queue import completion

FINISHED = """
insert into api_call_queue_v2 (
    symbol, data_type, status, lane, priority, gain, retry_count, created_at, claimed_at, finished_at,
    actual_data_size_bytes, outcome
)
select 'S' || n, 'quote', $1, 1, 1, 1, 2, at - interval '5 s', at - interval '2 s', at, 100, $2
from generate_series(1, $4::int) n, (select now() - make_interval(secs => $3) as at) t
"""
HISTORY = """
select sum(jobs)::int, sum(retries)::int, sum(bytes)::int, sum(waited_seconds), sum(worked_seconds)
from job_history_v2
"""


async def finished(owner: Database, status: str, outcome: str, days: float, rows: int) -> None:
    await owner.execute(FINISHED, status, outcome, days * 86400, rows)


async def maintain(database: Database, most_rows: int = 10_000) -> dict[str, Any]:
    return dict(await database.fetchval("select maintain_queue_partitions_v2($1)", most_rows))


async def test_completed_jobs_stay_seven_days_and_failed_ones_thirty(owner: Database, database: Database) -> None:
    for days in (6.9, 7.1, 29.9, 30.1):
        await finished(owner, "completed", "changed", days, 1)
        await finished(owner, "failed", "failed", days, 1)

    report = await maintain(database)

    assert report == {"completed": 3, "failed": 1, "attempts": 0, "more": False, "not_done": []}
    assert await counts(owner) == {"completed": 1, "failed": 3}


async def test_every_job_is_counted_once_before_and_after_its_row_is_removed(
    owner: Database, database: Database
) -> None:
    await finished(owner, "completed", "changed", 8, 20)
    await finished(owner, "completed", "unchanged", 8, 5)
    await finished(owner, "completed", "changed", 1, 3)
    await finished(owner, "failed", "failed", 40, 2)
    before = await owner.fetchrow(HISTORY)

    await maintain(database, 7)
    between = await owner.fetchrow(HISTORY)
    while (await maintain(database, 7))["more"]:
        pass

    assert before == between == await owner.fetchrow(HISTORY)
    assert before is not None
    assert tuple(before) == (30, 60, 3000, 90.0, 60.0)
    rows = await owner.fetch("select outcome, sum(jobs)::int as jobs from job_summaries_v2 group by outcome order by 1")
    assert [tuple(row) for row in rows] == [("changed", 20), ("failed", 2), ("unchanged", 5)]


async def test_it_works_in_steps_and_says_that_more_is_left(owner: Database, database: Database) -> None:
    await finished(owner, "completed", "changed", 8, 25)

    reports = [await maintain(database, 10) for _ in range(3)]

    assert [(report["completed"], report["more"]) for report in reports] == [(10, True), (10, True), (5, False)]


async def test_attempts_are_removed_after_the_window_and_their_hours_stay(owner: Database, database: Database) -> None:
    await owner.execute(
        "insert into api_data_usage_v2 (upstream, holder, reserved_at, settled_at, calls, bytes)"
        " select 'fmp', 'x', now() - make_interval(days => d), now(), 1, 10 from unnest(array[1, 29, 31, 60]) d"
    )
    await owner.execute("select roll_up_usage_v2()")

    report = await maintain(database)

    assert report["attempts"] == 2
    assert await owner.fetchval("select sum(calls)::int from api_usage_hours_v2") == 4
    assert await owner.fetchval("select bytes_in_30_days::int from upstream_usage_v2('fmp')") == 20


@pytest.mark.parametrize("locked", ["api_call_queue_v2_completed", "api_data_usage_v2"])
async def test_a_locked_table_is_left_for_another_time_and_named(
    owner: Database, database: Database, urls: TestDatabase, locked: str
) -> None:
    await finished(owner, "completed", "changed", 8, 1)
    await finished(owner, "failed", "failed", 40, 1)
    other = await asyncpg.connect(urls.owner_url)

    async with other.transaction():
        await other.execute(f"lock table {locked} in access exclusive mode")
        report = await asyncio.wait_for(maintain(database), 30)
    await other.close()

    assert len(report["not_done"]) == 1
    assert "lock timeout" in report["not_done"][0]
    assert report["failed"] == 1
    assert (await maintain(database))["not_done"] == []
    assert await counts(owner) == {}


@pytest.mark.parametrize("most_rows", [0, -1, None])
async def test_a_step_of_no_rows_is_refused(database: Database, most_rows: int | None) -> None:
    with pytest.raises(asyncpg.InvalidParameterValueError, match="at least one row"):
        await database.fetchval("select maintain_queue_partitions_v2($1)", most_rows)


async def test_maintenance_beside_running_claimers_and_finishers_disturbs_nobody(
    owner: Database, database: Database
) -> None:
    symbols = [f"S{number}" for number in range(60)]
    await make_ready(owner, symbols)
    await finished(owner, "completed", "changed", 8, 3000)
    await finished(owner, "failed", "failed", 40, 1000)
    await queue(owner, *(Pair(symbol, "profile") for symbol in symbols))
    done: list[str] = []

    async def work(number: int) -> None:
        while jobs := await claim_jobs(database, 2, f"w{number}/1", 30):
            applied = await apply_effect(database, Effect([completion(job) for job in jobs]))
            done.extend(applied.verdicts.values())

    async def clean() -> None:
        while True:
            report = await maintain(database, 100)
            assert report["not_done"] == []
            if not report["more"]:
                return

    await asyncio.gather(*(work(number) for number in range(4)), *(clean() for _ in range(3)))
    await work(9)

    assert done == ["completed"] * 60
    assert await counts(owner) == {"completed": 60}
    assert await orphans(owner) == 0
    assert await owner.fetchval("select sum(jobs)::int from job_history_v2") == 4060
