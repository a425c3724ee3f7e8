"""One attempt at a time: a real claim, a real call over a real socket, and its effect in a real database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime

from daemon.contracts import JobFinished
from daemon.fetchers.client import HttpUpstream
from daemon.fetchers.table import build_fetchers
from daemon.processor.breaker import Breaker, BreakerLimits
from daemon.processor.calls import CallWatch
from daemon.processor.dispatch import Dispatcher
from daemon.processor.drift import DriftWatch
from daemon.processor.loop import Hold
from daemon.processor.spending import Spender
from daemon.refresh.estimates import Estimates, SessionLength
from daemon.refresh.policy import DueRules
from daemon.store.clock import DatabaseClock
from daemon.store.database import Database
from daemon.store.queue import claim_jobs
from tests.rows import HOLDER

KEY = "a-key-that-must-not-be-seen"
TIMEOUT_SECONDS = 0.5
MAX_BYTES = 512 * 1024

_LEFT_BEHIND = """
select (select count(*) from api_data_usage_v2 where settled_at is null) as unsettled,
       (select coalesce(sum(calls), 0) from api_data_usage_v2) as calls,
       (select count(*) from (
            select symbol, data_type from api_call_queue_v2 where status in ('pending', 'processing')
            group by 1, 2 having count(*) > 1) d) as twins,
       (select count(*) from api_call_queue_v2
        where error_message ilike '%' || $1 || '%' or length(error_message) > 512) as leaks,
       (select count(*) from upstreams_v2
        where breaker_reason ilike '%' || $1 || '%' or pause_reason ilike '%' || $1 || '%') as leaking_upstreams,
       (select count(*) from refresh_state_v2
        where fresh_until > last_checked_at + interval '1 minute 5 seconds' and last_outcome in ('changed', 'unchanged')
          and data_type = 'quote') as too_fresh
"""
_JOB = """
select q.status, q.outcome, q.retry_count, q.resets, q.error_message, s.last_outcome, s.source_timestamp,
       s.next_due_at > now() as is_due_later,
       (select price from live_quote_indicators v where v.symbol = q.symbol) as price
from api_call_queue_v2 q
join refresh_state_v2 s on s.symbol = q.symbol and s.data_type = q.data_type
where q.symbol = $1 order by q.created_at desc limit 1
"""
_UPSTREAM = """
select breaker_state as breaker, breaker_reason, extract(epoch from paused_until - clock_timestamp())::float8 as pause
from upstreams_v2 where upstream = 'fmp'
"""


@dataclass(frozen=True, slots=True)
class JobState:
    """What became of a job and its pair."""

    status: str
    outcome: str | None
    retries: int
    resets: int
    error: str | None
    last_outcome: str | None
    source_timestamp: datetime | None
    is_due_later: bool | None
    price: float | None

    @property
    def kind(self) -> str | None:
        """The kind that its error begins with."""
        return None if self.error is None else self.error.split(":", 1)[0]


@dataclass(frozen=True, slots=True)
class UpstreamState:
    """What stands in the way of the next call."""

    breaker: str
    reason: str | None
    pause_seconds: float | None


@dataclass
class Attempts:
    """Attempts against one upstream."""

    owner: Database
    database: Database
    dispatcher: Dispatcher
    breaker: Breaker
    finished: list[JobFinished] = field(default_factory=list)

    async def attempt(self, slots: int = 16) -> int:
        """Claim what waits, and carry it out once, one batch after the other; return how many batches there were."""
        jobs = await claim_jobs(self.database, slots, HOLDER, 30, self.dispatcher.fetchers)
        batches = self.dispatcher.batches(jobs, 0.0)
        for batch in batches:
            await self.dispatcher.run(batch)
        return len(batches)

    async def job(self, symbol: str = "AAPL") -> JobState:
        """Look at the newest job of a symbol."""
        row = await self.owner.fetchrow(_JOB, symbol)
        assert row is not None
        return JobState(*row)

    async def upstream(self) -> UpstreamState:
        """Look at the upstream."""
        row = await self.owner.fetchrow(_UPSTREAM)
        assert row is not None
        return UpstreamState(*row)

    async def check_invariants(self, *, calls: int) -> None:
        """No call is free or twice in the books, no pair has two jobs, the key is nowhere, nothing is too fresh."""
        row = await self.owner.fetchrow(_LEFT_BEHIND, KEY)
        assert row is not None
        assert dict(row) == {
            "unsettled": 0,
            "calls": calls,
            "twins": 0,
            "leaks": 0,
            "leaking_upstreams": 0,
            "too_fresh": 0,
        }


@asynccontextmanager
async def attempts(
    owner: Database, database: Database, base_url: str, timeout_seconds: float = TIMEOUT_SECONDS
) -> AsyncIterator[Attempts]:
    """Build everything between the queue and an upstream on this machine, as the daemon does."""
    clock = DatabaseClock()
    await clock.synchronise(database)
    client = HttpUpstream(
        base_url,
        KEY,
        version="test",
        timeout_seconds=timeout_seconds,
        max_bytes=MAX_BYTES,
        allow_loopback=True,
        allowed_hosts=("upstream.invalid",),
    )
    async with client:
        breaker = Breaker(database, "fmp", BreakerLimits(), clock)
        finished: list[JobFinished] = []
        dispatcher = Dispatcher(
            database,
            {"fmp": Spender(database, "fmp", HOLDER, client, breaker, clock)},
            build_fetchers(),
            clock,
            DueRules(),
            Estimates(SessionLength(clock)),
            DriftWatch(),
            CallWatch(),
            on_finished=finished.append,
            on_refused=Hold(clock).extend,
        )
        yield Attempts(owner, database, dispatcher, breaker, finished)
