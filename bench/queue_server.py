"""The one embedded server of the queue benchmark, and the databases on it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg

from daemon.store.budgets import Limits, announce_limits
from daemon.store.database import Database
from daemon.store.flags import list_flags, set_flags
from daemon.store.migrate import migrate
from daemon.store.schema import load_schema
from devstack.postgres import EmbeddedPostgres

LOGIN = "refreshd_bench"
UPSTREAM = "fmp"
TEMPLATE = "own_template"
PLENTY = Limits(calls_per_minute=100_000_000, bytes_per_30_days=10**18)
"""Limits that never stand in the way: they are checked all the same."""

SETTINGS = {
    "shared_buffers": "1GB",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "30min",
    "max_connections": "100",
    "track_commit_timestamp": "off",
}
"""The same for all queues. Checkpoints are made between the measurements, not in them."""

_SYMBOLS = """
insert into supported_symbols (symbol) select 'S' || lpad(i::text, 7, '0') from generate_series(0, $1::int - 1) i
"""


@dataclass(frozen=True, slots=True)
class Place:
    """One database, as its owner and as the daemon reach it."""

    owner_url: str
    daemon_url: str


class Server:
    """Makes databases on a durable embedded server: every commit waits for the disk."""

    def __init__(self, postgres: EmbeddedPostgres, password: str) -> None:
        self._postgres = postgres
        self._password = password

    @property
    def postmaster_pid(self) -> int:
        """The server's first process."""
        return self._postgres.postmaster_pid

    async def create(self, name: str, template: str | None = None) -> Place:
        """Create a database, empty or as a copy of another one that nobody is connected to."""
        copy = "" if template is None else f" template {template} strategy file_copy"
        await self.administer(f"create database {name}{copy}")
        return self.place(name)

    async def drop(self, name: str) -> None:
        """Drop a database, whoever is connected."""
        await self.administer(f"drop database {name} with (force)")

    def place(self, name: str) -> Place:
        """Return how a database is reached."""
        return Place(self._postgres.url(name), self._postgres.url(name, LOGIN, self._password))

    async def checkpoint(self) -> None:
        """Write out what the last measurement left dirty."""
        await self.administer("checkpoint")

    async def administer(self, *statements: str) -> None:
        """Run statements outside of any of the databases."""
        connection = await asyncpg.connect(self._postgres.url())
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()


@asynccontextmanager
async def running_server(symbols: int) -> AsyncIterator[Server]:
    """Start the server, with one database to be copied that has our schema: flags on, ample limits, many symbols."""
    postgres = await asyncio.to_thread(EmbeddedPostgres.start, durable=True, settings=SETTINGS)
    try:
        password = secrets.token_hex(16)
        server = Server(postgres, password)
        await server.administer(f"create role {LOGIN} login password '{password}'")
        place = await server.create(TEMPLATE)
        await migrate(place.owner_url, load_schema(), daemon_url=place.daemon_url, create_roles=True)
        async with Database(place.owner_url) as owner:
            await set_flags(owner, [flag.name for flag in await list_flags(owner)], enabled=True)
            await stay_alive(owner)
        await run_as_owner(place, (_SYMBOLS, [symbols]), ("vacuum (analyze)", []))
        yield server
    finally:
        await asyncio.to_thread(postgres.stop)


@asynccontextmanager
async def opened(server: Server, name: str) -> AsyncIterator[tuple[Place, Database, Database]]:
    """Copy the template; give the place, the owner's and the daemon's connections; drop the copy."""
    place = await server.create(name, TEMPLATE)
    try:
        async with Database(place.owner_url) as owner, Database(place.daemon_url, max_connections=22) as database:
            yield place, owner, database
    finally:
        await server.drop(name)


async def run_as_owner(place: Place, *statements: tuple[str, Sequence[object]]) -> None:
    """Run statements that may take longer than the daemon ever waits."""
    connection = await asyncpg.connect(place.owner_url)
    try:
        for sql, args in statements:
            await connection.execute(sql, *args)
    finally:
        await connection.close()


async def stay_alive(database: Database) -> None:
    """Say again that an instance with ample limits lives; the daemon's gate does so every few seconds."""
    await announce_limits(database, UPSTREAM, "bench", PLENTY)
