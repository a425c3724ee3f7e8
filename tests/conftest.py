"""What many tests start with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from daemon.store.database import Database
from devstack.postgres import EmbeddedPostgres
from tests.databases import TestDatabase, database_of, make_template


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """One PostgreSQL for the whole run."""
    with EmbeddedPostgres.start(durable=False, settings={"max_connections": "200"}) as server:
        asyncio.run(make_template(server))
        yield server


@pytest.fixture
async def urls(postgres: EmbeddedPostgres) -> AsyncIterator[TestDatabase]:
    """A database of the test's own, with the schema applied."""
    async with database_of(postgres) as database:
        yield database


@pytest.fixture
async def owner(urls: TestDatabase) -> AsyncIterator[Database]:
    """The owner's connections: for setting up and looking."""
    async with Database(urls.owner_url) as database:
        yield database


@pytest.fixture
async def database(urls: TestDatabase) -> AsyncIterator[Database]:
    """The daemon's connections, with no more rights than it has."""
    async with Database(urls.daemon_url, max_connections=20) as database:
        yield database
