"""Databases with a backlog of a known depth, and what keeps it that deep while daemons work it off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg

from bench.queue_server import Place, Server, run_as_owner
from daemon.contracts import type_flag
from daemon.service import wait_or_stop
from daemon.store.database import Database
from daemon.store.flags import list_flags, set_flags

FEED_SECONDS = 0.02
SPARE_JOBS = {"quote": 4_000, "profile": 100}
"""On top of the depth: what two daemons have in hand (16 calls each), and what waits to be fed again."""

_ROWS = {
    "quote": "insert into live_quote_indicators (symbol, price, fetched_at) select symbol, 1, now() from pairs",
    "profile": "insert into profiles (symbol, company_name, modified_at) select symbol, 'none yet', now() from pairs",
}
_PAIRS = """
create unlogged table pairs as select 'S' || lpad(i::text, 7, '0') as symbol from generate_series(0, $1::int - 1) i
"""
_STATE = """
insert into refresh_state_v2 (symbol, data_type, last_success_at, next_due_at, open_job_id)
select symbol, $1, now() - interval '2 min', now() - interval '1 min', gen_random_uuid() from pairs
"""
_JOBS = """
insert into api_call_queue_v2_pending
    (id, symbol, data_type, lane, priority, gain, estimated_data_size_bytes, created_at)
select open_job_id, symbol, data_type, 1, 1 + (random() * 9)::int, random() * 1000, 2000, now() + interval '1 day'
from refresh_state_v2
"""
"""As if queued tomorrow: a sweep drops jobs that are older than minutes and that nobody views."""

_FEED = """
with done as (
    delete from api_call_queue_v2_completed returning symbol, data_type
),
jobs as (
    insert into api_call_queue_v2_pending
        (symbol, data_type, lane, priority, gain, estimated_data_size_bytes, created_at)
    select symbol, data_type, 1, 1 + (random() * 9)::int, random() * 1000, 2000, now() + interval '1 day'
    from done order by symbol, data_type
    returning id, symbol, data_type
),
opened as (
    update refresh_state_v2 s set open_job_id = j.id, next_due_at = now() from jobs j
    where s.symbol = j.symbol and s.data_type = j.data_type
    returning 1
)
select count(*) from opened
"""
_BY_INDEX = {"enable_seqscan": "off", "enable_hashjoin": "off", "enable_mergejoin": "off"}
"""For the feeder: what it costs must not depend on the depth either."""

_CALLS = "select coalesce(max(id), 0) from api_data_usage_v2"
_HOLD_SWEEPS = "select pg_advisory_lock(42)"
"""The lock under which one daemon sweeps for all: while it is held, sweeps do nothing. They are measured alone."""

_OTHER_ENDS = "select count(*) from api_call_queue_v2_failed"
_FORGET = "truncate api_data_usage_v2, api_usage_hours_v2"


@dataclass(frozen=True, slots=True)
class Backlog:
    """A database in which so many viewed pairs of one data type wait."""

    data_type: str
    depth: int
    place: Place

    @property
    def name(self) -> str:
        """What the table calls it."""
        return f"{self.data_type}, {self.depth:,} pending"

    async def make_even(self) -> None:
        """Forget the calls of the round before and let statistics and dead rows be as autovacuum would leave them.

        What a reservation costs grows with the calls of the last minutes: each situation starts with none.
        """
        await run_as_owner(self.place, (_FORGET, []), *((f"vacuum (analyze) {t}", []) for t in _CHURNED))


_CHURNED = ("api_call_queue_v2_pending", "api_call_queue_v2_processing", "refresh_state_v2", "upstreams_v2")


async def create_backlog(server: Server, template: str, data_type: str, depth: int) -> Backlog:
    """Copy the template and fill it: rows to refresh, their state, and an open job for each pair."""
    place = await server.create(f"throughput_{data_type}_{depth}", template)
    jobs = depth + SPARE_JOBS[data_type]
    await run_as_owner(
        place, (_PAIRS, [jobs]), (_ROWS[data_type], []), (_STATE, [data_type]), (_JOBS, []), ("vacuum (analyze)", [])
    )
    async with Database(place.owner_url) as owner:
        await set_flags(owner, [flag.name for flag in await list_flags(owner)], enabled=False)
        await set_flags(owner, ["use_queue_system", type_flag(data_type)], enabled=True)
    return Backlog(data_type, depth, place)


@dataclass(slots=True)
class Feeder:
    """Queues every pair again whose job was completed, so that the depth stays; counts what was completed."""

    connection: asyncpg.Connection[asyncpg.Record]
    pid: int
    completed: int = 0
    calls: int = 0
    """The number of the last reservation: calls that were made, whatever number the first one had."""

    async def run(self, stop: asyncio.Event) -> None:
        """Feed until ``stop``, and once after it."""
        while not await wait_or_stop(stop, FEED_SECONDS):
            await self._once()
        await self._once()

    async def _once(self) -> None:
        self.completed += await self.connection.fetchval(_FEED)
        self.calls = max(self.calls, await self.connection.fetchval(_CALLS))


@asynccontextmanager
async def fed(backlog: Backlog) -> AsyncIterator[Feeder]:
    """Keep a backlog at its depth, and sweeps away from it.

    Raises:
        AssertionError: When a job ended in another way than by completion.
    """
    connection = await asyncpg.connect(backlog.place.owner_url, server_settings=_BY_INDEX)
    try:
        await connection.execute(_HOLD_SWEEPS)
        feeder = Feeder(connection, await connection.fetchval("select pg_backend_pid()"))
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(feeder.run(stop))
            try:
                yield feeder
            finally:
                stop.set()
        async with Database(backlog.place.owner_url) as owner:
            failed = await owner.fetchval(_OTHER_ENDS)
        assert failed == 0, f"{failed} jobs failed"
    finally:
        await connection.close()
