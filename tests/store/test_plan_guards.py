"""Plans that do not turn bad with the queue's size: those made when a table was empty are the ones that are kept."""

from __future__ import annotations

import asyncpg
import pytest

from daemon.store.database import Database
from tests.databases import TestDatabase
from tests.rows import make_ready

pytestmark = pytest.mark.direct

JOBS = 2_000
HOT = ("api_call_queue_v2_pending", "api_call_queue_v2_processing", "refresh_state_v2")
READ_PER_TABLE = """
select relname, coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0) as rows
from pg_stat_user_tables where relname = any($1)
"""
READ_PER_INDEX = (
    "select relname, sum(idx_tup_read) as rows from pg_stat_user_indexes where relname = any($1) group by 1"
)


async def read_rows(session: asyncpg.Connection[asyncpg.Record]) -> dict[str, int]:
    """Return how many rows and index entries of each table were looked at so far."""
    await session.execute("select pg_stat_force_next_flush()")
    await session.execute("select pg_stat_clear_snapshot()")
    total = dict.fromkeys(HOT, 0)
    for query in (READ_PER_TABLE, READ_PER_INDEX):
        for row in await session.fetch(query, list(HOT)):
            total[row["relname"]] += int(row["rows"])
    return total


@pytest.mark.parametrize("analyzed", ["empty", "full"])
async def test_what_a_job_costs_to_look_up_does_not_grow_with_their_number(
    owner: Database, urls: TestDatabase, analyzed: str
) -> None:
    symbols = [f"S{number}" for number in range(JOBS)]
    await make_ready(owner, symbols)
    await owner.execute(
        "insert into active_subscriptions_v2 (user_id, symbol, data_type, source)"
        " select 'user:1', symbol, 'quote', 's' from supported_symbols"
    )
    session = await asyncpg.connect(urls.daemon_url, statement_cache_size=0)
    admin = await asyncpg.connect(urls.owner_url)
    if analyzed == "empty":
        await admin.execute("vacuum (analyze)")
    before = await read_rows(session)

    for start in range(0, JOBS // 2, 100):
        chunk = symbols[start : start + 100]
        await session.fetch("select * from queue_refreshes_v2($1, $2, $3)", chunk, ["quote"] * 100, [1] * 100)
    await session.fetch("select check_and_queue_stale_data_from_presence_v2()")
    if analyzed == "full":
        await admin.execute("vacuum (analyze)")
    for _ in range(4):
        await session.fetch("select check_and_queue_stale_data_from_presence_v2()")
        await session.fetch("select check_and_queue_stale_pairs_v2($1, $2, $3)", symbols, ["quote"] * JOBS, [1] * JOBS)
    for _ in range(10):
        await session.fetch("select * from get_queue_batch_v2(1, 'a/1')")
    after = await read_rows(session)

    await session.close()
    await admin.close()
    per_job = {table: (after[table] - before[table]) / JOBS for table in HOT}
    assert sum(per_job.values()) > 10  # it was counted at all
    assert max(per_job.values()) < 200, per_job
