"""The migration runner on a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import asyncpg
import pytest

from daemon.contracts import ConfigurationError, SchemaVersionError
from daemon.store.database import Database
from daemon.store.execution import MigrationError
from daemon.store.migrate import check_version, migrate
from daemon.store.schema import LATEST_VERSION, SqlFile, load_schema
from devstack.postgres import EmbeddedPostgres
from tests.databases import TestDatabase, database_of

SNAPSHOT = """
select string_agg(line, E'\\n' order by line) from (
    select format('%s.%s %s %s', c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull) as line
    from pg_class c join pg_attribute a on a.attrelid = c.oid
    where c.relnamespace = 'public'::regnamespace and a.attnum > 0
    union all
    select format('%s %s %s', p.oid::regprocedure, p.prosrc, p.proacl) from pg_proc p
    where p.pronamespace = 'public'::regnamespace
    union all
    select format('%s %s', c.relname, c.relacl) from pg_class c where c.relnamespace = 'public'::regnamespace
    union all
    select format('%s', r) from data_type_registry_v2 r
    union all
    select format('%s %s %s', r.version, r.checksum, r.applied_at) from refreshd_migrations r
) lines
"""


@pytest.fixture
async def empty(postgres: EmbeddedPostgres) -> AsyncIterator[TestDatabase]:
    async with database_of(postgres, "template0") as database:
        yield database


async def test_an_empty_database_gets_everything_and_a_second_run_changes_nothing(empty: TestDatabase) -> None:
    first = await migrate(empty.owner_url, load_schema(), create_roles=True)
    async with Database(empty.owner_url) as database:
        before = await database.fetchval(SNAPSHOT)

        second = await migrate(empty.owner_url, load_schema(), create_roles=True)

        assert await database.fetchval(SNAPSHOT) == before
    assert (len(first.applied), first.version) == (LATEST_VERSION, LATEST_VERSION)
    assert (second.applied, second.adoption.tables) == ((), ())


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


@pytest.mark.parametrize("role", ["anon", "authenticated"])
async def test_the_roles_of_the_web_execute_nothing_and_read_only_data(owner: Database, role: str) -> None:
    executable = await owner.fetch(
        "select p.oid::regprocedure::text as name from pg_proc p where p.pronamespace = 'public'::regnamespace"
        " and has_function_privilege($1, p.oid, 'execute')",
        role,
    )
    readable = await owner.fetch(
        "select c.relname from pg_class c where c.relnamespace = 'public'::regnamespace"
        " and c.relkind in ('r', 'p', 'v') and has_table_privilege($1, c.oid, 'select') order by 1",
        role,
    )
    writable = await owner.fetch(
        "select c.relname from pg_class c where c.relnamespace = 'public'::regnamespace"
        " and c.relkind in ('r', 'p', 'v') and has_table_privilege($1, c.oid, 'insert, update, delete')",
        role,
    )

    assert [row["name"] for row in executable] == []
    assert [row["relname"] for row in readable] == ["live_quote_indicators", "profiles", "refresh_status_v2"]
    assert writable == []


async def test_every_function_has_a_comment_and_a_fixed_search_path(owner: Database) -> None:
    rows = await owner.fetch(
        "select p.proname, obj_description(p.oid, 'pg_proc') as comment, p.proconfig::text as config"
        " from pg_proc p where p.pronamespace = 'public'::regnamespace"
    )

    assert len(rows) == len(load_schema().functions)
    assert [row["proname"] for row in rows if not row["comment"] or "search_path" not in (row["config"] or "")] == []
