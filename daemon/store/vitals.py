"""How everything stands, in a few statements that a dashboard may ask for every few seconds. Read-only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import asyncpg

from daemon.contracts import Pair
from daemon.store.database import Database, transposed

_FRESHNESS = """
select v.data_type, count(*)::int as pairs, sum(v.viewers)::bigint as viewers,
       coalesce(sum(v.viewers) filter (where s.fresh_until > clock_timestamp()), 0)::bigint as fresh_viewers,
       (count(*) filter (where s.fresh_until > clock_timestamp()))::int as fresh_pairs,
       (count(*) filter (where s.last_success_at is null))::int as never_fresh_pairs
from {viewed} v
join enabled_data_types_v2 e on e.data_type = v.data_type
left join refresh_state_v2 s on s.symbol = v.symbol and s.data_type = v.data_type
group by v.data_type
order by v.data_type
"""
_OWN_FRESHNESS = _FRESHNESS.replace(
    "{viewed} v", "unnest($1::text[], $2::text[], $3::int[]) as v (symbol, data_type, viewers)"
)
_ALL_FRESHNESS = _FRESHNESS.replace("{viewed}", "viewers_v2")
_SNAPSHOT = """
select backend_xmin::text as xmin, age(backend_xmin)::bigint as age
from pg_stat_activity
where backend_xmin is not null and pid <> pg_backend_pid()
order by age(backend_xmin) desc
limit 1
"""
_CRON = """
with recent as (
    select distinct on (d.jobid) d.jobid, d.status, d.return_message, d.start_time
    from cron.job_run_details d
    where d.runid > (select coalesce(max(runid), 0) from cron.job_run_details) - 10000
    order by d.jobid, d.runid desc
)
select j.jobname, j.active, j.schedule, r.status, r.return_message, r.start_time,
       extract(epoch from clock_timestamp() - r.start_time)::float8 as seconds_ago
from cron.job j
left join recent r on r.jobid = j.jobid
order by j.jobname
"""


class TypeFreshness(NamedTuple):
    """What is viewed of one data type, and how fresh it is. Viewers count once for every pair that they look at."""

    data_type: str
    pairs: int
    viewers: int
    fresh_viewers: int
    fresh_pairs: int
    never_fresh_pairs: int


class OldestSnapshot(NamedTuple):
    """The oldest snapshot that some session holds: what was deleted since cannot be cleaned up, and claims get slow."""

    xmin: str
    age: int
    """In transactions."""


@dataclass(frozen=True, slots=True)
class CronJob:
    """A job of pg_cron with its last run."""

    name: str | None
    active: bool
    schedule: str
    status: str | None
    """``succeeded``, ``failed``, ``running`` and so on; None where it has never run."""
    message: str | None
    started_at: datetime | None
    seconds_ago: float | None


async def read_freshness(database: Database, viewers: Mapping[Pair, int]) -> Sequence[TypeFreshness]:
    """Return by data type how fresh the viewed pairs are, of the types that are on.

    Raises:
        StoreUnavailableError: When PostgreSQL does not answer.
    """
    if not viewers:
        return []
    columns = transposed([(*pair, number) for pair, number in viewers.items()], 3)
    return [TypeFreshness(**row) for row in await database.fetch(_OWN_FRESHNESS, *columns)]


async def read_all_freshness(database: Database) -> Sequence[TypeFreshness]:
    """Return the same of everything that is viewed through any daemon, as it is written down.

    Raises:
        StoreUnavailableError: When PostgreSQL does not answer.
    """
    return [TypeFreshness(**row) for row in await database.fetch(_ALL_FRESHNESS)]


async def read_oldest_snapshot(database: Database) -> OldestSnapshot | None:
    """Return the oldest snapshot that another session holds, if any.

    Raises:
        StoreUnavailableError: When PostgreSQL does not answer.
    """
    row = await database.fetchrow(_SNAPSHOT)
    return None if row is None else OldestSnapshot(row["xmin"], row["age"])


async def read_cron_jobs(database: Database) -> Sequence[CronJob] | None:
    """Return the jobs of pg_cron with their last run, of the latest 10,000 in all; None where they cannot be read.

    Raises:
        StoreUnavailableError: When PostgreSQL does not answer.
    """
    try:
        rows: list[asyncpg.Record] = await database.fetch(_CRON)
    except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError, asyncpg.InsufficientPrivilegeError):
        return None
    return [
        CronJob(
            row["jobname"],
            row["active"],
            row["schedule"],
            row["status"],
            (row["return_message"] or "")[:256] or None,
            row["start_time"],
            row["seconds_ago"],
        )
        for row in rows
    ]


def staleness(freshness: Sequence[TypeFreshness]) -> float | None:
    """Return S: the share of viewers, counted once for every pair they look at, who see stale data; None without any.

    Source: ``refreshd_staleness`` in docs/metrics.md.
    """
    viewers = sum(row.viewers for row in freshness)
    return None if viewers == 0 else 1 - sum(row.fresh_viewers for row in freshness) / viewers


def as_fields(freshness: Sequence[TypeFreshness]) -> list[dict[str, Any]]:
    """Return the rows as JSON shows them."""
    return [row._asdict() for row in freshness]
