"""What a claim and a sweep cost by the depth of the backlog, while nobody else works."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from statistics import median

import asyncpg

from bench.queue_own import BATCH_SIZES, HOLDER
from bench.queue_scale import WARM_UP
from bench.queue_server import Server, stay_alive
from bench.throughput_backlog import Backlog
from daemon.store.database import Database
from daemon.store.queue import claim_jobs, release_jobs

_SWEEP = "select check_and_queue_stale_data_from_presence_v2()"


async def measure_claims(server: Server, backlogs: Sequence[Backlog], samples: int) -> dict[str, float]:
    """Claim what fills one call, from one backlog after the other; return the median milliseconds of each by its name.

    Every claim is committed, and given back outside of the time.
    """
    taken: dict[str, list[float]] = {backlog.name: [] for backlog in backlogs}
    async with AsyncExitStack() as stack:
        databases = []
        for backlog in backlogs:
            database = await stack.enter_async_context(Database(backlog.place.daemon_url))
            databases.append((backlog, database))
        await server.checkpoint()
        for turn in range(WARM_UP + samples):
            for backlog, database in databases:
                seconds = await _claim_once(backlog, database)
                if turn >= WARM_UP:
                    taken[backlog.name].append(seconds)
    return {name: 1000 * median(seconds) for name, seconds in taken.items()}


async def measure_sweeps(backlogs: Sequence[Backlog], samples: int) -> dict[str, float]:
    """Sweep backlogs that nobody views, one after the other; return the median seconds of each by its name.

    The daemon does so once a minute, all processes together, and gives a sweep up after `COMMAND_TIMEOUT_SECONDS`.
    """
    taken: dict[str, list[float]] = {backlog.name: [] for backlog in backlogs}
    for _ in range(samples):
        for backlog in backlogs:
            connection = await asyncpg.connect(backlog.place.daemon_url, statement_cache_size=0)
            try:
                started_at = time.perf_counter()
                await connection.execute(_SWEEP)
                taken[backlog.name].append(time.perf_counter() - started_at)
            finally:
                await connection.close()
    return {name: median(seconds) for name, seconds in taken.items()}


async def _claim_once(backlog: Backlog, database: Database) -> float:
    await stay_alive(database)
    started_at = time.perf_counter()
    jobs = await claim_jobs(database, 1, HOLDER, 30, BATCH_SIZES)
    seconds = time.perf_counter() - started_at
    assert len(jobs) == BATCH_SIZES[backlog.data_type], f"{len(jobs)} jobs claimed"
    await release_jobs(database, jobs)
    return seconds
