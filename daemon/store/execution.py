"""How the migration runner works on a database: file by file, in transactions of its own, within bounds of time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import asyncpg

from daemon.contracts import ConfigurationError, RefreshdError
from daemon.store.database import Connection, translated_faults
from daemon.store.names import NamedConnection, Names, connection_class
from daemon.store.schema import SqlFile

LOCK_SECONDS = 10.0
"""How long a statement waits for a lock: whoever comes after it waits as well."""

STATEMENT_SECONDS = 900.0
"""How long a statement may take, and how long a runner waits for another one."""

_RUNNER_LOCK = 45
_CONNECT_TIMEOUT_SECONDS = 10.0

_WAITED_FOR = """
select format('%s on %s, held by %s', w.mode,
              coalesce(w.relation::regclass::text, 'a ' || w.locktype),
              (select string_agg(
                   format('process %s (user %s, application %L)', a.pid, a.usename, a.application_name), ', ')
               from pg_stat_activity a where a.pid = any (pg_blocking_pids(w.pid))))
from pg_locks h
join pg_locks w on w.pid = h.pid and not w.granted
where h.locktype = 'advisory' and h.granted and h.classid = 0 and h.objid = $1
  and h.database = (select oid from pg_database where datname = current_database())
"""


class MigrationError(RefreshdError):
    """The schema could not be applied; the message says what failed, why, and what of it was applied."""


class ChangedMigrationError(MigrationError):
    """A migration was edited after it was applied."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"migration {name} was applied with another text: restore the file as released, and write the change as a"
            " new migration"
        )


class LockTimeoutError(Exception):
    """A file did not get a lock in time."""


@asynccontextmanager
async def connected(url: str, application_name: str = "refreshd migrate") -> AsyncIterator[NamedConnection]:
    """Yield one connection, on which all SQL has the names that the database knows.

    Raises:
        ConfigurationError: When the login is refused.
        StoreUnavailableError: When PostgreSQL does not answer.
    """
    names = Names()
    async with translated_faults(url):
        connection: NamedConnection = await asyncpg.connect(
            url,
            statement_cache_size=0,
            timeout=_CONNECT_TIMEOUT_SECONDS,
            server_settings={"application_name": application_name},
            connection_class=connection_class(names),
        )
    try:
        async with translated_faults(url):
            await names.look(connection)
        yield connection
    finally:
        await connection.close(timeout=_CONNECT_TIMEOUT_SECONDS)


@asynccontextmanager
async def runner_transaction(connection: Connection, lock_seconds: float = LOCK_SECONDS) -> AsyncIterator[None]:
    """Work in one transaction that no other runner works beside.

    Raises:
        MigrationError: When another runner is at work and does not end.
    """
    async with connection.transaction():
        await _begin(connection, lock_seconds)
        yield


@asynccontextmanager
async def rehearsal(connection: Connection, lock_seconds: float = LOCK_SECONDS) -> AsyncIterator[None]:
    """Work in such a transaction, and roll it back: the database stays as it is. Errors as `runner_transaction`."""
    transaction = connection.transaction()
    await transaction.start()
    try:
        await _begin(connection, lock_seconds)
        yield
    finally:
        await transaction.rollback()


@asynccontextmanager
async def named_locks(url: str, lock_seconds: float) -> AsyncIterator[None]:
    """Turn the end of a wait for a lock into an error that names the lock and who holds it.

    PostgreSQL's own error does not: while the runner waits, a second connection looks what for.

    Raises:
        MigrationError: When a lock was not given in time.
    """
    seen: list[str] = []
    watching = asyncio.create_task(_watch(url, lock_seconds / 4, seen))
    try:
        yield
    except (asyncpg.LockNotAvailableError, LockTimeoutError) as error:
        what = f"{error}.sql" if isinstance(error, LockTimeoutError) else "the ledger"
        lock = seen[-1] if seen else "a lock"
        raise MigrationError(
            f"{what} failed, nothing of it was applied: it waited {lock_seconds:g} s in vain for {lock}. Run `refreshd"
            " migrate` again when that transaction has ended"
        ) from None
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching


async def run_file(connection: Connection, file: SqlFile) -> None:
    """Execute one file of the schema.

    Raises:
        MigrationError: When PostgreSQL refused it.
        ConfigurationError: When the login may not do that.
    """
    try:
        await connection.execute(file.sql)
    except asyncpg.LockNotAvailableError:
        raise LockTimeoutError(file.name) from None
    except asyncpg.InsufficientPrivilegeError as error:
        raise ConfigurationError(
            f"{file.name}.sql failed, nothing of it was applied: {error}. Migrations run as the owner: set"
            " REFRESHD_OWNER_DATABASE_URL"
        ) from None
    except asyncpg.PostgresError as error:
        reason = f"{type(error).__name__}: {error}"
        raise MigrationError(f"{file.name}.sql failed, nothing of it was applied: {reason}") from error


async def set_timeout(connection: Connection, name: str, seconds: float) -> None:
    """Set ``statement_timeout`` or ``lock_timeout`` for the rest of the open transaction."""
    await connection.fetchval("select set_config($1, $2, true)", name, f"{seconds * 1000:.0f}")


async def _begin(connection: Connection, lock_seconds: float) -> None:
    await connection.execute("set local search_path = public")
    await set_timeout(connection, "statement_timeout", STATEMENT_SECONDS)
    await connection.execute("set local lock_timeout = 0")
    try:
        await connection.execute("select pg_advisory_xact_lock($1)", _RUNNER_LOCK)
    except asyncpg.QueryCanceledError:
        raise MigrationError(f"another `refreshd migrate` is at work for {STATEMENT_SECONDS / 60:g} min") from None
    if isinstance(connection, NamedConnection):  # whoever was waited for may have changed the names
        await connection.names.look(connection)
    # Only now: a runner that waits for another one holds nobody up.
    await set_timeout(connection, "lock_timeout", lock_seconds)


async def _watch(url: str, every_seconds: float, seen: list[str]) -> None:
    await asyncio.sleep(every_seconds)
    with suppress(OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
        connection = await asyncpg.connect(url, statement_cache_size=0, timeout=_CONNECT_TIMEOUT_SECONDS)
        try:
            while True:
                if lock := await connection.fetchval(_WAITED_FOR, _RUNNER_LOCK):
                    seen.append(lock)
                await asyncio.sleep(every_seconds)
        finally:
            connection.terminate()
