"""What the runner says about a database before it does anything, and afterwards."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import asyncpg
import pytest

from daemon.contracts import ConfigurationError
from daemon.store.database import Database
from daemon.store.execution import MigrationError
from daemon.store.migrate import migrate
from daemon.store.plan import plan, read_status
from daemon.store.schema import LATEST_VERSION, Schema, SqlFile, load_schema
from devstack.postgres import EmbeddedPostgres
from devstack.snapshot import describe
from tests.databases import TestDatabase, database_of

SCHEMA = load_schema()
ADDING = SqlFile("0099_adding", "create table added (id integer primary key);")


@pytest.fixture
async def empty(postgres: EmbeddedPostgres) -> AsyncIterator[TestDatabase]:
    async with database_of(postgres, "template0") as database:
        yield database


async def described(url: str) -> str:
    connection = await asyncpg.connect(url)
    try:
        return await describe(connection)
    finally:
        await connection.close()


async def test_an_empty_database_would_get_everything_in_order_and_nothing_is_changed(empty: TestDatabase) -> None:
    schema = load_schema()
    before = await described(empty.owner_url)

    steps = await plan(empty.owner_url, schema, create_roles=True)

    assert await described(empty.owner_url) == before
    assert steps == (
        "create roles and publication where they are missing",
        *(f"apply {file.name}" for file in schema.migrations),
        *(f"create table {file.name}" for file in schema.data),
        *(f"create function {file.name}" for file in schema.functions),
        "declare triggers, seeds and access again",
    )


async def test_only_what_differs_would_be_done(urls: TestDatabase, owner: Database) -> None:
    schema = load_schema()
    await owner.execute("drop function retry_delay_v2")
    await owner.execute("alter function is_valid_identifier(text) reset search_path")
    await owner.execute("grant execute on function refresh_gain_v2 to public")
    await owner.execute("drop table profiles")
    await owner.execute("create table profiles (symbol text primary key, modified_at timestamptz)")
    before = await described(urls.owner_url)

    steps = await plan(urls.owner_url, replace(schema, migrations=(*schema.migrations, ADDING)))

    assert await described(urls.owner_url) == before
    assert [step for step in steps if not step.startswith("note: ")] == [
        "apply 0099_adding",
        "use table profiles as it is",
        "replace function is_valid_identifier",
        "replace function refresh_gain_v2",
        "create function retry_delay_v2",
        "declare triggers, seeds and access again",
    ]
    assert "note: public.profiles lacks columns" in "\n".join(steps)


async def test_a_dry_run_ends_with_the_error_that_the_run_would_end_with(urls: TestDatabase, owner: Database) -> None:
    schema = load_schema()

    with pytest.raises(MigrationError, match="0001_registry was applied with another text"):
        await plan(urls.owner_url, replace(schema, migrations=edited(schema.migrations)))

    await owner.execute("drop table profiles")
    await owner.execute("create view profiles as select 1 as symbol")
    with pytest.raises(MigrationError, match="profiles is a view"):
        await plan(urls.owner_url, schema)


async def test_an_empty_database_has_everything_pending(empty: TestDatabase) -> None:
    status = await read_status(empty.owner_url, load_schema())

    assert (status.version, status.is_up_to_date, status.declared_at) == (0, False, None)
    assert {entry.verdict for entry in status.migrations} == {"pending"}


async def test_a_migrated_database_is_up_to_date_whichever_login_asks(urls: TestDatabase) -> None:
    for url in (urls.owner_url, urls.daemon_url):
        status = await read_status(url, load_schema())

        assert (status.version, status.is_up_to_date) == (LATEST_VERSION, True)
        assert {entry.verdict for entry in status.migrations} == {"as released"}


async def test_a_login_that_may_not_read_the_ledger_is_told_what_to_grant(urls: TestDatabase, owner: Database) -> None:
    await owner.execute("revoke select on refreshd_migrations from refreshd_daemon")

    with pytest.raises(ConfigurationError, match="grant refreshd_daemon to"):
        await read_status(urls.daemon_url, load_schema())


def edited(files: tuple[SqlFile, ...]) -> tuple[SqlFile, ...]:
    first, *rest = files
    return (replace(first, sql=first.sql + "\n-- said better\n"), *rest)


@pytest.mark.parametrize(
    "changed",
    [
        replace(SCHEMA, data=edited(SCHEMA.data)),
        replace(SCHEMA, functions=edited(SCHEMA.functions)),
        replace(SCHEMA, triggers=edited(SCHEMA.triggers)),
        replace(SCHEMA, seeds=edited(SCHEMA.seeds)),
        replace(SCHEMA, access=edited((SCHEMA.access,))[0]),
    ],
    ids=["data", "functions", "triggers", "seeds", "access"],
)
async def test_a_change_of_what_is_declared_is_seen_and_a_run_ends_it(urls: TestDatabase, changed: Schema) -> None:
    before = await read_status(urls.owner_url, changed)
    await migrate(urls.owner_url, changed)
    after = await read_status(urls.owner_url, changed)

    assert (before.is_declared, before.is_up_to_date) == (False, False)
    assert (after.is_declared, after.is_up_to_date) == (True, True)


@pytest.mark.parametrize(
    ("change", "version", "verdict"),
    [
        ("update refreshd_migrations set checksum = 'x' where version = 1", 1, "another text"),
        ("insert into refreshd_migrations values (99, '0099_later', 'x')", 99, "unknown to this version"),
        ("delete from refreshd_migrations where version = 8", 8, "pending"),
    ],
)
async def test_a_ledger_that_differs_from_the_files_is_not_up_to_date(
    urls: TestDatabase, owner: Database, change: str, version: int, verdict: str
) -> None:
    await owner.execute(change)

    status = await read_status(urls.owner_url, load_schema())

    assert {entry.version: entry.verdict for entry in status.migrations}[version] == verdict
    assert not status.is_up_to_date
