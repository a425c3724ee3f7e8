"""The pool of connections, and what PostgreSQL's faults mean to the daemon.

Every statement works through a transaction pooler: no prepared statements, no session state. A fault that can pass
becomes :class:`~daemon.contracts.StoreUnavailableError`, an operator's mistake :class:`ConfigurationError`; a
deadlock or a serialisation failure is tried again at once, up to three times, because the statement was rolled back.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Self, TypeAlias, TypeVar
from urllib.parse import urlsplit

import asyncpg
import orjson
import structlog
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_random

from daemon.contracts import ConfigurationError, StoreUnavailableError
from daemon.store.names import NAMES_ERRORS, Names, connection_class

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"

COMMAND_TIMEOUT_SECONDS = 5.0
CALL_TIMEOUT_SECONDS = 6.0
"""Over everything: waiting for a connection, the command, and what is done again after a deadlock."""

CLOSE_TIMEOUT_SECONDS = 3.0

T = TypeVar("T")

log = structlog.get_logger()

ROLLED_BACK = (
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.LockNotAvailableError,
)
"""After which a statement has changed nothing, and may be tried anew at once."""
_TRANSIENT = (
    OSError,
    TimeoutError,
    asyncpg.InternalServerError,
    asyncpg.PostgresSystemError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.OperatorInterventionError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.InternalClientError,
    *ROLLED_BACK,
)
_MISTAKES = (
    asyncpg.InvalidCatalogNameError,
    asyncpg.InvalidPasswordError,
    asyncpg.InvalidAuthorizationSpecificationError,
)


@asynccontextmanager
async def translated_faults(url: str, *, started: bool = False) -> AsyncIterator[None]:
    """Turn what asyncpg raises into the daemon's own errors; a defect in our SQL stays what it is.

    Args:
        url: Whose host and port the message names.
        started: Whether the login has worked before: it can be refused for a while then (a restore, a new password).
    """
    try:
        yield
    except (ssl.SSLCertVerificationError, *_MISTAKES) as error:
        if started:
            raise StoreUnavailableError(f"PostgreSQL refuses what it accepted before: {error}") from error
        raise ConfigurationError(_advice(error)) from None
    except Exception as error:
        if not is_transient(error):
            raise
        reason = str(error) or "no answer in time"
        raise StoreUnavailableError(f"{_where(url)} is unavailable: {type(error).__name__}: {reason}") from error


def _where(url: str) -> str:
    """Return which server it is, without user and password."""
    return f"PostgreSQL at {urlsplit(url).netloc.rpartition('@')[2] or 'its local socket'}"


def _advice(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"the certificate of PostgreSQL is not trusted: {error.verify_message}. Check host, sslmode and sslrootcert"
            " in DATABASE_URL."
        )
    if isinstance(error, asyncpg.InvalidCatalogNameError):
        return f"PostgreSQL has no such database: {error}. Check the name in DATABASE_URL."
    return f"PostgreSQL refused the login: {error}. Check user and password in DATABASE_URL."


def is_transient(error: Exception) -> bool:
    """Return whether PostgreSQL may be able to do later what it could not do now."""
    if isinstance(error, asyncpg.InterfaceError):
        return "argument" not in str(error)  # those are defects of ours
    return isinstance(error, _TRANSIENT)


def _retrying() -> AsyncRetrying:
    return AsyncRetrying(
        retry=retry_if_exception_type(ROLLED_BACK),
        stop=stop_after_attempt(4),
        wait=wait_random(0, 0.02),
        reraise=True,
    )


class Database:
    """One pool to one PostgreSQL.

    Args:
        url: ``postgresql://`` URL; ``sslmode`` and ``sslrootcert`` work as in libpq.
        max_connections: Upper bound of the pool; connections open when they are needed.
        application_name: What ``pg_stat_activity`` shows.
    """

    def __init__(self, url: str, *, max_connections: int = 10, application_name: str = "refreshd") -> None:
        self._url = url
        self._max_connections = max_connections
        self._application_name = application_name
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        self._names = Names()
        self._has_looked = False
        self._started = False

    def mark_started(self) -> None:
        """Say that the login has worked: from now on, its refusal is a fault that can pass."""
        self._started = True

    async def open(self) -> None:
        """Make the pool; connects to nothing yet."""
        async with translated_faults(self._url):
            self._pool = await asyncpg.create_pool(
                self._url,
                min_size=0,
                max_size=self._max_connections,
                statement_cache_size=0,
                command_timeout=COMMAND_TIMEOUT_SECONDS,
                timeout=COMMAND_TIMEOUT_SECONDS,
                max_inactive_connection_lifetime=120,
                server_settings={"application_name": self._application_name},
                init=register_codecs,
                reset=_no_reset,
                connection_class=connection_class(self._names),
            )

    @property
    def connections(self) -> tuple[int, int, int]:
        """How many connections are busy, how many are open and idle, and how many there may be."""
        pool = self._pool
        if pool is None:
            return 0, 0, self._max_connections
        idle = pool.get_idle_size()
        return pool.get_size() - idle, idle, self._max_connections

    async def close(self) -> None:
        """Close the pool within seconds, whatever the server does."""
        if self._pool is None:
            return
        pool, self._pool = self._pool, None
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_SECONDS):
                await pool.close()
        except (TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            pool.terminate()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def fetch(self, sql: str, *args: object) -> list[asyncpg.Record]:
        """Run one statement and return its rows.

        Raises:
            StoreUnavailableError: When PostgreSQL could not do it now.
        """
        return await self._call(lambda connection: connection.fetch(sql, *args))

    async def fetchrow(self, sql: str, *args: object) -> asyncpg.Record | None:
        """Run one statement and return its first row; errors as :meth:`fetch`."""
        return await self._call(lambda connection: connection.fetchrow(sql, *args))

    async def fetchval(self, sql: str, *args: object) -> Any:
        """Run one statement and return the first value of its first row; errors as :meth:`fetch`."""
        return await self._call(lambda connection: connection.fetchval(sql, *args))

    async def execute(self, sql: str, *args: object) -> None:
        """Run one statement; errors as :meth:`fetch`."""
        await self._call(lambda connection: connection.execute(sql, *args))

    async def in_transaction(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Run ``work`` in a transaction of its own; ``work`` may run several times and must have no side effect.

        Raises:
            StoreUnavailableError: When PostgreSQL could not do it now. Whether the commit arrived is then unknown.
        """

        async def transaction(connection: Connection) -> T:
            async with connection.transaction():
                return await work(connection)

        return await self._call(transaction)

    async def _call(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        if self._pool is None:
            raise StoreUnavailableError("PostgreSQL is unavailable: the pool is not open")
        async with translated_faults(self._url, started=self._started), asyncio.timeout(CALL_TIMEOUT_SECONDS):
            if not self._has_looked:
                await self._attempt(self._pool, self._names.look)
                self._has_looked = True
            known = self._names.suffix
            try:
                return await self._attempt(self._pool, work)
            except NAMES_ERRORS:
                await self._attempt(self._pool, self._names.look)
                if self._names.suffix == known:
                    raise
                if self._started:
                    log.info("names_changed", suffix=self._names.suffix or "none", was=known or "none")
                return await self._attempt(self._pool, work)

    @staticmethod
    async def _attempt(pool: asyncpg.Pool[asyncpg.Record], work: Callable[[Connection], Awaitable[T]]) -> T:
        async for attempt in _retrying():
            with attempt:
                async with pool.acquire(timeout=COMMAND_TIMEOUT_SECONDS) as connection:
                    return await work(connection)
        raise AssertionError("unreachable: the last attempt reraises")


async def register_codecs(connection: Connection) -> None:
    """Have jsonb come and go as Python's own types."""
    await connection.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        encoder=lambda value: b"\x01" + orjson.dumps(value),
        decoder=lambda value: orjson.loads(value[1:]),
        format="binary",
    )


async def _no_reset(connection: Connection) -> None:
    """Leave the session alone: there is no session state, and a transaction pooler would reset somebody else's."""


def transposed(rows: Sequence[Sequence[Any]], width: int) -> list[list[Any]]:
    """Turn rows into the column arrays that a set-based function takes; ``width`` empty ones for no rows."""
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(width)]
