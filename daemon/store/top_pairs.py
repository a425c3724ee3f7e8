"""What people look at most and how refreshes ended lately: what the dashboard shows beside the vitals. Read-only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from daemon.contracts import GLOBAL_SYMBOL
from daemon.store.database import Database

MOST = 20

_TOP_PAIRS = """
with top as (
    select symbol, data_type, viewers from viewers_v2 order by viewers desc, symbol, data_type limit $1
)
select t.symbol, t.data_type, t.viewers, r.upstream, r.default_ttl_minutes * 60 as ttl_seconds,
       coalesce((select f.enabled from feature_flags f where f.flag_name = 'use_queue_system'), false) as queue_is_on,
       coalesce((select g.is_on from type_flags_v2 g where g.data_type = t.data_type), false) as type_is_on,
       case when t.symbol = $2 then true else y.is_active end as symbol_is_active,
       s.last_outcome, s.consecutive_failures,
       extract(epoch from clock_timestamp() - s.last_success_at)::float8 as age_seconds,
       extract(epoch from s.fresh_until - clock_timestamp())::float8 as fresh_for_seconds,
       extract(epoch from s.next_due_at - clock_timestamp())::float8 as due_in_seconds,
       j.status as job_status, j.lane, j.retry_count, j.max_retries, j.error_message,
       extract(epoch from j.not_before - clock_timestamp())::float8 as waits_seconds
from top t
left join data_type_registry_v2 r on r.data_type = t.data_type
left join supported_symbols y on y.symbol = t.symbol
left join refresh_state_v2 s on s.symbol = t.symbol and s.data_type = t.data_type
left join api_call_queue_v2 j
       on j.symbol = t.symbol and j.data_type = t.data_type and j.status in ('pending', 'processing')
order by t.viewers desc, t.symbol, t.data_type
"""
_OUTCOMES = """
select f.data_type,
       count(*) filter (where f.outcome = 'changed') as changed,
       count(*) filter (where f.outcome = 'unchanged') as unchanged,
       count(*) filter (where f.outcome = 'empty') as empty,
       count(*) filter (where f.outcome = 'rejected') as rejected,
       count(*) filter (where f.outcome = 'failed') as failed,
       (array_agg(left(f.error_message, 300) order by f.finished_at desc) filter (where f.outcome = 'failed'))[1]
           as last_error,
       extract(epoch from clock_timestamp() - max(f.finished_at) filter (where f.outcome = 'failed'))::float8
           as last_error_seconds_ago
from (
    select data_type, outcome, finished_at, null as error_message from api_call_queue_v2_completed
    where finished_at > now() - interval '1 hour'
    union all
    select data_type, 'failed', finished_at, error_message from api_call_queue_v2_failed
    where finished_at > now() - interval '1 hour'
) f
group by f.data_type
order by f.data_type
"""


async def read_top_pairs(database: Database, limit: int = MOST) -> Sequence[Mapping[str, Any]]:
    """Return the pairs with the most viewers, of all daemons, and what decides when each is refreshed next.

    Lengths of time are in seconds from now, negative where they have passed: ``age_seconds`` since the last success,
    ``fresh_for_seconds``, ``due_in_seconds``, ``waits_seconds`` until a job that failed is tried again.

    Raises:
        StoreUnavailableError: When PostgreSQL does not answer.
    """
    return [dict(row) for row in await database.fetch(_TOP_PAIRS, limit, GLOBAL_SYMBOL)]


async def read_outcomes(database: Database) -> Sequence[Mapping[str, Any]]:
    """Return by data type how the jobs of the last hour ended, and the latest error of those that failed for good.

    Raises:
        StoreUnavailableError: When PostgreSQL does not answer.
    """
    return [dict(row) for row in await database.fetch(_OUTCOMES)]
