"""Everything that decides whether one pair is refreshed, and when. Read-only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from daemon.contracts import GLOBAL_SYMBOL, ConfigurationError, Pair
from daemon.store.database import Database
from daemon.store.exchanges import StoredExchange, read_exchanges
from daemon.store.queue_state import QueueState, read_queue_state

RECENT = 50_000
"""Finished jobs that are looked through for those of the pair: the newest ones."""

_TYPE = """
select r.data_type, r.symbol_column is null as is_global, r.default_ttl_minutes, r.refresh_strategy, r.refresh_schedule,
       r.upstream, r.edge_function_name as fetcher, r.weight, r.api_calls_per_job, r.batch_size, r.market_hours,
       greatest(coalesce(t.estimated_data_size_bytes, r.estimated_data_size_bytes), 1) as size_bytes,
       t.next_scheduled_at,
       coalesce((select g.is_on from type_flags_v2 g where g.data_type = r.data_type), false) as flag_is_on,
       m.phase as migration_phase, extract(epoch from m.held_until - clock_timestamp())::float8 as held_seconds
from data_type_registry_v2 r
left join data_type_state_v2 t using (data_type)
left join migration_phases_v2 m using (data_type)
where r.data_type = $1
"""
_STATE = """
select last_success_at, last_checked_at, last_outcome, consecutive_failures, fresh_until, next_due_at,
       source_timestamp, open_job_id,
       extract(epoch from fresh_until - clock_timestamp())::float8 as fresh_for_seconds,
       extract(epoch from next_due_at - clock_timestamp())::float8 as due_in_seconds
from refresh_state_v2 where symbol = $1 and data_type = $2
"""
_VIEWERS = """
select source, count(distinct user_id) as viewers, max(last_seen_at) as last_seen_at
from active_subscriptions_v2 where symbol = $1 and data_type = $2 group by source order by 2 desc, 1
"""
_JOB = """
select id, status, lane, priority, gain, claims, retry_count, max_retries, created_at, claimed_at, claimed_by,
       lease_expires_at, error_message, not_before,
       extract(epoch from not_before - clock_timestamp())::float8 as waits_seconds
from api_call_queue_v2 where status in ('pending', 'processing') and symbol = $1 and data_type = $2
"""
_HISTORY = """
select status, outcome, finished_at, extract(epoch from finished_at - created_at)::float8 as took_seconds,
       actual_data_size_bytes as bytes, retry_count, error_message
from (
    (select * from api_call_queue_v2_completed order by finished_at desc limit $3)
    union all
    (select * from api_call_queue_v2_failed order by finished_at desc limit $3)
) f
where symbol = $1 and data_type = $2
order by finished_at desc
limit 5
"""
# As choose_jobs_v2 counts it. The jobs before this one: every type at the gain that makes its index larger.
_COST = """
with prices as (
    select u.price_calls, coalesce(u.price_bytes * l.calls_per_minute * 43200.0 / l.bytes_per_30_days, 0) as price_bytes
    from upstreams_v2 u
    left join upstream_limits_in_force_v2 l on l.upstream = u.upstream
    where u.upstream = $2
),
costs as (
    select r.data_type,
           p.price_calls * r.api_calls_per_job / least(r.batch_size, greatest(n.pending, 1))
           + p.price_bytes * greatest(coalesce(t.estimated_data_size_bytes, r.estimated_data_size_bytes), 1) as cost
    from data_type_registry_v2 r
    cross join prices p
    left join data_type_state_v2 t using (data_type)
    cross join lateral (
        select count(*) as pending
        from (select from api_call_queue_v2_pending q where q.data_type = r.data_type and q.lane < 2 limit 1000) q
    ) n
    where r.upstream = $2
),
own as (select cost from costs where data_type = $1)
select (select cost from own) as cost,
       (select sum(b.jobs)::bigint
        from costs c
        cross join lateral (
            select count(*) as jobs from api_call_queue_v2_pending q
            where q.data_type = c.data_type and q.lane < 2 and q.gain > $3 / (select cost from own) * c.cost
              and q.not_before <= clock_timestamp()
        ) b) as jobs_before
"""


@dataclass(frozen=True, slots=True)
class Explanation:
    """What is known of a pair; rows as mappings, for sentences and JSON alike."""

    pair: Pair
    data_type: Mapping[str, Any]
    symbol_is_active: bool | None
    """None where the allow-list does not know it."""
    state: Mapping[str, Any] | None
    viewers: int
    sources: Sequence[Mapping[str, Any]]
    job: Mapping[str, Any] | None
    cost: float | None
    jobs_before: int | None
    history: Sequence[Mapping[str, Any]]
    exchange: str | None
    """Where its symbol trades, if the type follows trading hours and that is known."""
    trading: StoredExchange | None
    """What is stored about that exchange."""
    now: datetime
    """By the database."""
    queue: QueueState


async def read_explanation(database: Database, symbol: str, data_type: str) -> Explanation:
    """Look at everything that concerns a pair.

    Raises:
        ConfigurationError: For a type that the registry does not know.
        StoreUnavailableError: When PostgreSQL does not answer.
    """
    kind = await database.fetchrow(_TYPE, data_type)
    if kind is None:
        known = [row[0] for row in await database.fetch("select data_type from data_type_registry_v2 order by 1")]
        raise ConfigurationError(f"unknown data type {data_type!r}: there are {', '.join(known)}")
    pair = Pair(GLOBAL_SYMBOL if kind["is_global"] else symbol, data_type)
    state = await database.fetchrow(_STATE, *pair)
    sources = await database.fetch(_VIEWERS, *pair)
    job = await database.fetchrow(_JOB, *pair)
    viewers = await database.fetchval(
        "select count(distinct user_id) from active_subscriptions_v2 where symbol = $1 and data_type = $2", *pair
    )
    cost = await database.fetchrow(_COST, data_type, kind["upstream"], job["gain"] if job else 0.0)
    symbol_row = await database.fetchrow(
        "select is_active, exchange from supported_symbols where symbol = $1", pair.symbol
    )
    active = None if symbol_row is None else bool(symbol_row["is_active"])
    exchange = symbol_row["exchange"] if symbol_row and kind["market_hours"] else None
    trading = next((known for known in await read_exchanges(database) if known.exchange == exchange), None)
    return Explanation(
        pair=pair,
        data_type=dict(kind),
        symbol_is_active=True if kind["is_global"] else active,
        state=None if state is None else dict(state),
        viewers=int(viewers),
        sources=[dict(row) for row in sources],
        job=None if job is None else dict(job),
        cost=cost["cost"] if cost else None,
        jobs_before=cost["jobs_before"] if cost and job and job["status"] == "pending" else None,
        history=[dict(row) for row in await database.fetch(_HISTORY, *pair, RECENT)],
        exchange=exchange,
        trading=trading,
        now=await database.fetchval("select clock_timestamp()"),
        queue=await read_queue_state(database),
    )


async def similar_symbols(database: Database, symbol: str) -> list[str]:
    """Return symbols of the allow-list that begin alike, at most five."""
    rows = await database.fetch(
        "select symbol from supported_symbols where is_active and starts_with(symbol, $1)"
        " order by length(symbol), symbol limit 5",
        symbol[:2],
    )
    return [row["symbol"] for row in rows]
