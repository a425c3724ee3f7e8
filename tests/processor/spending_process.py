"""One of several processes that make calls as fast as the budgets let them, until it is killed.

Run as: python -m tests.processor.spending_process DATABASE_URL UPSTREAM_URL HOLDER
"""

from __future__ import annotations

import asyncio
import sys

from daemon.contracts import CallRefusedError, FetchError
from daemon.fetchers.client import HttpUpstream
from daemon.processor.breaker import Breaker, BreakerLimits
from daemon.processor.spending import Spender
from daemon.store.budgets import settle
from daemon.store.clock import DatabaseClock
from daemon.store.database import Database

WORKERS = 8
LIMITS = BreakerLimits(open_seconds=1.0, longest_open_seconds=1.0, probe_seconds=2.0)


async def spend(spender: Spender, database: Database) -> None:
    """Make one call after the other."""
    while True:
        purse = spender.purse(100)
        try:
            await purse.get("quote", {"symbol": "AAPL"})
        except CallRefusedError as error:
            await asyncio.sleep(min(error.retry_after_seconds, 0.05))
        except FetchError:
            pass
        await settle(database, purse.settlements)


async def main(database_url: str, upstream_url: str, holder: str) -> None:
    """Spend with several workers."""
    clock = DatabaseClock()
    async with (
        Database(database_url, max_connections=WORKERS) as database,
        HttpUpstream(upstream_url, "test-key", version="test", allow_loopback=True) as client,
        asyncio.TaskGroup() as group,
    ):
        await clock.synchronise(database)
        spender = Spender(database, "fmp", holder, client, Breaker(database, "fmp", LIMITS, clock), clock)
        for _ in range(WORKERS):
            group.create_task(spend(spender, database))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
