"""The end of the migration: every object loses its suffix, in one transaction, under a daemon that runs on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_random

from daemon import crash_points
from daemon.contracts import RefreshdError
from daemon.store.database import Connection, register_codecs
from daemon.store.execution import connected, rehearsal, runner_transaction
from daemon.store.migrate import declare
from daemon.store.names import NamedConnection
from daemon.store.owner import wait_for_locks
from daemon.store.schema import Schema

LOCK_SECONDS = 3.0
"""How long all locks are waited for at once: whoever works meanwhile waits as well, so it is tried again instead."""

_TRIES = 10
_OLD_JOBS = (
    "select coalesce(jsonb_agg(j), '[]') from migration_phases_v2 m cross join jsonb_array_elements(m.old_jobs) j"
)
_FLAGS = """
select 'migrate_' || replace(m.data_type, '-', '_') || '_type' as flag_name
from migration_phases_v2 m where m.phase = 'finished' order by 1
"""
_MOVE_STALENESS = "update data_type_registry_v2 set staleness_function = $2 where staleness_function = $1"
_RENAMED = "update refreshd_names set suffix = '', changed_at = now()"
_NOTE = "select note_move_v2(null, 'finalized', $1, $2, $3)"


@dataclass(frozen=True, slots=True)
class Renaming:
    """One object that gets another name."""

    kind: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Something that has one of the names already, and the statement that would set it aside."""

    what: str
    remedy: str


@dataclass(frozen=True, slots=True)
class FinalPlan:
    """What the end consists of."""

    renamings: tuple[Renaming, ...]
    obstacles: tuple[Obstacle, ...]
    flags: tuple[str, ...]
    """Flags that are dropped: those of the moved types."""
    old_jobs: tuple[str, ...]
    """Jobs of pg_cron that are dropped."""
    changed_jobs: tuple[str, ...]
    """Jobs of pg_cron that call renamed objects, and will by their new names."""


class FinalizeError(RefreshdError):
    """The names cannot be changed; nothing was."""


async def plan_final(owner_url: str, schema: Schema) -> FinalPlan:
    """Say what would be done, and change nothing.

    Raises:
        ConfigurationError: When the login may not look.
        StoreUnavailableError: When PostgreSQL does not answer.
    """
    async with connected(owner_url) as connection:
        await register_codecs(connection)
        async with rehearsal(connection):
            return (await _plan(connection, schema))[0]


async def finalize(owner_url: str, schema: Schema, *, who: str, why: str, set_aside: bool = False) -> FinalPlan:
    """Take the suffix from every name, drop the flags of moved types and their old jobs; all of it or nothing.

    Args:
        owner_url: Connection of the owner.
        schema: The files: functions are declared anew, since their bodies name objects.
        who: The operator, for the journal.
        why: The reason, for the journal.
        set_aside: Whether what has one of the names is renamed to NAME_old first.

    Raises:
        FinalizeError: When something has one of the names, or the locks were not given.
        ConfigurationError: When the login may not do it.
        StoreUnavailableError: When PostgreSQL does not answer.
    """
    tries = AsyncRetrying(
        retry=retry_if_exception_type((asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError)),
        stop=stop_after_attempt(_TRIES),
        wait=wait_random(0.2, 1.0),
        reraise=True,
    )
    try:
        async for attempt in tries:
            with attempt:
                return await _finalize_once(owner_url, schema, who, why, set_aside=set_aside)
    except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
        raise FinalizeError(
            f"nothing was changed: somebody held a lock on refreshd's tables through {_TRIES} tries of"
            f" {LOCK_SECONDS:g} s. Look at pg_stat_activity for long transactions, and run it again"
        ) from None
    raise AssertionError("unreachable: the last attempt reraises")


async def _finalize_once(owner_url: str, schema: Schema, who: str, why: str, *, set_aside: bool) -> FinalPlan:
    async with connected(owner_url) as connection, runner_transaction(connection, LOCK_SECONDS):
        await register_codecs(connection)
        await connection.execute("select pg_advisory_xact_lock(46)")
        await wait_for_locks(connection, LOCK_SECONDS)
        plan, statements = await _plan(connection, schema)
        if plan.obstacles and not set_aside:
            raise FinalizeError(obstacles_in_words(plan))
        for obstacle in plan.obstacles:
            await connection.execute(obstacle.remedy)
        named = [(each.before, each.after) for each in plan.renamings if each.kind in {"function", "table", "view"}]
        await connection.fetchval("select rename_in_cron_jobs_v2($1, $2, false)", *_columns(named))
        await connection.fetchval("select change_cron_jobs_v2($1, 'drop')", await connection.fetchval(_OLD_JOBS))
        await connection.execute("delete from feature_flags where flag_name = any ($1)", list(plan.flags))
        detail = {"renamed": len(plan.renamings), "dropped_flags": plan.flags, "dropped_jobs": plan.old_jobs}
        await connection.fetchval(_NOTE, who, why, detail)
        await connection.execute(_RENAMED)
        for statement in statements:
            await connection.execute(statement)
        await _declare_renamed(connection, schema, plan)
        crash_points.reached("names_changed")
        await connection.execute("select pg_notify('pgrst', 'reload schema')")  # PostgREST remembers what there is
    return plan


async def _plan(connection: Connection, schema: Schema) -> tuple[FinalPlan, list[str]]:
    """Return what would be done, and the statements that change the names, in order."""
    rows = await connection.fetch(schema.names.sql)
    renamings = dict.fromkeys(Renaming(row["kind"], row["before"], row["after"]) for row in rows if row["before"])
    obstacles = dict.fromkeys(Obstacle(row["problem"], row["remedy"]) for row in rows if row["problem"])
    named = [(each.before, each.after) for each in renamings if each.kind in {"function", "table", "view"}]
    changed = await connection.fetchval("select rename_in_cron_jobs_v2($1, $2, true)", *_columns(named))
    jobs: list[dict[str, Any]] = await connection.fetchval(_OLD_JOBS)
    plan = FinalPlan(
        tuple(renamings),
        tuple(obstacles),
        tuple(row["flag_name"] for row in await connection.fetch(_FLAGS)),
        tuple(dict.fromkeys(str(job["name"]) for job in jobs if job.get("cron_job") is not None)),
        tuple(changed),
    )
    return plan, list(dict.fromkeys(row["statement"] for row in rows))


async def _declare_renamed(connection: NamedConnection, schema: Schema, plan: FinalPlan) -> None:
    """Declare functions anew, whose bodies name each other, and have the registry name them as they are called now."""
    await connection.names.look(connection)
    await declare(connection, schema)
    for each in plan.renamings:
        if each.kind == "function":
            await connection.execute(_MOVE_STALENESS, each.before, each.after)


def obstacles_in_words(plan: FinalPlan) -> str:
    """Return what is in the way, and what to do."""
    lines = "\n".join(f"    {each.remedy};  -- {each.what}" for each in plan.obstacles)
    return (
        f"nothing was changed: {len(plan.obstacles)} of the names are taken. Drop or rename what has them, or let"
        f" --set-aside do this:\n{lines}"
    )


def _columns(pairs: Sequence[tuple[str, str]]) -> tuple[list[str], list[str]]:
    return [before for before, _ in pairs], [after for _, after in pairs]
