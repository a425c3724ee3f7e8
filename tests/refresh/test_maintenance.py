"""The service that removes old rows: at the start, by its schedule, and again soon when something was in the way."""

from __future__ import annotations

import asyncio

import asyncpg
from structlog.testing import capture_logs

from daemon.refresh.maintenance import Maintenance
from daemon.store.database import Database
from tests.clocks import StandingClock
from tests.databases import TestDatabase

OLD_JOBS = """
insert into api_call_queue_v2 (symbol, data_type, status, lane, priority, gain, finished_at, outcome)
select 'S', 'quote', 'completed', 1, 1, 1, now() - interval '8 days', 'changed' from generate_series(1, $1)
"""


async def test_one_turn_takes_as_many_steps_as_there_is_to_remove(owner: Database, database: Database) -> None:
    await owner.execute(OLD_JOBS, 10_500)
    maintenance = Maintenance(database, StandingClock(), "0 2 * * *")

    with capture_logs() as lines:
        done = await maintenance._once(asyncio.Event())

    assert done
    assert maintenance.last_success_monotonic is not None
    assert [(line["event"], line["completed"]) for line in lines] == [("old_rows_removed", 10_500)]
    assert await owner.fetchval("select count(*) from api_call_queue_v2") == 0
    assert await owner.fetchval("select sum(jobs)::int from job_summaries_v2") == 10_500


async def test_what_could_not_be_done_is_told_and_is_no_success(
    owner: Database, database: Database, urls: TestDatabase
) -> None:
    await owner.execute(OLD_JOBS, 1)
    maintenance = Maintenance(database, StandingClock(), "0 2 * * *")
    other = await asyncpg.connect(urls.owner_url)

    async with other.transaction():
        await other.execute("lock table api_call_queue_v2_completed in access exclusive mode")
        with capture_logs() as lines:
            done = await maintenance._once(asyncio.Event())
    await other.close()

    assert not done
    assert maintenance.last_success_monotonic is None
    assert [line["event"] for line in lines] == ["maintenance_incomplete"]
    assert "completed" in lines[0]["not_done"][0]
