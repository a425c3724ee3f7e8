"""Rows that tests start from, and what they look at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from daemon.contracts import Pair
from daemon.store.budgets import Limits, announce_limits
from daemon.store.catalogue import seed_symbols
from daemon.store.database import Database
from daemon.store.flags import list_flags, set_flags

PLENTY = 1_000_000
HOLDER = "test/1"


async def make_ready(
    owner: Database,
    symbols: Sequence[str] = ("AAPL", "MSFT"),
    *,
    calls: int = PLENTY,
    bytes_per_30_days: int = 20_000_000_000,
) -> None:
    """Allow the symbols, announce limits, and turn everything on."""
    await seed_symbols(owner, [(symbol, None) for symbol in symbols])
    await announce_limits(owner, "fmp", "test", Limits(calls, bytes_per_30_days))
    await set_flags(owner, [flag.name for flag in await list_flags(owner)], enabled=True)


async def queue(owner: Database, *pairs: Pair, priority: int = 1) -> list[Any]:
    """Queue pairs and return the jobs' ids in the order of the pairs."""
    rows = await owner.fetch(
        "select symbol, data_type, job_id from queue_refreshes_v2($1, $2, $3)",
        [pair.symbol for pair in pairs],
        [pair.data_type for pair in pairs],
        [priority] * len(pairs),
    )
    jobs = {Pair(row["symbol"], row["data_type"]): row["job_id"] for row in rows}
    return [jobs.get(pair) for pair in pairs]


async def counts(owner: Database) -> dict[str, int]:
    """Return how many jobs there are by status."""
    rows = await owner.fetch("select status, count(*) as jobs from api_call_queue_v2 group by status")
    return {row["status"]: row["jobs"] for row in rows}


async def orphans(owner: Database) -> int:
    """Return how many pairs break the rule of one open job: open without a job, or a job that is not the open one."""
    return int(
        await owner.fetchval(
            """
            with open as (
                select id, symbol, data_type from api_call_queue_v2_pending
                union all select id, symbol, data_type from api_call_queue_v2_processing
            )
            select count(*) from open full join refresh_state_v2 s using (symbol, data_type)
            where open.id is distinct from s.open_job_id
            """
        )
    )
