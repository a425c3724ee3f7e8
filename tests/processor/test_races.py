"""Several types of one symbol in flight at once, in two workers: each is fetched once, and no lock is in the way."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from daemon.contracts import Pair
from daemon.store.database import Database
from devstack.upstream.server import UpstreamServer
from tests.processor.attempts import KEY, attempts
from tests.rows import make_ready, orphans, queue

TYPES = ("quote", "profile", "shares-float", "dividend-history", "ratios-ttm", "grades-historical", "exchange-variants")
SYMBOLS = ("AAPL", "MSFT")
PATIENT_SECONDS = 10.0
"""The timeout of a call: no answer is late here, however busy the machine is."""
DEADLOCKS = "select deadlocks from pg_stat_database where datname = current_database()"


@pytest.mark.parametrize("latency_seconds", [0.0, 0.05])
async def test_workers_share_the_types_of_a_symbol_without_getting_in_each_others_way(
    owner: Database, database: Database, latency_seconds: float
) -> None:
    pairs = [Pair(symbol, data_type) for symbol in SYMBOLS for data_type in TYPES]
    await make_ready(owner, list(SYMBOLS))
    await owner.execute("update feature_flags set enabled = true")
    async with (
        UpstreamServer(KEY, latency_seconds=latency_seconds, calls_per_minute=10_000) as upstream,
        attempts(owner, database, upstream.url, PATIENT_SECONDS) as first,
        attempts(owner, database, upstream.url, PATIENT_SECONDS) as second,
    ):
        for _ in range(4):
            await owner.execute("update refresh_state_v2 set next_due_at = now() where open_job_id is null")
            await queue(owner, *pairs)
            # Claimed in small bites by both, so that each has some types of each symbol in flight.
            await asyncio.gather(*(stage.attempt(3) for stage in (first, second) * 6))
        finished = Counter(done.pair for stage in (first, second) for done in stage.finished)

    assert set(finished) == set(pairs)
    assert await owner.fetchval("select count(*) from api_call_queue_v2_failed") == 0
    assert await owner.fetchval("select count(*) from api_call_queue_v2_completed") == finished.total()
    assert await owner.fetchval("select coalesce(sum(retry_count + resets), 0) from api_call_queue_v2") == 0
    assert await owner.fetchval(DEADLOCKS) == 0
    assert await orphans(owner) == 0
