"""The queue as an operator sees it: what is in it, and single jobs tried again or cancelled.

Every answer is bounded, whatever the queue holds: rows by a limit, counts by :data:`COUNTED`, and a search by type or
symbol among finished jobs by :data:`SEARCHED`, since no index helps it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from daemon.contracts import RefreshdError
from daemon.store.database import Connection, Database

STATUSES = ("processing", "pending", "failed", "completed")
"""In the order of their interest to an operator."""

COUNTED = 10_000
SEARCHED = 100_000
SHORTEST_PREFIX = 8
_UUID_DIGITS = 32

_COUNT_OPEN = """
select count(*)
from (
    select
    from api_call_queue_v2 q
    where q.status = $1 and ($2::text is null or q.data_type = $2) and ($3::text is null or q.symbol = $3)
    limit $4
) found
"""

_COUNT_FINISHED = """
select count(*)
from (
    select
    from (
        select symbol, data_type from api_call_queue_v2 where status = $1 order by finished_at desc limit $5
    ) q
    where ($2::text is null or q.data_type = $2) and ($3::text is null or q.symbol = $3)
    limit $4
) found
"""

_PROCESSING = """
select q.*, extract(epoch from clock_timestamp() - q.created_at)::float8 as age_seconds,
       extract(epoch from q.lease_expires_at - clock_timestamp())::float8 as lease_seconds
from api_call_queue_v2 q
where q.status = 'processing' and ($1::text is null or q.data_type = $1) and ($2::text is null or q.symbol = $2)
order by q.lease_expires_at
limit $3
"""

_PENDING = """
with recursive types as (  -- the types that wait, by skipping through the index instead of reading the queue
    (
        select q.data_type
        from api_call_queue_v2 q
        where q.status = 'pending' and ($1::text is null or q.data_type = $1)
        order by q.data_type
        limit 1
    )
    union all
    select (
        select q.data_type
        from api_call_queue_v2 q
        where q.status = 'pending' and q.data_type > t.data_type
        order by q.data_type
        limit 1
    )
    from types t
    where t.data_type is not null and $1::text is null
)
select j.*, extract(epoch from clock_timestamp() - j.created_at)::float8 as age_seconds,
       extract(epoch from j.not_before - clock_timestamp())::float8 as wait_seconds
from types t
cross join lateral (
    select *
    from api_call_queue_v2 q
    where q.status = 'pending' and q.data_type = t.data_type and ($2::text is null or q.symbol = $2)
    order by q.lane, q.gain desc, q.created_at
    limit $3
) j
order by j.lane, j.gain desc, j.created_at
limit $3
"""

_FINISHED = """
select q.*, extract(epoch from clock_timestamp() - q.finished_at)::float8 as age_seconds
from (select * from api_call_queue_v2 where status = $4 order by finished_at desc limit $5) q
where ($1::text is null or q.data_type = $1) and ($2::text is null or q.symbol = $2)
order by q.finished_at desc
limit $3
"""


class JobIdError(RefreshdError):
    """What was given names no job, or more than one."""


@dataclass(frozen=True, slots=True)
class BoundedCount:
    """A count that stops: ``count`` of them, or more where it is not ``exact``."""

    count: int
    exact: bool

    @classmethod
    def of(cls, counted: int) -> BoundedCount:
        """Return the count of what was counted up to one more than :data:`COUNTED` at least."""
        return cls(min(counted, COUNTED), exact=counted <= COUNTED)


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs are meant; None stands for all."""

    status: str | None = None
    data_type: str | None = None
    symbol: str | None = None


@dataclass(frozen=True, slots=True)
class JobList:
    """What :func:`list_jobs` found, at one moment."""

    totals: Mapping[str, BoundedCount]
    """Of the whole queue, by status."""
    jobs: Sequence[Mapping[str, Any]]
    """Columns of the queue and ``age_seconds``: since the end of the job, or since its creation while it is open."""
    more: BoundedCount
    """How many further jobs were found."""


@dataclass(frozen=True, slots=True)
class JobName:
    """A job that an id or the beginning of one led to."""

    id: UUID
    status: str
    symbol: str
    data_type: str


async def list_jobs(database: Database, wanted: JobFilter, limit: int) -> JobList:
    """Return up to ``limit`` jobs, the most interesting first.

    That is: processing ones by the end of their lease, pending ones in the order of claims, then failed and completed
    ones, newest first.
    """

    async def read(connection: Connection) -> JobList:
        await connection.execute("set transaction isolation level repeatable read, read only")
        totals = {status: BoundedCount.of(await _count(connection, JobFilter(status), COUNTED)) for status in STATUSES}
        found, jobs = 0, list[Mapping[str, Any]]()
        for status in [status for status in STATUSES if wanted.status in {None, status}]:
            jobs += await _rows(connection, status, wanted, limit - len(jobs))
            found += await _count(connection, replace(wanted, status=status), COUNTED + limit)
        return JobList(totals, jobs, BoundedCount.of(found - len(jobs)))

    return await database.in_transaction(read)


async def _count(connection: Connection, wanted: JobFilter, bound: int) -> int:
    """Return how many jobs of a status there are; ``bound`` and one where there are more."""
    arguments = (wanted.status, wanted.data_type, wanted.symbol, bound + 1)
    if wanted.status in {"processing", "pending"}:
        return int(await connection.fetchval(_COUNT_OPEN, *arguments))
    return int(await connection.fetchval(_COUNT_FINISHED, *arguments, SEARCHED))


async def _rows(connection: Connection, status: str, wanted: JobFilter, limit: int) -> list[Mapping[str, Any]]:
    arguments = (wanted.data_type, wanted.symbol, limit)
    match status:
        case "processing":
            rows = await connection.fetch(_PROCESSING, *arguments)
        case "pending":
            rows = await connection.fetch(_PENDING, *arguments)
        case _:
            rows = await connection.fetch(_FINISHED, *arguments, status, SEARCHED)
    return [dict(row) for row in rows]


async def find_job(database: Database, text: str) -> JobName:
    """Return the job with this id, or with the one id that begins so.

    Raises:
        JobIdError: For anything but 8 to 32 hexadecimal digits (hyphens do not count), and where no job or several
            begin so.
    """
    digits = text.replace("-", "").lower()
    if not SHORTEST_PREFIX <= len(digits) <= _UUID_DIGITS or digits.strip("0123456789abcdef"):
        raise JobIdError(f"{text[:40]!r} is no job id: give the id, or at least its first {SHORTEST_PREFIX} digits")
    rows = await database.fetch(
        "select id, status, symbol, data_type from api_call_queue_v2 where id between $1 and $2 order by id limit 3",
        UUID(digits.ljust(_UUID_DIGITS, "0")),
        UUID(digits.ljust(_UUID_DIGITS, "f")),
    )
    if not rows:
        raise JobIdError(f"there is no job {text}")
    if len(rows) > 1:
        ids = ", ".join(str(row["id"]) for row in rows)
        raise JobIdError(f"{text} is the beginning of several ids, give more of it: {ids}")
    return JobName(*rows[0].values())


async def read_job(database: Database, job_id: UUID) -> tuple[Mapping[str, Any], Mapping[str, Any] | None] | None:
    """Return every column of a job and of its pair's state, None for a pair without one; None for no such job."""

    async def read(connection: Connection) -> tuple[Mapping[str, Any], Mapping[str, Any] | None] | None:
        job = await connection.fetchrow("select * from api_call_queue_v2 where id = $1", job_id)
        if job is None:
            return None
        state = await connection.fetchrow(
            "select * from refresh_state_v2 where symbol = $1 and data_type = $2", job["symbol"], job["data_type"]
        )
        return dict(job), None if state is None else dict(state)

    return await database.in_transaction(read)


async def retry_job(database: Database, job_id: UUID) -> str:
    """Queue a failed job again; return ``queued``, or why not, as retry_failed_job_v2 says it."""
    return str(await database.fetchval("select retry_failed_job_v2($1)", job_id))


async def cancel_job(database: Database, job_id: UUID) -> str:
    """End an open job as failed; return ``cancelled``, or why not, as cancel_queue_job_v2 says it."""
    return str(await database.fetchval("select cancel_queue_job_v2($1)", job_id))
