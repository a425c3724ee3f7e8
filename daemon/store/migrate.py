"""Applies the schema with a ledger of its own; any number of runners at once apply everything once."""

from __future__ import annotations

from dataclasses import dataclass

import asyncpg

from daemon.contracts import ConfigurationError, SchemaVersionError
from daemon.store.adoption import Adoption, examine_tables
from daemon.store.database import Connection, Database
from daemon.store.execution import (
    LOCK_SECONDS,
    ChangedMigrationError,
    connected,
    named_locks,
    rehearsal,
    run_file,
    runner_transaction,
)
from daemon.store.roles import DAEMON_ROLE, create_daemon_role, grant_daemon_role
from daemon.store.schema import LATEST_VERSION, OLDEST_VERSION, Schema, SqlFile

_DECLARED = """
insert into refreshd_migrations as m (version, name, checksum) values (0, 'declared', $1)
on conflict (version) do update set checksum = excluded.checksum, applied_at = now()
where m.checksum <> excluded.checksum
"""


@dataclass(frozen=True, slots=True)
class MigrationReport:
    """What a run did."""

    applied: tuple[str, ...]
    adoption: Adoption
    """Data tables that were there already and are used as they are."""
    version: int


@dataclass(frozen=True, slots=True)
class _Runner:
    connection: Connection
    schema: Schema
    lock_seconds: float

    async def run(self, *, daemon_url: str | None, create_roles: bool) -> MigrationReport:
        async with rehearsal(self.connection, self.lock_seconds):
            adoption = await examine_tables(self.connection, self.schema)
        await self._prepare(daemon_url=daemon_url, create_roles=create_roles)
        applied = [file.name for file in self.schema.migrations if await self._apply_once(file)]
        await self._declare()
        version = await self.connection.fetchval("select coalesce(max(version), 0) from refreshd_migrations")
        return MigrationReport(tuple(applied), adoption, version)

    async def _prepare(self, *, daemon_url: str | None, create_roles: bool) -> None:
        async with runner_transaction(self.connection, self.lock_seconds):
            if create_roles:
                await run_file(self.connection, self.schema.roles)
            await create_daemon_role(self.connection)
            if daemon_url is not None:
                await grant_daemon_role(self.connection, daemon_url)
            if await self.connection.fetchval("select to_regclass('public.refreshd_migrations')") is None:
                await run_file(self.connection, self.schema.ledger)

    async def _apply_once(self, file: SqlFile) -> bool:
        async with runner_transaction(self.connection, self.lock_seconds):
            recorded = await self.connection.fetchval(
                "select checksum from refreshd_migrations where version = $1", file.version
            )
            if recorded == file.checksum:
                return False
            if recorded is not None:
                raise ChangedMigrationError(file.name)
            await run_file(self.connection, file)
            await self.connection.execute(
                "insert into refreshd_migrations (version, name, checksum) values ($1, $2, $3)",
                file.version,
                file.name,
                file.checksum,
            )
        return True

    async def _declare(self) -> None:
        async with runner_transaction(self.connection, self.lock_seconds):
            await declare(self.connection, self.schema)


async def declare(connection: Connection, schema: Schema) -> None:
    """Create missing data tables and declare functions, triggers, seeds and access, all in the open transaction.

    Raises:
        MigrationError: When a file failed.
        ConfigurationError: When the login may not do that.
    """
    await connection.execute("set local check_function_bodies = off")
    for file in schema.data:
        if await connection.fetchval("select to_regclass(format('public.%I', $1::text))", file.name) is None:
            await run_file(connection, file)
    for file in schema.declared:
        await run_file(connection, file)
    await connection.execute(_DECLARED, schema.declared_checksum)


async def migrate(
    owner_url: str,
    schema: Schema,
    *,
    daemon_url: str | None = None,
    create_roles: bool = False,
    lock_seconds: float = LOCK_SECONDS,
) -> MigrationReport:
    """Bring a database to the schema of ``schema``.

    Args:
        owner_url: Connection of the role that owns the objects.
        schema: The files.
        daemon_url: Connection of the daemon; its login is made a member of the daemon's role.
        create_roles: Also create what a Supabase project has and a plain PostgreSQL lacks.
        lock_seconds: How long a statement waits for a lock.

    Raises:
        MigrationError: When tables of an older system cannot be used: nothing was changed. When a file failed: files
            before it stay applied, of that one nothing.
        ConfigurationError: When the owner's role may not do what is needed; the message holds the SQL to run.
        StoreUnavailableError: When PostgreSQL does not answer.
    """
    async with connected(owner_url) as connection, named_locks(owner_url, lock_seconds):
        return await _Runner(connection, schema, lock_seconds).run(daemon_url=daemon_url, create_roles=create_roles)


async def check_version(database: Database) -> int:
    """Return the schema version of the database.

    Raises:
        SchemaVersionError: When this daemon cannot work with it; the message says what to run.
        StoreUnavailableError: When PostgreSQL does not answer.
    """
    try:
        row = await database.fetchrow(
            "select coalesce(max(version), 0) as version, coalesce(bool_or(version = 0), false) as declared"
            " from refreshd_migrations"
        )
    except asyncpg.UndefinedTableError:
        raise SchemaVersionError("the database has no refreshd schema: run `refreshd migrate`") from None
    except asyncpg.InsufficientPrivilegeError:
        raise ConfigurationError(
            f"the login of DATABASE_URL may not read the schema: run `refreshd migrate`, or as the owner"
            f" `grant {DAEMON_ROLE} to <login>`"
        ) from None
    assert row is not None
    version = int(row["version"])
    if version >= OLDEST_VERSION and not row["declared"]:
        raise SchemaVersionError("a migration has stopped before its end: run `refreshd migrate`")
    if version < OLDEST_VERSION:
        raise SchemaVersionError(
            f"the schema has version {version}, this daemon needs {OLDEST_VERSION}: run `refreshd migrate`"
        )
    if version > LATEST_VERSION:
        raise SchemaVersionError(
            f"the schema has version {version}, this daemon knows up to {LATEST_VERSION}: install the newer refreshd"
        )
    return version
