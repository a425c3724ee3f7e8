"""Our own queue under measurement: the daemon's store, processor, breaker and budgets. The upstream does nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime

from bench.queue_rounds import OnStart
from bench.queue_server import UPSTREAM, stay_alive
from daemon.contracts import (
    Answer,
    Fetched,
    FetchError,
    FetchRequest,
    JobFinished,
    Pair,
    StoreUnavailableError,
    Upstream,
)
from daemon.processor.breaker import Breaker, BreakerLimits
from daemon.processor.calls import CallWatch
from daemon.processor.dispatch import Dispatcher
from daemon.processor.drift import DriftWatch
from daemon.processor.loop import Hold, Processor, ProcessorLimits
from daemon.processor.spending import Spender
from daemon.refresh.estimates import Estimates, SessionLength
from daemon.refresh.policy import DueRules, gain
from daemon.store.clock import DatabaseClock
from daemon.store.database import Database
from daemon.store.demand import PairDemand, queue_stale_pairs

CONCURRENCY = 16
"""Calls at the same time: the daemon's default."""

HOLDER = "bench/1"
MOST_TIMEOUTS = 20
"""After so many of one enqueue, the run is given up."""

QUOTE_BYTES = 1_000
TTL_SECONDS = {"quote": 60.0, "profile": 86_400.0}
BATCH_SIZES = {"quote": 100, "profile": 1}


def symbol_of(number: int) -> str:
    """Return the symbol of a job's number."""
    return f"S{number:07d}"


def number_of(symbol: str) -> int:
    """Return the number of a job's symbol."""
    return int(symbol[1:])


class NoUpstream:
    """The HTTP client of an upstream that answers at once."""

    async def attempt(
        self,
        endpoint: str,
        params: Mapping[str, str],
        *,
        etag: str | None,
        max_bytes: int | None,
        meter: Callable[[int], None],
    ) -> Answer:
        """Report what an answer would have cost."""
        del endpoint, params, etag, max_bytes
        meter(QUOTE_BYTES)
        return Answer(200, b"", None, QUOTE_BYTES)


class NoFetcher:
    """Makes the one call of a fetch and says that nothing has changed."""

    def __init__(self, data_type: str, batch_size: int, on_start: OnStart, *, starts_with_call: bool) -> None:
        self.data_type = data_type
        self.batch_size = batch_size
        self._on_start = on_start
        self._starts_with_call = starts_with_call

    async def fetch(self, requests: Sequence[FetchRequest], upstream: Upstream) -> Mapping[str, Fetched | FetchError]:
        """Note the start, make the call, return no rows."""
        if not self._starts_with_call:
            self._note(requests)
        await upstream.get(self.data_type, {})
        if self._starts_with_call:
            self._note(requests)
        return {request.symbol: Fetched(rows=None) for request in requests}

    def _note(self, requests: Sequence[FetchRequest]) -> None:
        for request in requests:
            self._on_start(number_of(request.symbol))


class OwnQueue:
    """refreshd's queue with its whole lifecycle.

    Args:
        owner: The owner's connections, for what is not measured.
        database: The daemon's connections.
        data_type: ``quote`` (100 jobs a call) or ``profile`` (one).
        name: What the table calls it.
        linger_seconds: The processor's; 0.01 is the daemon's default.
        starts_with_call: Whether a job starts when its call could be sent, which is after the reservation, and not
            when its fetcher is called.
    """

    def __init__(
        self,
        owner: Database,
        database: Database,
        data_type: str = "quote",
        *,
        name: str = "refreshd",
        linger_seconds: float = 0.01,
        starts_with_call: bool = False,
    ) -> None:
        self.name = name
        self._starts_with_call = starts_with_call
        self._owner = owner
        self._database = database
        self._data_type = data_type
        self._linger_seconds = linger_seconds
        self._work = asyncio.Event()
        self.timeouts = 0
        """Enqueues that the database did not answer within the daemon's limit, and that were repeated."""

    async def clear(self) -> None:
        """Empty the queue and what is known of its pairs."""
        await self._owner.execute("truncate api_call_queue_v2, refresh_state_v2, api_data_usage_v2, api_usage_hours_v2")
        await stay_alive(self._owner)

    async def settle_down(self) -> None:
        """Let statistics and dead rows be as autovacuum would leave them."""
        for table in ("api_call_queue_v2_pending", "api_call_queue_v2_processing", "refresh_state_v2"):
            await self._owner.execute(f"vacuum (analyze) {table}")

    async def enqueue(self, numbers: Sequence[int]) -> None:
        """Queue the due ones of these pairs as a change of demand does, and wake the processor."""
        seconds = TTL_SECONDS[self._data_type]
        demands = [PairDemand(Pair(symbol_of(n), self._data_type), 1, gain(1, 1 + n % 7, seconds)) for n in numbers]
        if await self._queue(demands):
            self._work.set()

    async def _queue(self, demands: Sequence[PairDemand]) -> int:
        """Queue as often as it takes, as the daemon does; nothing of what timed out was kept."""
        for _ in range(MOST_TIMEOUTS):
            try:
                return await queue_stale_pairs(self._database, demands)
            except StoreUnavailableError:
                self.timeouts += 1
        return await queue_stale_pairs(self._database, demands)

    async def make_due(self) -> None:
        """Let every known pair be due again, as after its TTL."""
        await self._owner.execute(
            "update refresh_state_v2 set next_due_at = now() - interval '1 s', fresh_until = now()"
        )

    async def drain(self, jobs: int) -> float:
        """Start a processor on a backlog; return the seconds until the last job was completed."""
        await stay_alive(self._owner)
        started_at: datetime = await self._owner.fetchval("select clock_timestamp()")
        async with self.worker(lambda _: None, jobs) as done:
            self._work.set()
            await done.wait()
        row = await self._owner.fetchrow(
            "select max(finished_at) as last, count(*) as jobs from api_call_queue_v2_completed"
        )
        assert row is not None
        assert row["jobs"] == jobs, f"{row['jobs']} of {jobs} jobs completed"
        return float((row["last"] - started_at).total_seconds())

    @asynccontextmanager
    async def worker(self, on_start: OnStart, jobs: int | None = None) -> AsyncIterator[asyncio.Event]:
        """Run the daemon's processor; the event is set when so many jobs have been finished."""
        done = asyncio.Event()
        finished = 0

        def on_finished(_: JobFinished) -> None:
            nonlocal finished
            finished += 1
            if finished == jobs:
                done.set()

        stop = asyncio.Event()
        processor = await self._processor(on_start, on_finished)
        async with asyncio.TaskGroup() as group:
            group.create_task(processor.run(stop))
            yield done
            stop.set()

    async def _processor(self, on_start: OnStart, on_finished: Callable[[JobFinished], None]) -> Processor:
        clock = DatabaseClock()
        await clock.synchronise(self._database)
        breaker = Breaker(self._database, UPSTREAM, BreakerLimits(), clock)
        spender = Spender(self._database, UPSTREAM, HOLDER, NoUpstream(), breaker, clock)
        hold = Hold(clock)
        fetchers = {
            name: NoFetcher(name, size, on_start, starts_with_call=self._starts_with_call)
            for name, size in BATCH_SIZES.items()
        }
        dispatcher = Dispatcher(
            self._database,
            {UPSTREAM: spender},
            fetchers,
            clock,
            DueRules(),
            Estimates(SessionLength(clock)),
            DriftWatch(),
            CallWatch(),
            on_finished=on_finished,
            on_refused=hold.extend,
        )
        limits = ProcessorLimits(concurrency=CONCURRENCY, linger_seconds=self._linger_seconds)
        return Processor(self._database, HOLDER, self._work, dispatcher, hold, limits, clock)
