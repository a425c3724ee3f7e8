"""One connection as the owner of the schema, for steps that take as long as they take."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Protocol

import asyncpg
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_random

from daemon.contracts import ConfigurationError, RefreshdError
from daemon.store.database import ROLLED_BACK, Connection, register_codecs, translated_faults
from daemon.store.execution import STATEMENT_SECONDS, connected, set_timeout

LOCK_SECONDS = 5.0
"""How long a step waits for a lock before it starts anew: whoever comes after it waits as well."""

_TRIES = 6
_REFUSALS = (
    asyncpg.ObjectNotInPrerequisiteStateError,
    asyncpg.InvalidParameterValueError,
    asyncpg.ObjectInUseError,
)


class StepRefusedError(RefreshdError):
    """The database says why a step cannot be taken as things are; nothing was changed."""


class Queryable(Protocol):
    """Whatever runs statements: a connection, or the pool of :class:`~daemon.store.database.Database`."""

    async def fetch(self, sql: str, /, *args: object) -> list[asyncpg.Record]:
        """Return all rows."""
        ...

    async def fetchrow(self, sql: str, /, *args: object) -> asyncpg.Record | None:
        """Return the first row."""
        ...

    async def fetchval(self, sql: str, /, *args: object) -> Any:
        """Return the first value of the first row."""
        ...


class Owner:
    """The owner's connection. Made by :func:`owner_connection`."""

    def __init__(self, url: str, connection: Connection) -> None:
        self._url = url
        self._connection = connection

    async def fetch(self, sql: str, *args: object) -> list[asyncpg.Record]:
        """Run one statement and return its rows; errors as :meth:`step`."""
        async with _said_plainly(self._url):
            return await self._connection.fetch(sql, *args)

    async def fetchrow(self, sql: str, *args: object) -> asyncpg.Record | None:
        """Run one statement and return its first row; errors as :meth:`step`."""
        async with _said_plainly(self._url):
            return await self._connection.fetchrow(sql, *args)

    async def fetchval(self, sql: str, *args: object) -> Any:
        """Run one statement and return its only value; errors as :meth:`step`."""
        async with _said_plainly(self._url):
            return await self._connection.fetchval(sql, *args)

    async def step(self, sql: str, *args: object) -> asyncpg.Record:
        """Run one statement in a transaction of its own, anew where it met a lock, and return its only row.

        Raises:
            StepRefusedError: When the database refuses it, saying why.
            ConfigurationError: When the login may not do that.
            StoreUnavailableError: When PostgreSQL could not do it now.
        """
        async with _said_plainly(self._url):
            async for attempt in AsyncRetrying(
                retry=retry_if_exception_type(ROLLED_BACK),
                stop=stop_after_attempt(_TRIES),
                wait=wait_random(0.1, 0.5),
                reraise=True,
            ):
                with attempt:
                    async with self._connection.transaction():
                        await bound(self._connection, LOCK_SECONDS)
                        row = await self._connection.fetchrow(sql, *args)
                        assert row is not None
                        return row
        raise AssertionError("unreachable: the last attempt reraises")

    async def step_value(self, sql: str, *args: object) -> Any:
        """Do the same and return the only value of that row."""
        return (await self.step(sql, *args))[0]


@asynccontextmanager
async def owner_connection(url: str) -> AsyncIterator[Owner]:
    """Yield the owner's connection; errors as :func:`~daemon.store.execution.connected`."""
    async with connected(url, "refreshd migration") as connection:
        await register_codecs(connection)
        yield Owner(url, connection)


async def bound(connection: Connection, lock_seconds: float) -> None:
    """Have the rest of this transaction wait so long for each lock, and take as long as it takes for its work."""
    await set_timeout(connection, "statement_timeout", STATEMENT_SECONDS)
    await set_timeout(connection, "lock_timeout", lock_seconds)


@asynccontextmanager
async def _said_plainly(url: str) -> AsyncIterator[None]:
    try:
        async with translated_faults(url):
            yield
    except _REFUSALS as error:
        raise StepRefusedError(str(error)) from None
    except asyncpg.InsufficientPrivilegeError as error:
        raise ConfigurationError(
            f"{error}. Steps of the migration are taken as the owner: set REFRESHD_OWNER_DATABASE_URL"
        ) from None
    except (asyncpg.UndefinedTableError, asyncpg.UndefinedFunctionError) as error:
        raise ConfigurationError(f"{error}: run `refreshd migrate`") from None
    except asyncpg.UniqueViolationError:
        raise  # whoever writes a row knows what it means
    except asyncpg.CheckViolationError as error:
        if error.table_name is not None and error.table_name.startswith("migration_"):
            raise
        raise StepRefusedError(str(error)) from None
    except asyncpg.PostgresError as error:
        raise StepRefusedError(f"PostgreSQL refuses it: {error}") from None
