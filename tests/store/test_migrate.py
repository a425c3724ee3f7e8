"""The migration runner on a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from urllib.parse import urlsplit

import asyncpg
import pytest

from daemon.contracts import ConfigurationError, SchemaVersionError
from daemon.store.database import Database
from daemon.store.execution import MigrationError
from daemon.store.migrate import check_version, migrate
from daemon.store.schema import LATEST_VERSION, SqlFile, load_schema
from devstack.postgres import EmbeddedPostgres
from devstack.snapshot import describe
from tests.databases import TestDatabase, database_of


async def everything(url: str) -> tuple[str, list[asyncpg.Record]]:
    """Return the schema of a database as text, and its ledger."""
    connection = await asyncpg.connect(url)
    try:
        return await describe(connection), await connection.fetch("select * from refreshd_migrations order by version")
    finally:
        await connection.close()


@pytest.fixture
async def empty(postgres: EmbeddedPostgres) -> AsyncIterator[TestDatabase]:
    async with database_of(postgres, "template0") as database:
        yield database


@asynccontextmanager
async def plain_owner(postgres: EmbeddedPostgres) -> AsyncIterator[tuple[TestDatabase, str]]:
    """Yield an empty database, and the URL of a login that owns it and may do nothing else."""
    superuser = await asyncpg.connect(postgres.url())
    try:
        await superuser.execute("create role plain_owner login nosuperuser password 'plain'")
        async with database_of(postgres, "template0") as database:
            name = urlsplit(database.owner_url).path.removeprefix("/")
            await superuser.execute(f"alter database {name} owner to plain_owner")
            yield database, postgres.url(name, "plain_owner", "plain")
        await superuser.execute("drop role plain_owner")
    finally:
        await superuser.close()


async def test_an_empty_database_gets_everything_and_a_second_run_changes_nothing(empty: TestDatabase) -> None:
    first = await migrate(empty.owner_url, load_schema(), create_roles=True)
    before = await everything(empty.owner_url)

    second = await migrate(empty.owner_url, load_schema(), create_roles=True)

    assert await everything(empty.owner_url) == before
    assert (len(first.applied), first.version) == (LATEST_VERSION, LATEST_VERSION)
    assert (second.applied, second.adoption.tables) == ((), ())


async def test_an_owner_that_is_no_superuser_gets_the_same_schema(
    postgres: EmbeddedPostgres, urls: TestDatabase
) -> None:
    async with plain_owner(postgres) as (empty, owner_url):
        report = await migrate(owner_url, load_schema(), daemon_url=empty.daemon_url, create_roles=True)
        await migrate(owner_url, load_schema(), daemon_url=empty.daemon_url)

        assert report.version == LATEST_VERSION
        assert (await everything(owner_url))[0] == (await everything(urls.owner_url))[0]
        async with Database(empty.daemon_url) as daemon:
            assert await check_version(daemon) == LATEST_VERSION


async def test_the_last_migration_is_the_version_that_the_daemon_knows() -> None:
    assert load_schema().migrations[-1].version == LATEST_VERSION


async def test_two_runners_at_once_apply_once(empty: TestDatabase) -> None:
    reports = await asyncio.gather(*(migrate(empty.owner_url, load_schema(), create_roles=True) for _ in range(4)))

    assert sum(len(report.applied) for report in reports) == LATEST_VERSION


async def test_a_broken_migration_rolls_back_whole_and_keeps_those_before_it(empty: TestDatabase) -> None:
    schema = load_schema()
    broken = SqlFile("0099_broken", "create table half_done (id int); select 1 / 0;")

    with pytest.raises(MigrationError, match=r"0099_broken\.sql failed.*division by zero"):
        await migrate(empty.owner_url, replace(schema, migrations=(*schema.migrations, broken)), create_roles=True)

    async with Database(empty.owner_url) as database:
        assert await database.fetchval("select to_regclass('half_done')") is None
        assert await database.fetchval("select max(version) from refreshd_migrations") == LATEST_VERSION


async def test_a_migration_that_was_changed_after_it_was_applied_is_refused(urls: TestDatabase) -> None:
    schema = load_schema()
    changed = replace(schema.migrations[0], sql=schema.migrations[0].sql + "-- and more")

    with pytest.raises(MigrationError, match="0001_registry was applied with another text"):
        await migrate(urls.owner_url, replace(schema, migrations=(changed, *schema.migrations[1:])))


async def test_a_data_table_of_an_older_system_is_used_as_it_is(empty: TestDatabase) -> None:
    connection = await asyncpg.connect(empty.owner_url)
    await connection.execute("create table profiles (symbol text primary key, modified_at timestamptz, note text)")
    await connection.close()

    report = await migrate(empty.owner_url, load_schema(), create_roles=True)

    assert report.adoption.tables == ("profiles",)
    async with Database(empty.owner_url) as database:
        assert not await database.fetchval("select relrowsecurity from pg_class where relname = 'profiles'")
        assert await database.fetchval("select has_table_privilege('refreshd_daemon', 'profiles', 'insert')")


@pytest.mark.parametrize(
    ("version", "said"), [(None, "run `refreshd migrate`"), (0, "run `refreshd migrate`"), (99, "install the newer")]
)
async def test_a_schema_that_does_not_fit_is_named_with_what_to_run(
    owner: Database, database: Database, version: int | None, said: str
) -> None:
    if version is None:
        await owner.execute("drop table refreshd_migrations")
    else:
        await owner.execute("delete from refreshd_migrations where version > $1", version)
        await owner.execute("insert into refreshd_migrations values ($1, 'x', 'y') on conflict do nothing", version)

    with pytest.raises(SchemaVersionError, match=said):
        await check_version(database)


async def test_a_login_without_the_daemons_role_is_told_what_to_grant(urls: TestDatabase, owner: Database) -> None:
    await owner.execute("create role stranger login password 'stranger'")
    try:
        url = urls.daemon_url.replace("refreshd_test:a%20password%20for%20tests%20only", "stranger:stranger")
        async with Database(url) as stranger:
            with pytest.raises(ConfigurationError, match="grant refreshd_daemon to"):
                await check_version(stranger)
    finally:
        await owner.execute("drop role stranger")


async def test_every_function_has_a_comment_and_a_fixed_search_path(owner: Database) -> None:
    rows = await owner.fetch(
        "select p.proname, obj_description(p.oid, 'pg_proc') as comment, p.proconfig::text as config"
        " from pg_proc p where p.pronamespace = 'public'::regnamespace"
    )

    assert len(rows) == len(load_schema().functions)
    assert [row["proname"] for row in rows if not row["comment"] or "search_path" not in (row["config"] or "")] == []
