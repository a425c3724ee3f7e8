"""procrastinate under measurement, at the settings that its documentation recommends for short jobs.

As many connections as jobs at a time, and one more; notifications on; succeeded jobs deleted; deduplication by
``queueing_lock``. Jobs of one batch need a lock each, which ``Task.batch_defer_async`` cannot give: the batch goes
through the job manager that it uses.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Self

import asyncpg
from procrastinate import App, PsycopgConnector

from bench.queue_rounds import OnStart

CONCURRENCY = 20


class Procrastinate:
    """procrastinate's queue.

    Args:
        app: Open, with its schema applied.
        looking: A connection for what is not measured.
    """

    name = "procrastinate"

    def __init__(self, app: App, looking: asyncpg.Connection[asyncpg.Record]) -> None:
        self._app = app
        self._looking = looking
        self._on_start: OnStart = lambda _: None
        self._task = app.task(name="refresh")(self._refresh)

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str) -> AsyncIterator[Self]:
        """Install it into an empty database."""
        connector = PsycopgConnector(conninfo=url, min_size=CONCURRENCY + 1, max_size=CONCURRENCY + 1)
        app = App(connector=connector)
        looking = await asyncpg.connect(url)
        try:
            async with app.open_async():
                await app.schema_manager.apply_schema_async()
                yield cls(app, looking)
        finally:
            await looking.close()

    async def clear(self) -> None:
        """Empty the queue and its events."""
        await self._looking.execute("truncate procrastinate_jobs, procrastinate_events, procrastinate_workers cascade")

    async def settle_down(self) -> None:
        """Let statistics and dead rows be as autovacuum would leave them."""
        await self._looking.execute("vacuum (analyze) procrastinate_jobs")

    async def enqueue(self, numbers: Sequence[int]) -> None:
        """Defer jobs in one call, none twice; a trigger notifies the worker."""
        jobs = [self._task.configure(queueing_lock=str(n)).make_new_job(number=n) for n in numbers]
        await self._app.job_manager.batch_defer_jobs_async(jobs)

    async def drain(self, jobs: int) -> float:
        """Start a worker on a backlog; return the seconds until the last job was deleted as succeeded."""
        self._on_start = lambda _: None
        started_at: datetime = await self._looking.fetchval("select clock_timestamp()")
        await self._app.run_worker_async(**self._settings(), wait=False)
        ended_at: datetime = await self._looking.fetchval("select clock_timestamp()")
        left = await self._looking.fetchval("select count(*) from procrastinate_jobs")
        assert left == 0, f"{left} of {jobs} jobs are left"
        return (ended_at - started_at).total_seconds()

    @asynccontextmanager
    async def worker(self, on_start: OnStart) -> AsyncIterator[None]:
        """Run a worker that waits for notifications."""
        self._on_start = on_start
        worker = asyncio.create_task(self._app.run_worker_async(**self._settings()))
        try:
            yield
        finally:
            worker.cancel()
            await asyncio.wait([worker])

    def _settings(self) -> dict[str, Any]:
        return {"concurrency": CONCURRENCY, "delete_jobs": "successful", "install_signal_handlers": False}

    async def _refresh(self, number: int) -> None:
        self._on_start(number)
