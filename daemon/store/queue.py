"""The queue: claims, leases, and the one transaction that carries the effect of a fetch."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

import asyncpg

from daemon.contracts import Job, Lane, Outcome, Pair, Row
from daemon.crash_points import reached
from daemon.store.budgets import Settlement, settle
from daemon.store.database import Connection, Database, is_transient, transposed


@dataclass(frozen=True, slots=True)
class Completion:
    """A job that came to a good end, with the rows to store."""

    job: Job
    outcome: Outcome
    fresh_until: datetime
    next_due_at: datetime
    received_bytes: int
    due_if_refused: datetime
    """When the pair is due again should its table refuse the rows."""
    rows: Sequence[Row] = ()
    source_timestamp: datetime | None = None
    etag: str | None = None
    replaces: Sequence[str] | None = None
    """The key columns where the rows are all that there are: what is stored beyond them is removed."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A job that failed; it is tried again if that makes sense and retries are left."""

    job: Job
    message: str
    retryable: bool
    next_due_at: datetime
    """When the pair is due again should this be the end of the job."""
    retry_after_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Effect:
    """What one call to the upstream amounts to: everything in one transaction, or nothing."""

    completions: Sequence[Completion] = ()
    failures: Sequence[Failure] = ()
    resets: Sequence[Job] = ()
    settlements: Sequence[Settlement] = ()


@dataclass(frozen=True, slots=True)
class Applied:
    """What of an effect came into being: by job ``completed``, ``retry``, ``failed``, ``reset`` or ``lost``."""

    verdicts: Mapping[UUID, str]
    refused_rows: Mapping[UUID, str] = field(default_factory=dict)
    """Jobs whose rows the table refused, with the reason."""


async def claim_jobs(
    database: Database, calls: int, holder: str, lease_seconds: int, fetchers: Collection[str] | None = None
) -> list[Job]:
    """Claim what fills up to ``calls`` calls, as leases, in the order in which they should run.

    Args:
        database: Where the queue is.
        calls: How many calls can be made at once; a call carries several jobs of a batchable type.
        holder: Who claims: instance/boot.
        lease_seconds: For how long.
        fetchers: Only jobs of these fetchers; of any where None.
    """
    names = None if fetchers is None else sorted(fetchers)
    rows = await database.fetch("select * from get_queue_batch_v2($1, $2, $3, $4)", calls, holder, lease_seconds, names)
    return [_job(row) for row in rows]


async def claim_pair(
    database: Database, pair: Pair, holder: str, asked_at: datetime, lease_seconds: int = 30
) -> Job | None:
    """Claim one pair by order of an operator, whatever its flags say: the job that waits for it, or a new one.

    Args:
        database: Where the queue is.
        pair: An active symbol's, or a global one.
        holder: Who claims.
        asked_at: When the upstream was asked.
        lease_seconds: For how long.

    Returns:
        The job, or None where somebody else is refreshing the pair, or has since ``asked_at``.
    """
    row = await database.fetchrow(
        "select * from claim_pair_v2($1, $2, $3, $4, $5)", *pair, holder, asked_at, lease_seconds
    )
    return None if row is None else _job(row)


async def seconds_to_claim(database: Database, fetchers: Collection[str]) -> float | None:
    """Return in how many seconds a claim can bring something, after one that did not; None where nothing waits."""
    seconds: float | None = await database.fetchval("select claim_again_in_v2($1)", sorted(fetchers))
    return seconds


async def renew_leases(database: Database, leases: Sequence[UUID], seconds: int) -> set[UUID]:
    """Extend leases from now; return those still held."""
    rows = await database.fetch("select * from renew_leases_v2($1, $2)", list(leases), seconds)
    return {row[0] for row in rows}


async def release_jobs(database: Database, jobs: Sequence[Job]) -> int:
    """Give claimed jobs back with nothing charged; return how many were still held."""
    return int(await database.fetchval("select release_jobs_v2($1)", [job.lease_id for job in jobs]))


async def recover_own_jobs(database: Database, holder: str) -> int:
    """Recover what an earlier life of this instance left behind, and expired leases; return how many jobs."""
    return int(await database.fetchval("select recover_stuck_jobs_v2($1)", holder))


async def run_gate(database: Database) -> int:
    """Run one turn of the gate: recovery and usage roll-up; return how many jobs were recovered."""
    rows = await database.fetch("select recovered from invoke_processor_loop_v2()")
    return max((int(row["recovered"]) for row in rows), default=0)


async def apply_effect(database: Database, effect: Effect) -> Applied:
    """Carry out an effect in one transaction.

    All pairs are locked first, in order; then the leases are taken, and only what they still hold is stored. A row that
    its table refuses fails its own job: a second try finds it, by bisection under savepoints. Applying an effect again
    is harmless: a lease ends once.

    Raises:
        StoreUnavailableError: When PostgreSQL could not do it now; whether it was committed is then unknown.
    """

    async def work(connection: Connection, *, bisect: bool) -> Applied:
        completions = sorted(effect.completions, key=lambda completion: completion.job.pair)
        if bisect or effect.failures or effect.resets:
            jobs = [*(c.job for c in completions), *(f.job for f in effect.failures), *effect.resets]
            await connection.execute("select lock_job_pairs_v2($1)", [job.id for job in jobs])
        held, refused = await (_bisect if bisect else _complete)(connection, completions)
        verdicts = {c.job.id: "completed" if c.job.id in held else "lost" for c in completions}
        broken = [
            Failure(c.job, refused[c.job.id], retryable=False, next_due_at=c.due_if_refused)
            for c in completions
            if c.job.id in refused
        ]
        for failure in sorted([*effect.failures, *broken], key=lambda failure: failure.job.pair):
            verdicts[failure.job.id] = await _fail(connection, failure)
        for job in sorted(effect.resets, key=lambda job: job.pair):
            reset = await connection.fetchval("select reset_job_immediate_v2($1, $2)", job.id, job.lease_id)
            verdicts[job.id] = "reset" if reset else "lost"
        await settle(connection, effect.settlements)
        reached("settled")
        if held:
            await connection.execute("select learn_sizes_v2($1)", list(held))
        return Applied(verdicts, refused)

    try:
        return await database.in_transaction(partial(work, bisect=False))
    except asyncpg.PostgresError:
        # A table refused a row, and nothing was done: once more, with a savepoint around each part.
        return await database.in_transaction(partial(work, bisect=True))


async def find_completed(database: Database, jobs: Sequence[Job]) -> set[UUID]:
    """Return which of the jobs have been completed: the answer when the outcome of a commit is unknown."""
    rows = await database.fetch(
        "select id from api_call_queue_v2 where status = 'completed' and id = any($1)", [job.id for job in jobs]
    )
    return {row["id"] for row in rows}


async def _complete(connection: Connection, completions: Sequence[Completion]) -> tuple[set[UUID], dict[UUID, str]]:
    """Take the leases and store what they still hold; return those held, and nothing refused: an error is raised."""
    if not completions:
        return set(), {}
    held = await _take_leases(connection, completions)
    reached("leases_taken")
    await _store_rows(connection, [c for c in completions if c.job.id in held])
    reached("rows_stored")
    return held, {}


async def _bisect(connection: Connection, completions: Sequence[Completion]) -> tuple[set[UUID], dict[UUID, str]]:
    """Do the same in ever smaller parts where it fails; return those held, and why the others are refused."""
    try:
        async with connection.transaction():
            return await _complete(connection, completions)
    except asyncpg.PostgresError as error:
        if is_transient(error):
            raise
        if len(completions) == 1:
            return set(), {completions[0].job.id: _refusal(error)}
    middle = len(completions) // 2
    first_held, first_refused = await _bisect(connection, completions[:middle])
    second_held, second_refused = await _bisect(connection, completions[middle:])
    return first_held | second_held, first_refused | second_refused


def _refusal(error: asyncpg.PostgresError) -> str:
    """Return why a table refused a row: error, table, column and constraint, and nothing that came with the row."""
    named = (
        f"{what} {name}" for what in ("table", "column", "constraint") if (name := getattr(error, f"{what}_name", None))
    )
    said = str(error.args[0] if error.args else "").partition(": ")[0]  # behind it the value, and then the whole row
    return "; ".join((f"the table refused the row: {type(error).__name__}: {said[:256]}", *named))


async def _take_leases(connection: Connection, completions: Sequence[Completion]) -> set[UUID]:
    columns = transposed(
        [
            (
                c.job.id,
                c.job.lease_id,
                c.outcome,
                c.fresh_until,
                c.next_due_at,
                c.received_bytes,
                c.source_timestamp,
                c.etag,
            )
            for c in completions
        ],
        8,
    )
    rows = await connection.fetch("select * from complete_queue_jobs_v2($1, $2, $3, $4, $5, $6, $7, $8)", *columns)
    return {row[0] for row in rows}


async def _store_rows(connection: Connection, completions: Sequence[Completion]) -> None:
    by_type: dict[str, list[Row]] = {}
    for completion in completions:
        by_type.setdefault(completion.job.pair.data_type, []).extend(completion.rows)
    for data_type, rows in sorted(by_type.items()):
        if rows:
            await connection.fetch("select * from store_rows_v2($1, $2)", data_type, rows)
    for completion in completions:
        if completion.rows and completion.replaces is not None:
            await _remove_gone_rows(connection, completion, completion.replaces)


async def _remove_gone_rows(connection: Connection, completion: Completion, columns: Sequence[str]) -> None:
    data_type, rows = completion.job.pair.data_type, list(completion.rows)
    await connection.execute("select remove_gone_rows_v2($1, $2, $3)", data_type, rows, list(columns))


async def _fail(connection: Connection, failure: Failure) -> str:
    after = failure.retry_after_seconds
    return str(
        await connection.fetchval(
            "select fail_queue_job_v2($1, $2, $3, $4, $5, $6)",
            failure.job.id,
            failure.job.lease_id,
            failure.message,
            failure.retryable,
            None if after is None else timedelta(seconds=after),
            failure.next_due_at,
        )
    )


def _job(row: asyncpg.Record) -> Job:
    return Job(
        id=row["job_id"],
        lease_id=row["lease_id"],
        pair=Pair(row["symbol"], row["data_type"]),
        fetcher=row["fetcher"],
        upstream=row["upstream"],
        ttl_seconds=row["ttl_minutes"] * 60.0,
        weight=row["weight"],
        lane=Lane(row["lane"]),
        priority=row["priority"],
        retry_count=row["retry_count"],
        estimated_bytes=row["estimated_data_size_bytes"],
        source_timestamp=row["source_timestamp"],
        etag=row["etag"],
        failures_before=row["consecutive_failures"],
    )
