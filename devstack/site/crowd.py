"""What everybody looks at now, and what that makes of each pair: viewers, gain, rank, and when it is refreshed next."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from aiohttp import ClientError, ClientSession, ClientTimeout

from daemon.store.database import Database

KEEP_SECONDS = 0.4
"""How old an answer may be that a window gets: many windows ask no more than one does."""
DAEMON_SECONDS = 1.0

_PAIRS = """
with viewed as (
    select v.symbol, v.data_type, v.viewers,
           refresh_gain_v2(r.weight, v.viewers, r.default_ttl_minutes) as gain
    from viewers_v2 v
    join data_type_registry_v2 r using (data_type)
)
select v.symbol, v.data_type, v.viewers, round(v.gain)::float8 as gain,
       rank() over (partition by v.data_type order by v.gain desc) as rank,
       count(*) over (partition by v.data_type) as ranked,
       extract(epoch from s.last_checked_at)::float8 as checked_at,
       extract(epoch from s.fresh_until)::float8 as fresh_until,
       extract(epoch from s.next_due_at)::float8 as due_at,
       s.last_outcome as outcome, j.status as job
from viewed v
left join refresh_state_v2 s using (symbol, data_type)
left join api_call_queue_v2 j
       on j.symbol = v.symbol and j.data_type = v.data_type and j.status in ('pending', 'processing')
order by v.symbol, v.data_type
"""
_SYMBOLS = "select symbol, count(distinct user_id) as viewers from active_subscriptions_v2 group by symbol"
_TOTALS = """
select (select count(distinct user_id) from active_subscriptions_v2) as viewers,
       (select calls_in_window from upstream_usage_v2('fmp')) as calls,
       (select calls_per_minute from upstream_limits_in_force_v2 where upstream = 'fmp') as calls_per_minute,
       (select count(*) from api_call_queue_v2_pending) as waiting,
       (select count(*) from api_call_queue_v2_processing) as running
"""


class CrowdView:
    """Looks at the tables, and at the daemon's own word on how it is.

    Args:
        database: PostgreSQL as the owner of the schema.
        client: Asks the daemon.
        daemon_url: Where the daemon answers HTTP.
    """

    def __init__(self, database: Database, client: ClientSession, daemon_url: str) -> None:
        self._database = database
        self._client = client
        self._daemon_url = daemon_url
        self._lock = asyncio.Lock()
        self._seen: Mapping[str, Any] = {}
        self._seen_at = float("-inf")

    async def look(self) -> Mapping[str, Any]:
        """Return totals, viewers by symbol, and every viewed pair; times are in seconds since 1970.

        A pair's ``gain`` is in viewer-seconds; its ``rank`` is its place by gain among the ``ranked`` viewed pairs of
        its data type, which is the order in which they are refreshed when all of them are due.

        Raises:
            StoreUnavailableError: When PostgreSQL does not answer.
        """
        async with self._lock:
            if time.monotonic() - self._seen_at > KEEP_SECONDS:
                self._seen = await self._look()
                self._seen_at = time.monotonic()
            return self._seen

    async def _look(self) -> Mapping[str, Any]:
        totals = await self._database.fetchrow(_TOTALS)
        assert totals is not None
        return {
            "daemon": await self._ask_daemon(),
            "totals": dict(totals),
            "symbols": {row["symbol"]: row["viewers"] for row in await self._database.fetch(_SYMBOLS)},
            "pairs": [dict(row) for row in await self._database.fetch(_PAIRS)],
        }

    async def _ask_daemon(self) -> Mapping[str, Any]:
        """Return whether the daemon answers, whether it is fit for work, and why in one line."""
        timeout = ClientTimeout(total=DAEMON_SECONDS)
        try:
            async with self._client.get(f"{self._daemon_url}/readyz", timeout=timeout) as answer:
                return {"answers": True, "ready": answer.ok, "reason": (await answer.text()).strip()}
        except (ClientError, OSError, TimeoutError):
            return {"answers": False, "ready": False, "reason": "no answer"}
