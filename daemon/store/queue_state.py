"""How the queue stands: what waits, what is done, and what holds it. Read-only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from daemon.store.database import Database

_TYPES = """
with pending as (
    select data_type, count(*) as pending,
           count(*) filter (where not_before > clock_timestamp()) as waiting,
           count(*) filter (where lane = 0) as first_views,
           count(*) filter (where lane = 2) as scheduled,
           extract(epoch from clock_timestamp() - min(created_at))::float8 as oldest_seconds
    from api_call_queue_v2_pending group by data_type
),
processing as (select data_type, count(*) as processing from api_call_queue_v2_processing group by data_type),
completed as (
    select data_type, count(*) as completed_in_hour from api_call_queue_v2_completed
    where finished_at > now() - interval '1 hour' group by data_type
),
failed as (
    select data_type, count(*) as failed_in_hour from api_call_queue_v2_failed
    where finished_at > now() - interval '1 hour' group by data_type
)
select data_type, e.data_type is not null as enabled,
       coalesce(pending, 0) as pending, coalesce(waiting, 0) as waiting, coalesce(first_views, 0) as first_views,
       coalesce(scheduled, 0) as scheduled, coalesce(processing, 0) as processing,
       coalesce(completed_in_hour, 0) as completed_in_hour, coalesce(failed_in_hour, 0) as failed_in_hour,
       oldest_seconds
from data_type_registry_v2 r
left join enabled_data_types_v2 e using (data_type)
full join pending using (data_type)
full join processing using (data_type)
full join completed using (data_type)
full join failed using (data_type)
order by data_type
"""
_UPSTREAMS = """
select u.upstream, u.price_calls, u.price_bytes, u.prices_adapted_at,
       case when u.paused_until > clock_timestamp() then u.paused_until end as paused_until, u.pause_reason,
       u.breaker_state, u.breaker_reason, u.breaker_changed_at, u.breaker_open_until,
       u.probe_expires_at > clock_timestamp() as is_probed,
       l.calls_per_minute, l.bytes_per_30_days, l.differ as limits_differ,
       b.calls_in_window, b.calls_lately, b.bytes_in_30_days,
       u.bytes_ceiling - b.bytes_in_30_days as bytes_paced,
       (select coalesce(sum(a.bytes), 0)::bigint from api_data_usage_v2 a
        where a.upstream = u.upstream and a.reserved_at > now() - interval '1 hour') as bytes_in_hour,
       (select coalesce(sum(a.calls), 0)::bigint from api_data_usage_v2 a
        where a.upstream = u.upstream and a.reserved_at > now() - interval '1 hour') as calls_in_hour
from upstreams_v2 u
left join upstream_limits_in_force_v2 l on l.upstream = u.upstream
cross join lateral upstream_usage_v2(u.upstream) b
order by u.upstream
"""
_RATES = """
select count(*) filter (where finished_at > now() - interval '1 minute') as finished_in_minute,
       count(*) as finished_in_ten_minutes
from api_call_queue_v2_completed where finished_at > now() - interval '10 minutes'
"""
_OVERDUE = """
select symbol, data_type, extract(epoch from clock_timestamp() - s.next_due_at)::float8 as seconds
from viewers_v2 v
join refresh_state_v2 s using (symbol, data_type)
where s.next_due_at < clock_timestamp()
order by s.next_due_at
limit 1
"""
_FLAG = "select coalesce((select enabled from feature_flags where flag_name = 'use_queue_system'), false)"


@dataclass(frozen=True, slots=True)
class QueueState:
    """Rows as mappings, for tables and JSON alike."""

    types: Sequence[Mapping[str, Any]]
    upstreams: Sequence[Mapping[str, Any]]
    rates: Mapping[str, Any]
    longest_overdue: Mapping[str, Any] | None
    """The viewed pair that has been due for the longest time."""
    queue_is_on: bool


async def read_queue_state(database: Database) -> QueueState:
    """Look at the queue.

    Raises:
        StoreUnavailableError: When PostgreSQL does not answer.
    """
    rates = await database.fetchrow(_RATES)
    overdue = await database.fetchrow(_OVERDUE)
    return QueueState(
        types=[dict(row) for row in await database.fetch(_TYPES)],
        upstreams=[dict(row) for row in await database.fetch(_UPSTREAMS)],
        rates=dict(rates or {}),
        longest_overdue=None if overdue is None else dict(overdue),
        queue_is_on=bool(await database.fetchval(_FLAG)),
    )
