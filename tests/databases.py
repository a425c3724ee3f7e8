"""Databases for tests: one server for the whole run, one template with the schema, one copy for each test."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg

from daemon.store.migrate import migrate
from daemon.store.schema import load_schema
from devstack.postgres import EmbeddedPostgres

LOGIN = "refreshd_test"
LOGIN_PASSWORD = "a password for tests only"
TEMPLATE = "template_with_schema"

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class TestDatabase:
    """One database and how to reach it."""

    __test__ = False

    owner_url: str
    daemon_url: str


async def make_template(server: EmbeddedPostgres) -> None:
    """Create the daemon's login and the database that all others are copies of."""
    await _administer(server, f"create role {LOGIN} login password '{LOGIN_PASSWORD}'", f"create database {TEMPLATE}")
    url = server.url(TEMPLATE)
    await migrate(url, load_schema(), daemon_url=server.url(TEMPLATE, LOGIN, LOGIN_PASSWORD), create_roles=True)


@asynccontextmanager
async def database_of(server: EmbeddedPostgres, template: str = TEMPLATE) -> AsyncIterator[TestDatabase]:
    """Copy the template, and drop the copy at the end."""
    name = f"test_{next(_numbers)}"
    # Copied file by file: through the log, block by block, it takes ten times as much of the processor.
    await _administer(server, f"create database {name} template {template} strategy file_copy")
    try:
        yield TestDatabase(server.url(name), server.url(name, LOGIN, LOGIN_PASSWORD))
    finally:
        await _administer(server, f"drop database {name} with (force)")


async def _administer(server: EmbeddedPostgres, *statements: str) -> None:
    connection = await asyncpg.connect(server.url())
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()
