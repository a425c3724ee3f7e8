"""What a database has of the schema, and what a run of the migration runner would do to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from daemon.contracts import ConfigurationError
from daemon.store.adoption import Adoption, examine_tables
from daemon.store.database import Connection
from daemon.store.execution import (
    LOCK_SECONDS,
    ChangedMigrationError,
    MigrationError,
    connected,
    named_locks,
    rehearsal,
    run_file,
)
from daemon.store.names import NamedConnection
from daemon.store.roles import DAEMON_ROLE, create_daemon_role, has_daemon_role
from daemon.store.schema import LATEST_VERSION, OLDEST_VERSION, Schema, SqlFile

_LEDGER = "select version, name, checksum, applied_at from public.refreshd_migrations order by version"
_MISSING_TABLES = "select n from unnest($1::text[]) as n where to_regclass(format('public.%I', n)) is null"
_DEFINITION = """
select string_agg(concat_ws(' ', pg_get_functiondef(p.oid), p.proacl::text, obj_description(p.oid, 'pg_proc')), ' ')
from pg_proc p
where p.pronamespace = 'public'::regnamespace and p.proname = $1
"""


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One migration, as files and ledger know it."""

    version: int
    name: str
    applied_at: datetime | None
    """None: not applied yet."""
    verdict: str
    """``as released``, ``pending``, ``another text`` or ``unknown to this version``."""


@dataclass(frozen=True, slots=True)
class Status:
    """What a database has of the schema."""

    migrations: tuple[LedgerEntry, ...]
    declared_at: datetime | None
    """When functions, seeds and access last changed; None: never."""
    is_declared: bool
    """Whether they are those of this version."""

    @property
    def version(self) -> int:
        """The number of the last applied migration."""
        return max((entry.version for entry in self.migrations if entry.applied_at), default=0)

    @property
    def is_up_to_date(self) -> bool:
        """Whether a run would change nothing, and the daemon works with it."""
        return (
            self.is_declared
            and all(entry.verdict == "as released" for entry in self.migrations)
            and OLDEST_VERSION <= self.version <= LATEST_VERSION
        )


async def read_status(url: str, schema: Schema) -> Status:
    """Compare the ledger with the files; the daemon's login may do that as well as the owner.

    Raises:
        ConfigurationError: When the login may not read the ledger.
        StoreUnavailableError: When PostgreSQL does not answer.
    """
    async with connected(url) as connection:
        recorded = await _recorded(connection)
    declared = recorded.get(0)
    return Status(
        tuple(_entries(schema, recorded)),
        declared["applied_at"] if declared else None,
        declared is not None and declared["checksum"] == schema.declared_checksum,
    )


async def plan(owner_url: str, schema: Schema, *, create_roles: bool = False) -> tuple[str, ...]:
    """Say in order what `migrate` would do, and change nothing.

    Functions are declared in a transaction that is rolled back, and compared with what was there.

    Raises:
        MigrationError: When tables of an older system cannot be used, or a migration was edited, as `migrate` says it.
        ConfigurationError: When the owner's role may not do what is needed; the message holds the SQL to run.
        StoreUnavailableError: When PostgreSQL does not answer.
    """
    async with connected(owner_url) as connection, named_locks(owner_url, LOCK_SECONDS):
        entries = tuple(_entries(schema, await _recorded(connection)))
        role_is_there = await has_daemon_role(connection)
        missing = await connection.fetch(_MISSING_TABLES, [file.name for file in schema.data])
        async with rehearsal(connection):
            adoption = await examine_tables(connection, schema)
        async with rehearsal(connection):
            await create_daemon_role(connection)
            functions = [step async for step in _function_steps(connection, schema.functions)]
    return (
        *(["create roles and publication where they are missing"] if create_roles else []),
        *([] if role_is_there else [f"create role {DAEMON_ROLE}"]),
        *_migration_steps(entries),
        *(f"create table {row['n']}" for row in missing),
        *_adoption_steps(adoption),
        *functions,
        "declare triggers, seeds and access again",
    )


async def _recorded(connection: Connection) -> dict[int, asyncpg.Record]:
    if await connection.fetchval("select to_regclass('public.refreshd_migrations')") is None:
        return {}
    try:
        return {row["version"]: row for row in await connection.fetch(_LEDGER)}
    except asyncpg.InsufficientPrivilegeError:
        raise ConfigurationError(
            f"the login may not read the schema's ledger. Run as the owner: grant {DAEMON_ROLE} to <login>;"
        ) from None


def _entries(schema: Schema, recorded: dict[int, asyncpg.Record]) -> Iterator[LedgerEntry]:
    known = {file.version: file for file in schema.migrations}
    for version in sorted(known.keys() | recorded.keys() - {0}):
        row, file = recorded.get(version), known.get(version)
        if row is None:
            assert file is not None
            yield LedgerEntry(version, file.name, None, "pending")
        elif file is None:
            yield LedgerEntry(version, row["name"], row["applied_at"], "unknown to this version")
        else:
            verdict = "as released" if row["checksum"] == file.checksum else "another text"
            yield LedgerEntry(version, row["name"], row["applied_at"], verdict)


def _migration_steps(entries: tuple[LedgerEntry, ...]) -> Iterator[str]:
    for entry in entries:
        if entry.verdict == "pending":
            yield f"apply {entry.name}"
        elif entry.verdict == "another text":
            raise ChangedMigrationError(entry.name)


def _adoption_steps(adoption: Adoption) -> Iterator[str]:
    yield from (f"use table {name} as it is" for name in adoption.tables)
    yield from (f"note: {note}" for note in adoption.notes)


async def _function_steps(connection: NamedConnection, files: tuple[SqlFile, ...]) -> AsyncIterator[str]:
    await connection.execute("set local check_function_bodies = off")
    for file in files:
        name = connection.names.apply(file.name)
        before = await connection.fetchval(_DEFINITION, name)
        if before is None:
            yield f"create function {name}"
        elif before != await _definition_after(connection, file, name):
            yield f"replace function {name}"


async def _definition_after(connection: Connection, file: SqlFile, name: str) -> str | None:
    """Return the definition that a file gives, None when it cannot be applied before the pending migrations are."""
    try:
        async with connection.transaction():
            await run_file(connection, file)
    except MigrationError:
        return None
    definition: str | None = await connection.fetchval(_DEFINITION, name)
    return definition
