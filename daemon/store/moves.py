"""Where each data type is on its way from the old system, and the steps of that way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg

from daemon.contracts import RefreshdError
from daemon.store.database import Database
from daemon.store.owner import Owner, Queryable

_MOVES = """
select r.data_type, r.table_name, r.edge_function_name as fetcher, r.refresh_strategy, r.upstream,
       coalesce(m.phase, 'old') as phase, m.since, m.started_at, m.held_until, m.baseline,
       coalesce(m.old_jobs, '[]') as old_jobs, m.symbols_at_start, coalesce(m.checks, '[]') as checks, m.checked_at,
       coalesce(m.held_until > clock_timestamp(), false) as is_held,
       extract(epoch from clock_timestamp() - m.started_at)::float8 as watched_seconds,
       (select n.suffix = '' from refreshd_names n) as is_final, t.is_on as flag_is_on,
       f.metadata ->> 'changed_by' as flag_changed_by, f.updated_at as flag_changed_at
from data_type_registry_v2 r
join type_flags_v2 t on t.data_type = r.data_type
left join feature_flags f on f.flag_name = 'migrate_' || replace(r.data_type, '-', '_') || '_type'
left join migration_phases_v2 m on m.data_type = r.data_type
order by r.data_type
"""
_JOURNAL = """
select at, who, data_type, step, why, detail from migration_journal_v2
where $1::text is null or data_type = $1
order by id desc limit $2
"""
_CRON_RUNS = """
select count(*) from cron.job_run_details d
where d.jobid = any ($1::bigint[]) and d.end_time is null
  and d.status in ('starting', 'connecting', 'sending', 'running')
  and coalesce(d.start_time, now()) > now() - interval '1 hour'
"""

# A claim locks the flags before it looks at them, and until it ends.
_FLAG_READERS = """
select distinct virtualtransaction as transaction from pg_locks
where relation = 'public.feature_flags'::regclass and granted and pid <> pg_backend_pid()
  and database = (select oid from pg_database where datname = current_database())
"""


@dataclass(frozen=True, slots=True)
class Move:
    """A data type on its way."""

    data_type: str
    table_name: str
    fetcher: str
    refresh_strategy: str
    upstream: str
    phase: str
    """``old``, ``pausing``, ``watched``, ``finished``, ``rolling_back``, ``resuming`` or ``rolled_back``."""
    since: datetime | None
    started_at: datetime | None
    held_until: datetime | None
    baseline: str | None
    old_jobs: Sequence[Mapping[str, Any]]
    symbols_at_start: int | None
    checks: Sequence[Mapping[str, str]]
    """What the gates said last: name, state and text of each."""
    checked_at: datetime | None
    is_held: bool
    """Whether a run of its old job may still go on."""
    watched_seconds: float | None
    is_final: bool
    """Whether the migration is finalized."""
    flag_is_on: bool
    flag_changed_by: str | None
    flag_changed_at: datetime | None


@dataclass(frozen=True, slots=True)
class Observation:
    """What the gates of a type are judged by; see ``observe_move_v2``."""

    flag_is_on: bool
    queue_is_on: bool
    is_held: bool
    watched_seconds: float
    sampled_seconds_ago: float | None
    sampled_seconds: float
    """For how long somebody has watched: gaps between samples count for two intervals at most."""
    completed: int
    failed: int
    viewed: int
    """Viewed pairs, summed over the samples of the last hour, without the first five after the start."""
    fresh: int
    """Those of them that were fresh."""
    ttl_seconds: float
    overdue_symbol: str | None
    overdue_seconds: float | None
    schedule_overdue_seconds: float | None
    pending_everywhere: int
    bytes_share: float | None
    symbols_at_start: int | None
    missing_symbols: Sequence[str]
    active_old_jobs: Sequence[str] | None


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One step that was taken."""

    at: datetime
    who: str
    data_type: str | None
    step: str
    why: str | None
    detail: Mapping[str, Any]


class ObservationError(RefreshdError):
    """A type cannot be looked at: its table has changed, or a right is missing."""


class UnknownMoveError(RefreshdError):
    """There is no data type of that name; the message lists those that are."""


async def list_moves(database: Queryable) -> list[Move]:
    """Return every data type of the registry by name."""
    return [Move(**row) for row in await database.fetch(_MOVES)]


async def read_move(database: Queryable, data_type: str) -> Move:
    """Return one of them.

    Raises:
        UnknownMoveError: When there is no such type.
    """
    moves = {move.data_type: move for move in await list_moves(database)}
    if data_type not in moves:
        raise UnknownMoveError(f"there is no data type {data_type!r}; there are {', '.join(moves)}")
    return moves[data_type]


async def is_finalized(database: Queryable) -> bool:
    """Return whether the suffix is gone."""
    return bool(await database.fetchval("select suffix = '' from refreshd_names"))


async def read_journal(database: Queryable, data_type: str | None = None, most: int = 50) -> list[JournalEntry]:
    """Return the newest steps, the newest first."""
    return [JournalEntry(**row) for row in await database.fetch(_JOURNAL, data_type, most)]


async def observe(database: Queryable, data_type: str, sample_seconds: float) -> Observation:
    """Return what the gates of a type are judged by that is looked at every so many seconds.

    Raises:
        ObservationError: When something about this type is in the way.
        StoreUnavailableError: When PostgreSQL does not answer.
    """
    try:
        row = await database.fetchrow("select * from observe_move_v2($1, $2)", data_type, float(sample_seconds))
    except asyncpg.PostgresError as error:
        raise ObservationError(str(error)) from None
    assert row is not None
    return Observation(**row)


async def sample(database: Database, least_seconds: float) -> int:
    """Look at every watched type, unless somebody did just now; return how many were looked at.

    Raises:
        StoreUnavailableError: When PostgreSQL does not answer.
    """
    return int(await database.fetchval("select sample_moves_v2($1)", least_seconds))


async def write_checks(database: Database, data_type: str, checks: Sequence[Mapping[str, str]]) -> None:
    """Write down what the gates of a watched type say.

    Raises:
        StoreUnavailableError: When PostgreSQL does not answer.
    """
    await database.execute(
        "update migration_phases_v2 set checks = $2, checked_at = clock_timestamp()"
        " where data_type = $1 and phase = 'watched'",
        data_type,
        list(checks),
    )


@dataclass(frozen=True, slots=True)
class Begun:
    """A move that has begun."""

    symbols: int
    """Symbols whose state was taken over."""
    started_at: datetime


@dataclass(frozen=True, slots=True)
class HandedBack:
    """What the old system got back."""

    stamped_rows: int
    not_resumed: Sequence[str]
    """Jobs that pg_cron has no more, or does not show to this login."""
    problem: str | None = None
    """Why the rows could not be stamped."""


@dataclass(frozen=True, slots=True)
class Steps:
    """The steps, taken as the owner. Each raises what :meth:`~daemon.store.owner.Owner.step` raises.

    Attributes:
        owner: The connection.
        who: The operator, for the journal.
        why: The reason, for the journal.
    """

    owner: Owner
    who: str
    why: str = ""

    async def pausing(self, data_type: str, old_jobs: Sequence[Mapping[str, Any]]) -> None:
        """Write down what is about to be paused outside the database."""
        await self.owner.step("select pause_old_jobs_v2($1, $2, $3, $4)", data_type, self.who, self.why, list(old_jobs))

    async def begin(
        self, data_type: str, baseline: str | None, old_jobs: Sequence[Mapping[str, Any]], hold_seconds: float
    ) -> Begun:
        """Move a type over, in one transaction."""
        sql = "select * from begin_move_v2($1, $2, $3, $4, $5, $6)"
        arguments = (data_type, self.who, self.why, baseline, list(old_jobs), float(hold_seconds))
        return Begun(**await self.owner.step(sql, *arguments))

    async def running_old_jobs(self, old_jobs: Sequence[Mapping[str, Any]]) -> int:
        """Return how many runs of pg_cron's old jobs have not ended."""
        ids = [job["cron_job"] for job in old_jobs if job.get("cron_job") is not None]
        return int(await self.owner.fetchval(_CRON_RUNS, ids)) if ids else 0

    async def hold(self, data_type: str, begun: Begun, seconds: float) -> None:
        """Hold a type for so long from now on, if that move of it still lasts; 0 lets it go."""
        await self.owner.step("select hold_move_v2($1, $2, $3)", data_type, float(seconds), begun.started_at)

    async def queue_stale(self) -> int:
        """Queue at once what is viewed and stale; return the number of new jobs."""
        return int(await self.owner.step_value("select check_and_queue_stale_data_from_presence_v2()"))

    async def begin_rollback(self, data_type: str) -> Sequence[Mapping[str, Any]]:
        """Turn a type off; return its old jobs. Claims that begin from now on take nothing of it."""
        jobs: Sequence[Mapping[str, Any]] = await self.owner.step_value(
            "select begin_rollback_v2($1, $2, $3)", data_type, self.who, self.why
        )
        return jobs

    async def flag_readers(self) -> frozenset[str]:
        """Return the transactions that have read the flags and have not ended: every claim that goes on is one."""
        return frozenset(row["transaction"] for row in await self.owner.fetch(_FLAG_READERS))

    async def under_way(self, data_type: str) -> int:
        """Recover what no worker answers for, and return how many jobs of a type are still claimed."""
        await self.owner.step("select recover_stuck_jobs_v2()")
        sql = "select count(*) from api_call_queue_v2_processing where data_type = $1"
        return int(await self.owner.fetchval(sql, data_type))

    async def hand_back(self, data_type: str, *, is_resumed_outside: bool) -> HandedBack:
        """Stamp the data table and resume pg_cron's jobs, in one transaction."""
        sql = "select * from hand_back_v2($1, $2, $3)"
        return HandedBack(**await self.owner.step(sql, data_type, self.who, is_resumed_outside))

    async def end_rollback(self, data_type: str) -> None:
        """Write down that the jobs outside the database are resumed."""
        await self.owner.step("select end_rollback_v2($1, $2)", data_type, self.who)

    async def finish(self, data_type: str, checks: Sequence[Mapping[str, str]]) -> None:
        """End the watch over a type."""
        await self.owner.step("select finish_move_v2($1, $2, $3, $4)", data_type, self.who, self.why, list(checks))
