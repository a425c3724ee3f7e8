"""Our own queue as it grows: the claim over backlog and history, and the sweep over viewed pairs."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from statistics import median

import asyncpg

from bench.queue_own import BATCH_SIZES, HOLDER
from bench.queue_server import Server, opened, run_as_owner, stay_alive
from daemon.store.database import Database
from daemon.store.queue import claim_jobs, release_jobs

WARM_UP = 6
"""After five executions PostgreSQL may settle for a generic plan: what a long-lived session runs is measured."""

SWEEP_LIMIT_SECONDS = 60.0
"""A sweep that takes longer is given up, and counts as this long."""

_BACKLOG = """
with jobs as (
    insert into api_call_queue_v2_pending (symbol, data_type, lane, priority, gain, estimated_data_size_bytes)
    select 'S' || lpad(i::text, 7, '0'), 'quote', 1, 1 + i % 9, random() * 1000, 2000
    from generate_series(0, $1 - 1) i
    returning symbol, data_type, id
)
insert into refresh_state_v2 (symbol, data_type, last_success_at, next_due_at, open_job_id)
select symbol, data_type, now() - interval '2 min', now() - interval '1 min', id from jobs
"""
_COMPLETED = """
insert into api_call_queue_v2_completed (
    id, symbol, data_type, status, lane, priority, gain, claims, created_at, claimed_at, finished_at, claimed_by,
    estimated_data_size_bytes, actual_data_size_bytes, outcome
)
select gen_random_uuid(), 'S' || lpad((i % 250000)::text, 7, '0'), 'quote', 'completed', 1, 1, 60, 1,
       now() - i * interval '0.5 s', now() - i * interval '0.5 s', now() - i * interval '0.5 s', 'bench/1', 2000, 2000,
       'changed'
from generate_series(1, $1) i
"""
_VIEWED = """
insert into active_subscriptions_v2 (user_id, symbol, data_type, source)
select 'user:' || v, 'S' || lpad((i / 2)::text, 7, '0'), (array['quote', 'profile'])[1 + i % 2], 'viewers:0'
from generate_series(0, $1 - 1) i, generate_series(1, 1 + i % 3) v
"""
_NEXT_DUE = """
update refresh_state_v2
set open_job_id = null, last_success_at = now() - interval '2 min', next_due_at = now() + $1::interval
"""
_SWEEP = "select check_and_queue_stale_data_from_presence_v2()"


async def measure_claims(server: Server, backlogs: Sequence[int], completed: int, samples: int) -> dict[str, float]:
    """Claim 100 jobs over and over from backlogs of several depths, in turn; return the median milliseconds of each.

    The last one, ``history``, is the smallest backlog with ``completed`` finished rows beside it. Every claim is
    committed, and given back outside of the time.
    """
    situations = [*((f"{jobs:,} pending", jobs, 0) for jobs in backlogs), ("history", backlogs[0], completed)]
    taken: dict[str, list[float]] = {name: [] for name, *_ in situations}
    async with AsyncExitStack() as stack:
        databases = []
        for number, (name, jobs, done) in enumerate(situations):
            place, owner, database = await stack.enter_async_context(opened(server, f"claims_{number}"))
            await run_as_owner(place, (_BACKLOG, [jobs]), (_COMPLETED, [done]), ("vacuum (analyze)", []))
            await stay_alive(owner)
            databases.append((name, database))
        await server.checkpoint()
        for turn in range(WARM_UP + samples):
            for name, database in databases:
                seconds = await _claim_once(database)
                if turn >= WARM_UP:
                    taken[name].append(seconds)
    return {name: 1000 * median(seconds) for name, seconds in taken.items()}


async def _claim_once(database: Database) -> float:
    started_at = time.perf_counter()
    jobs = await claim_jobs(database, 1, HOLDER, 30, BATCH_SIZES)
    seconds = time.perf_counter() - started_at
    assert len(jobs) == BATCH_SIZES["quote"], f"{len(jobs)} jobs claimed"
    await release_jobs(database, jobs)
    await stay_alive(database)
    return seconds


async def measure_sweep(server: Server, pairs: int, rounds: int) -> dict[str, float]:
    """Sweep viewed pairs: never seen before, all queued already, all due, none due; return median seconds of each."""
    taken: dict[str, list[float]] = {"never seen": [], "all queued": [], "all due": [], "none due": []}
    async with opened(server, "sweeps") as (place, owner, _):
        await run_as_owner(place, (_VIEWED, [pairs]), ("vacuum (analyze)", []))
        connection = await asyncpg.connect(place.daemon_url, command_timeout=SWEEP_LIMIT_SECONDS)

        async def sweep(name: str) -> None:
            await owner.execute("update active_subscriptions_v2 set last_seen_at = now()")
            await stay_alive(owner)
            await server.checkpoint()
            started_at = time.perf_counter()
            with contextlib.suppress(TimeoutError):
                await connection.fetchval(_SWEEP)
            taken[name].append(time.perf_counter() - started_at)

        try:
            for _ in range(rounds):
                await run_as_owner(
                    place, ("truncate api_call_queue_v2, refresh_state_v2", []), ("vacuum (analyze)", [])
                )
                await sweep("never seen")
                await sweep("all queued")
                for name, due_in in (("all due", timedelta(hours=-1)), ("none due", timedelta(hours=1))):
                    await run_as_owner(
                        place,
                        ("truncate api_call_queue_v2", []),
                        (_NEXT_DUE, [due_in]),
                        ("vacuum (analyze)", []),
                    )
                    await sweep(name)
        finally:
            await connection.close()
    return {name: median(seconds) for name, seconds in taken.items()}
