"""pgqueuer under measurement, at the settings that its guide to performance tuning recommends.

One connection of its own for the worker and a pool for producers; ``pgq autovac``; tables logged (the default), because
ours are; a larger batch than the default 10, because the jobs are short; deduplication by ``dedupe_key``, where a
duplicate is skipped.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Self

import asyncpg
from pgqueuer.models import Job
from pgqueuer.qm import QueueManager
from pgqueuer.queries import Queries
from pgqueuer.types import QueueExecutionMode

from bench.queue_rounds import OnStart

BATCH_SIZE = 500
ENTRYPOINT = "refresh"


class Pgqueuer:
    """pgqueuer's queue.

    Args:
        url: Its database.
        producers: The connections that enqueue, and look.
    """

    name = "pgqueuer"

    def __init__(self, url: str, producers: asyncpg.Pool[asyncpg.Record]) -> None:
        self._url = url
        self._producers = producers
        self._queries = Queries.from_asyncpg_pool(producers)

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str) -> AsyncIterator[Self]:
        """Install it into an empty database."""
        async with asyncpg.create_pool(url, min_size=2, max_size=10) as producers:
            queue = cls(url, producers)
            await queue._queries.install()
            await queue._queries.optimize_autovacuum()
            yield queue

    async def clear(self) -> None:
        """Empty the queue and its log."""
        await self._producers.execute("truncate pgqueuer, pgqueuer_log, pgqueuer_statistics")

    async def settle_down(self) -> None:
        """Let statistics and dead rows be as autovacuum would leave them."""
        await self._producers.execute("vacuum (analyze) pgqueuer")

    async def enqueue(self, numbers: Sequence[int]) -> None:
        """Enqueue jobs in one call, none twice; a trigger notifies the worker."""
        keys = [str(number) for number in numbers]
        await self._queries.enqueue(
            [ENTRYPOINT] * len(keys),
            [key.encode() for key in keys],
            [0] * len(keys),
            dedupe_key=keys,
            on_conflict="skip",
        )

    async def drain(self, jobs: int) -> float:
        """Start a worker on a backlog; return the seconds until the last job was logged as done."""
        started_at: datetime = await self._producers.fetchval("select clock_timestamp()")
        connection = await asyncpg.connect(self._url)
        try:
            manager = self._manager(connection, lambda _: None)
            await manager.run(batch_size=BATCH_SIZE, mode=QueueExecutionMode.drain)
        finally:
            await connection.close()
        row = await self._producers.fetchrow(
            "select max(created) as last, count(*) as jobs from pgqueuer_log where status = 'successful'"
        )
        assert row is not None
        assert row["jobs"] == jobs, f"{row['jobs']} of {jobs} jobs completed"
        return float((row["last"] - started_at).total_seconds())

    @asynccontextmanager
    async def worker(self, on_start: OnStart) -> AsyncIterator[None]:
        """Run a worker that waits for notifications."""
        connection = await asyncpg.connect(self._url)
        try:
            manager = self._manager(connection, on_start)
            async with asyncio.TaskGroup() as group:
                group.create_task(manager.run(batch_size=BATCH_SIZE))
                yield
                manager.shutdown.set()
        finally:
            await connection.close()

    def _manager(self, connection: asyncpg.Connection[asyncpg.Record], on_start: OnStart) -> QueueManager:
        async def start(job: Job) -> None:
            assert job.payload
            on_start(int(job.payload))

        manager = QueueManager(Queries.from_asyncpg_connection(connection))
        manager.entrypoint(ENTRYPOINT)(start)
        return manager
