"""Applies the schema with a ledger of its own; any number of runners at once apply everything once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

import asyncpg

from daemon.contracts import ConfigurationError, RefreshdError, SchemaVersionError
from daemon.store.database import Connection, Database, translated_faults
from daemon.store.schema import LATEST_VERSION, OLDEST_VERSION, Schema, SqlFile

DAEMON_ROLE = "refreshd_daemon"
_RUNNER_LOCK = 45
_CONNECT_TIMEOUT_SECONDS = 10.0
_LEDGER = """
create table refreshd_migrations (
    version integer primary key,
    name text not null,
    checksum text not null,
    applied_at timestamptz not null default now()
);
comment on table refreshd_migrations is 'The ledger of refreshd migrate: which migrations this database has.';
alter table refreshd_migrations enable row level security;
create policy refreshd_daemon on refreshd_migrations for select to refreshd_daemon using (true);
revoke all on refreshd_migrations from public;
grant select on refreshd_migrations to refreshd_daemon;
"""


_TABLE_COMMENT = """
select obj_description(oid, 'pg_class') as text
from pg_class
where relnamespace = 'public'::regnamespace and relname = $1
"""


_DECLARED = """
insert into refreshd_migrations as m (version, name, checksum) values (0, 'declared', md5($1))
on conflict (version) do update set checksum = excluded.checksum, applied_at = now()
where m.checksum <> excluded.checksum
"""


class MigrationError(RefreshdError):
    """A file of the schema could not be applied, nothing of it was; the message says which and what PostgreSQL said."""


@dataclass(frozen=True, slots=True)
class MigrationReport:
    """What a run did."""

    applied: tuple[str, ...]
    adopted_tables: tuple[str, ...]
    """Data tables that were there already and are used as they are."""
    version: int


async def migrate(
    owner_url: str, schema: Schema, *, daemon_url: str | None = None, create_roles: bool = False
) -> MigrationReport:
    """Bring a database to the schema of ``schema``.

    Args:
        owner_url: Connection of the role that owns the objects.
        schema: The files.
        daemon_url: Connection of the daemon; its login is made a member of the daemon's role.
        create_roles: Also create what a Supabase project has and a plain PostgreSQL lacks.

    Raises:
        MigrationError: When a file failed; files before it stay applied, of that one nothing.
        ConfigurationError: When the owner's role may not do what is needed; the message holds the SQL to run.
        StoreUnavailableError: When PostgreSQL does not answer.
    """
    async with _connected(owner_url) as connection:
        await _prepare(connection, schema, daemon_url=daemon_url, create_roles=create_roles)
        applied = [file.name for file in schema.migrations if await _apply_once(connection, file)]
        adopted = await _declare(connection, schema)
        version = await connection.fetchval("select coalesce(max(version), 0) from refreshd_migrations")
    return MigrationReport(tuple(applied), tuple(adopted), version)


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


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator[Connection]:
    async with translated_faults(url):
        connection = await asyncpg.connect(url, statement_cache_size=0, timeout=_CONNECT_TIMEOUT_SECONDS)
    try:
        yield connection
    finally:
        await connection.close(timeout=_CONNECT_TIMEOUT_SECONDS)


async def _prepare(connection: Connection, schema: Schema, *, daemon_url: str | None, create_roles: bool) -> None:
    async with connection.transaction():
        await _lock(connection)
        if create_roles:
            await _run(connection, schema.roles)
        await _create_daemon_role(connection)
        if daemon_url is not None:
            await _grant_daemon_role(connection, unquote(urlsplit(daemon_url).username or ""))
        if await connection.fetchval("select to_regclass('public.refreshd_migrations')") is None:
            await connection.execute(_LEDGER)


async def _create_daemon_role(connection: Connection) -> None:
    if await connection.fetchval("select exists (select from pg_roles where rolname = $1)", DAEMON_ROLE):
        return
    try:
        async with connection.transaction():
            await connection.execute(f"create role {DAEMON_ROLE} nologin")
    except asyncpg.InsufficientPrivilegeError:
        raise ConfigurationError(
            f"the owner may not create roles. Run as an administrator: create role {DAEMON_ROLE} nologin;"
        ) from None


async def _grant_daemon_role(connection: Connection, login: str) -> None:
    row = await connection.fetchrow(
        "select pg_has_role(rolname, $2, 'member') as member, quote_ident(rolname) as name"
        " from pg_roles where rolname = $1",
        login,
        DAEMON_ROLE,
    )
    if row is None or row["member"]:
        return
    try:
        async with connection.transaction():
            await connection.execute(f"grant {DAEMON_ROLE} to {row['name']}")
    except asyncpg.InsufficientPrivilegeError:
        raise ConfigurationError(
            f"the owner may not grant the daemon's role. Run as an administrator: grant {DAEMON_ROLE} to {row['name']};"
        ) from None


async def _apply_once(connection: Connection, file: SqlFile) -> bool:
    async with connection.transaction():
        await _lock(connection)
        recorded = await connection.fetchval(
            "select checksum from refreshd_migrations where version = $1", file.version
        )
        if recorded == file.checksum:
            return False
        if recorded is not None:
            raise MigrationError(
                f"migration {file.name} was applied with another text: restore the file as released, and write the"
                " change as a new migration"
            )
        await _run(connection, file)
        await connection.execute(
            "insert into refreshd_migrations (version, name, checksum) values ($1, $2, $3)",
            file.version,
            file.name,
            file.checksum,
        )
    return True


async def _declare(connection: Connection, schema: Schema) -> list[str]:
    adopted = []
    async with connection.transaction():
        await _lock(connection)
        await connection.execute("set local check_function_bodies = off")
        for file in schema.data:
            comment = await connection.fetchrow(_TABLE_COMMENT, file.name)
            if comment is None:
                await _run(connection, file)
            elif not (comment["text"] or "").startswith("Written by refreshd"):
                adopted.append(file.name)
        for file in (*schema.functions, *schema.triggers, *schema.seeds, schema.access):
            await _run(connection, file)
        await connection.execute(_DECLARED, "".join(file.checksum for file in (*schema.functions, *schema.triggers)))
    return adopted


async def _lock(connection: Connection) -> None:
    await connection.execute("set local search_path = public")
    await connection.execute("select pg_advisory_xact_lock($1)", _RUNNER_LOCK)


async def _run(connection: Connection, file: SqlFile) -> None:
    try:
        await connection.execute(file.sql)
    except asyncpg.InsufficientPrivilegeError as error:
        raise ConfigurationError(
            f"{file.name}.sql failed, nothing of it was applied: {error}. Migrations run as the owner: set"
            " REFRESHD_OWNER_DATABASE_URL"
        ) from None
    except asyncpg.PostgresError as error:
        reason = f"{type(error).__name__}: {error}"
        raise MigrationError(f"{file.name}.sql failed, nothing of it was applied: {reason}") from error
