"""What many tests start with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator

import hypothesis
import pytest
import structlog

from daemon.store.database import Database
from devstack.pooler import Pooler, find_pooler
from devstack.postgres import SUPERUSER, EmbeddedPostgres
from devstack.realtime.server import RealtimeServer
from tests.databases import LOGIN, LOGIN_PASSWORD, TestDatabase, database_of, make_template
from tests.needs import require
from tests.presence.stage import LogRecorder, new_server

hypothesis.settings.register_profile("shared", deadline=None)  # how long an example takes says more of the machine
hypothesis.settings.load_profile("shared")


@pytest.fixture
def log() -> Iterator[LogRecorder]:
    """Record what is logged, in place of writing it."""
    recorder = LogRecorder()
    before = structlog.get_config()
    structlog.configure(processors=[recorder])
    yield recorder
    structlog.configure(**before)


@pytest.fixture
async def server() -> AsyncIterator[RealtimeServer]:
    """A development Realtime server that runs."""
    async with new_server() as running:
        yield running


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


@pytest.fixture(scope="session")
def pooler(postgres: EmbeddedPostgres) -> Iterator[Pooler]:
    """A pgbouncer in transaction mode, whose clients share few connections."""
    require("pgbouncer", found=find_pooler(), hint="apt-get install pgbouncer")
    with Pooler(postgres, {SUPERUSER: postgres.password, LOGIN: LOGIN_PASSWORD}) as running:
        yield running


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run every test that talks to PostgreSQL through `owner` or `database` twice: directly, and through the pooler.

    Those with the mark ``direct`` run once: their subject is what the schema holds, or their own raw connections.
    """
    if "route" in metafunc.fixturenames:
        ways = ["direct"] if metafunc.definition.get_closest_marker("direct") else ["direct", "pooled"]
        metafunc.parametrize("route", ways, indirect=True)


@pytest.fixture
def route(request: pytest.FixtureRequest) -> Callable[[str], str]:
    """From a URL of the server to the one that this test uses."""
    if request.param == "direct":
        return str
    pooler: Pooler = request.getfixturevalue("pooler")
    return pooler.through


@pytest.fixture
async def owner(urls: TestDatabase, route: Callable[[str], str]) -> AsyncIterator[Database]:
    """The owner's connections: for setting up and looking."""
    async with Database(route(urls.owner_url)) as database:
        yield database


@pytest.fixture
async def database(urls: TestDatabase, route: Callable[[str], str]) -> AsyncIterator[Database]:
    """The daemon's connections, with no more rights than it has."""
    async with Database(route(urls.daemon_url), max_connections=20) as database:
        yield database
