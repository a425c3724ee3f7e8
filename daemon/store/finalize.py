"""The end of the migration: every object loses its suffix, in one transaction, under a daemon that runs on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_random

from daemon import crash_points
from daemon.contracts import ConfigurationError, RefreshdError, StoreUnavailableError
from daemon.store.database import ROLLED_BACK, Connection, is_transient, register_codecs
from daemon.store.execution import (
    STATEMENT_SECONDS,
    LockTimeoutError,
    connected,
    rehearsal,
    runner_transaction,
    set_timeout,
)
from daemon.store.migrate import declare
from daemon.store.moves import list_moves
from daemon.store.names import NamedConnection
from daemon.store.owner import bound
from daemon.store.schema import Schema

LOCK_SECONDS = 3.0
"""How long all locks are waited for at once: whoever works meanwhile waits as well, so it is tried again instead."""

_TRIES = 10
_AGAIN = (*ROLLED_BACK, LockTimeoutError)
_OLD_JOBS = """
select coalesce(jsonb_agg(j), '[]')
from migration_phases_v2 m cross join jsonb_array_elements(m.old_jobs) j where m.phase = 'finished'
"""
_FLAGS = """
select f.flag_name
from migration_phases_v2 m
join feature_flags f on f.flag_name = 'migrate_' || replace(m.data_type, '-', '_') || '_type'
where m.phase = 'finished' and f.enabled
order by 1
"""
# Bodies are text and keep the old names; views and policies follow.
_FOREIGN = r"""
select p.oid::regprocedure::text as name
from pg_proc p join pg_namespace n on n.oid = p.pronamespace
where n.nspname not in ('pg_catalog', 'information_schema') and not (n.nspname = 'public' and p.proname = any ($1))
  and p.prosrc ~ ('\m(' || array_to_string($1, '|') || ')\M')
order by 1
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
    outside: tuple[str, ...]
    """What was paused outside the database: it has to be taken away by hand, or it comes back one day."""
    foreign: tuple[str, ...]
    """Functions of others whose bodies have names that change: theirs to mend."""


class FinalizeError(RefreshdError):
    """The names cannot be changed; nothing was."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How the end is wanted.

    Attributes:
        who: The operator, for the journal.
        why: The reason, for the journal.
        required: Types that have to be finished.
        left: Those of them that stay switched off instead.
        set_aside: Whether what has one of the names is renamed to NAME_old first.
        is_dry: Whether everything is done and taken back: nothing is changed, and what cannot be done shows.
    """

    who: str = ""
    why: str = ""
    required: Sequence[str] = ()
    left: Sequence[str] = ()
    set_aside: bool = False
    is_dry: bool = False


async def finalize(owner_url: str, schema: Schema, ending: Ending) -> FinalPlan:
    """Take the suffix from every name, drop the flags of moved types and their old jobs; all of it or nothing.

    Args:
        owner_url: Connection of the owner.
        schema: The files: functions are declared anew, since their bodies name objects.
        ending: How it is wanted.

    Raises:
        FinalizeError: When types are not finished, something has one of the names (not where it is dry: the plan tells
            then), or the locks were not given.
        ConfigurationError: When the login may not do it.
        StoreUnavailableError: When PostgreSQL does not answer.
    """
    tries = AsyncRetrying(
        retry=retry_if_exception_type(_AGAIN),
        stop=stop_after_attempt(_TRIES),
        wait=wait_random(0.2, 1.0),
        reraise=True,
    )
    try:
        async for attempt in tries:
            with attempt:
                return await _finalize_once(owner_url, schema, ending)
    except _AGAIN:
        raise FinalizeError(
            f"nothing was changed: somebody held a lock on refreshd's tables through {_TRIES} tries of"
            f" {LOCK_SECONDS:g} s. Look at pg_stat_activity for long transactions, and run it again"
        ) from None
    except asyncpg.InsufficientPrivilegeError as error:
        raise ConfigurationError(
            f"nothing was changed: {error}. This is the owner's to do: set REFRESHD_OWNER_DATABASE_URL"
        ) from None
    except asyncpg.PostgresError as error:
        if is_transient(error):
            raise StoreUnavailableError(
                f"it may be finalized or not, look at `refreshd migration status`: {error}"
            ) from error
        raise FinalizeError(f"nothing was changed: {type(error).__name__}: {error}") from error
    except (asyncpg.InterfaceError, OSError) as error:
        raise StoreUnavailableError(
            f"it may be finalized or not, look at `refreshd migration status`: {error}"
        ) from error
    raise AssertionError("unreachable: the last attempt reraises")


async def _finalize_once(owner_url: str, schema: Schema, ending: Ending) -> FinalPlan:
    within = rehearsal if ending.is_dry else runner_transaction
    async with connected(owner_url, "refreshd migration") as connection, within(connection, LOCK_SECONDS):
        await register_codecs(connection)
        await connection.execute("select pg_advisory_xact_lock(46)")
        await bound(connection, LOCK_SECONDS)
        await _check_phases(connection, ending)
        plan, statements = await _plan(connection, schema)
        if plan.obstacles and not ending.set_aside:
            if ending.is_dry:
                return plan
            raise FinalizeError(obstacles_in_words(plan))
        await _carry_out(connection, schema, plan, statements, ending)
    return plan


async def _check_phases(connection: NamedConnection, ending: Ending) -> None:
    """Refuse where a type is on its way, or has not been moved."""
    if connection.names.suffix == "":
        raise FinalizeError("the migration is finalized already")
    moves = {move.data_type: move for move in await list_moves(connection)}
    if unknown := [name for name in ending.left if name not in moves]:
        raise FinalizeError(f"there is no data type {', '.join(unknown)}; there are {', '.join(moves)}")
    if on := [name for name in ending.left if moves[name].flag_is_on]:
        raise FinalizeError(f"{', '.join(on)} cannot be left: switched on. Turn the flag off, or finish the move")
    may_be_left = {"old", "rolled_back"}
    waiting = [
        f"{name} ({move.phase.replace('_', ' ')})"
        for name, move in moves.items()
        if move.phase != "finished"
        and not (move.phase in may_be_left and (name in ending.left or name not in ending.required))
    ]
    if waiting:
        raise FinalizeError(
            f"not finished: {', '.join(waiting)}. See `refreshd migration status`; --leave TYPE if one stays off"
        )


async def _take_all_locks(connection: Connection, statement: str) -> None:
    """Lock every table, within the time for all of them together."""
    await set_timeout(connection, "statement_timeout", LOCK_SECONDS)
    try:
        await connection.execute(statement)
    except asyncpg.QueryCanceledError:
        raise LockTimeoutError(statement) from None
    await set_timeout(connection, "statement_timeout", STATEMENT_SECONDS)


async def _carry_out(
    connection: NamedConnection, schema: Schema, plan: FinalPlan, statements: Sequence[str], ending: Ending
) -> None:
    lock, *changes = statements
    await _take_all_locks(connection, lock)
    for obstacle in plan.obstacles:
        await connection.execute(obstacle.remedy)
    await connection.fetchval("select rename_in_cron_jobs_v2($1, $2, false)", *_columns(_named(plan.renamings)))
    await connection.fetchval("select change_cron_jobs_v2($1, 'drop')", await connection.fetchval(_OLD_JOBS))
    await connection.execute("delete from feature_flags where flag_name = any ($1)", list(plan.flags))
    detail = {"renamed": len(plan.renamings), "dropped_flags": plan.flags, "dropped_jobs": plan.old_jobs}
    await connection.fetchval(_NOTE, ending.who, ending.why, detail)
    await connection.execute(_RENAMED)
    for statement in changes:
        await connection.execute(statement)
    await _declare_renamed(connection, schema, plan)
    if not ending.is_dry:
        crash_points.reached("names_changed")
    await connection.execute("select pg_notify('pgrst', 'reload schema')")  # PostgREST remembers what there is


async def _plan(connection: Connection, schema: Schema) -> tuple[FinalPlan, list[str]]:
    """Return what would be done, and the statements that change the names, in order."""
    rows = await connection.fetch(schema.names.sql)
    renamings = dict.fromkeys(Renaming(row["kind"], row["before"], row["after"]) for row in rows if row["before"])
    obstacles = dict.fromkeys(Obstacle(row["problem"], row["remedy"]) for row in rows if row["problem"])
    columns = _columns(_named(renamings))
    changed = await connection.fetchval("select rename_in_cron_jobs_v2($1, $2, true)", *columns)
    foreign = [row["name"] for row in await connection.fetch(_FOREIGN, columns[0])]
    jobs: list[dict[str, Any]] = await connection.fetchval(_OLD_JOBS)
    plan = FinalPlan(
        tuple(renamings),
        tuple(obstacles),
        tuple(row["flag_name"] for row in await connection.fetch(_FLAGS)),
        tuple(dict.fromkeys(str(job["name"]) for job in jobs if job.get("cron_job") is not None)),
        tuple(changed),
        tuple(in_words for job in jobs if (in_words := job.get("pause") or job.get("manual"))),
        tuple(foreign),
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


def _named(renamings: Iterable[Renaming]) -> list[tuple[str, str]]:
    """Return old and new names of what a statement can name."""
    return [(each.before, each.after) for each in renamings if each.kind in {"function", "table", "view"}]


def _columns(pairs: Sequence[tuple[str, str]]) -> tuple[list[str], list[str]]:
    return [before for before, _ in pairs], [after for _, after in pairs]
