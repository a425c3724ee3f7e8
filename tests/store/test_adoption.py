"""Tables of an older system under the names of ours: used as they are, or refused with what mends them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from daemon.store.database import Connection, Database
from daemon.store.execution import MigrationError
from daemon.store.migrate import migrate
from daemon.store.schema import load_schema
from devstack.postgres import EmbeddedPostgres
from tests.databases import TestDatabase, database_of

SOUND_PROFILES = """
create table profiles (
    id bigint generated always as identity primary key,
    symbol varchar(20) not null unique,
    company_name text not null,
    market_cap integer not null,
    modified_at timestamp,
    note text
)
"""
SOUND_QUOTES = """
create table live_quote_indicators (
    symbol text primary key, price double precision, source_timestamp timestamptz, fetched_at timestamptz
)
"""
POLICY = "alter table profiles enable row level security; create policy p on profiles "


@pytest.fixture
async def empty(postgres: EmbeddedPostgres) -> AsyncIterator[TestDatabase]:
    async with database_of(postgres, "template0") as database:
        yield database


@asynccontextmanager
async def connected(urls: TestDatabase) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(urls.owner_url)
    try:
        yield connection
    finally:
        await connection.close()


async def executed(urls: TestDatabase, *statements: str) -> None:
    async with connected(urls) as connection:
        for statement in statements:
            await connection.execute(statement)


async def objects(urls: TestDatabase) -> list[str]:
    """Return everything of the database's own, and what it is."""
    async with connected(urls) as connection:
        rows = await connection.fetch(
            """
            select 'table ' || c.oid::regclass || c.relkind::text || coalesce(c.relacl::text, '') as name
            from pg_class c
            where c.relnamespace = 'public'::regnamespace or c.relpersistence = 't'
            union all select 'function ' || oid::regprocedure from pg_proc where pronamespace = 'public'::regnamespace
            union all select 'publication ' || pubname from pg_publication
            order by 1
            """
        )
    return [row["name"] for row in rows]


async def refusal(urls: TestDatabase) -> str:
    """Migrate, and return why that was refused; fail when anything was changed."""
    before = await objects(urls)

    with pytest.raises(MigrationError) as caught:
        await migrate(urls.owner_url, load_schema(), create_roles=True)

    assert await objects(urls) == before
    return str(caught.value)


async def test_a_table_with_other_columns_is_used_as_it_is_and_stores_what_it_can(empty: TestDatabase) -> None:
    await executed(empty, SOUND_PROFILES)

    report = await migrate(empty.owner_url, load_schema(), create_roles=True)

    lacking, other_types, not_null = report.adoption.notes
    assert report.adoption.tables == ("profiles",)
    assert lacking.startswith("public.profiles lacks columns, whose values will not be stored: price, beta,")
    assert "market_cap integer (refreshd's own: bigint)" in other_types
    assert not_null.endswith("fails its job: market_cap")
    async with Database(empty.owner_url) as owner:
        rows = [{"symbol": "AAPL", "company_name": "Apple", "market_cap": 7, "price": 1.5}]
        stored = await owner.fetchrow("select * from store_rows_v2('profile', $1)", rows)
        assert stored is not None
        assert stored["inserted"] == 1
        assert not await owner.fetchval("select relrowsecurity from pg_class where relname = 'profiles'")


async def test_all_problems_of_all_tables_are_named_at_once_and_their_sql_mends_them(empty: TestDatabase) -> None:
    await executed(
        empty,
        """
        create table profiles (
            id integer primary key, symbol text, company_name text, modified_at text, tenant text not null
        );
        alter table profiles enable row level security;
        create policy everyone on profiles for select using (true);
        create view live_quote_indicators as select 1 as symbol;
        """,
    )

    text = await refusal(empty)
    await executed(empty, text.split("\n", 1)[1])
    report = await migrate(empty.owner_url, load_schema(), create_roles=True)

    for said in (
        "public.live_quote_indicators is a view, no table",
        "column modified_at of public.profiles is text, and must be timestamp with time zone",
        "public.profiles has no unique index on exactly (symbol)",
        "column id of public.profiles must not be NULL and has no default",
        "column tenant of public.profiles must not be NULL and has no default",
        "no policy lets refreshd_daemon read and write",
    ):
        assert said in text
    assert text.count("\n-- ") >= 6
    assert report.adoption.tables == ("profiles",)


@pytest.mark.parametrize(
    ("table", "said", "remedy"),
    [
        (
            "create materialized view profiles as select 1 as symbol",
            "is a materialized view, no table",
            "alter materialized view public.profiles rename to profiles_old;",
        ),
        (
            "create table profiles (symbol text primary key)",
            "public.profiles has no column modified_at",
            "alter table public.profiles add column modified_at timestamp with time zone default now();",
        ),
        (
            "create table profiles (ticker text primary key, modified_at timestamptz)",
            "public.profiles has no column symbol",
            "alter table public.profiles add column symbol text;",
        ),
        (
            "create table profiles (symbol integer primary key, modified_at timestamptz)",
            "column symbol of public.profiles is integer, and must be text",
            "alter table public.profiles alter column symbol type text using symbol::text;",
        ),
        (
            "create table profiles (symbol text, modified_at timestamptz, unique (symbol) deferrable)",
            "has no unique index on exactly (symbol)",
            "create unique index on public.profiles (symbol);",
        ),
        (
            "create table profiles (symbol text unique, modified_at timestamptz, id uuid primary key)",
            "column id of public.profiles must not be NULL",
            "alter table public.profiles alter column id set default gen_random_uuid()::text::uuid;",
        ),
        (
            "create table profiles (symbol text unique, modified_at timestamptz, exchange_id bigint not null)",
            "column exchange_id of public.profiles must not be NULL",
            "alter table public.profiles alter column exchange_id drop not null;",
        ),
        (
            "create table profiles (symbol text generated always as ('A') stored unique, modified_at timestamptz)",
            "column symbol of public.profiles is generated",
            "alter table public.profiles alter column symbol drop expression;",
        ),
    ],
)
async def test_a_table_that_cannot_be_used_is_refused_with_the_sql_that_mends_it(
    empty: TestDatabase, table: str, said: str, remedy: str
) -> None:
    await executed(empty, table)

    text = await refusal(empty)
    await executed(empty, text.split("\n", 1)[1])
    report = await migrate(empty.owner_url, load_schema(), create_roles=True)

    assert said in text
    assert remedy in text.splitlines() or f"{remedy} " in text
    assert report.version > 0


@pytest.mark.parametrize(
    ("policy", "accepted"),
    [
        (POLICY + "using (true)", True),
        (POLICY + "to refreshd_daemon using (true) with check (true)", True),
        (POLICY + "for select using (true); create policy i on profiles for insert with check (true)", False),
        (POLICY + "using (current_user = 'service_role')", False),
        (POLICY + "to service_role using (true)", False),
        (POLICY + "as restrictive using (true)", False),
    ],
)
async def test_row_level_security_needs_a_policy_that_lets_the_daemon_write(
    empty: TestDatabase, policy: str, accepted: bool
) -> None:
    await executed(empty, SOUND_PROFILES, policy)

    if accepted:
        report = await migrate(empty.owner_url, load_schema(), create_roles=True)
        assert report.adoption.tables == ("profiles",)
    else:
        assert "no policy lets refreshd_daemon read and write" in await refusal(empty)


async def test_a_table_of_that_name_in_another_schema_does_not_matter(empty: TestDatabase) -> None:
    await executed(empty, "create schema older", "create table older.profiles (id integer)")

    report = await migrate(empty.owner_url, load_schema(), create_roles=True)

    assert (report.adoption.tables, report.adoption.notes) == ((), ())
    async with Database(empty.owner_url) as owner:
        comment = await owner.fetchval("select obj_description('public.profiles'::regclass)")
        assert comment.startswith("Written by refreshd")


async def test_a_registry_that_an_operator_has_changed_says_what_is_needed(urls: TestDatabase) -> None:
    await executed(
        urls,
        "drop table profiles",
        "create table profiles (symbol text primary key, updated_at timestamptz not null)",
        "update data_type_registry_v2 set timestamp_column = 'updated_at' where data_type = 'profile'",
    )

    report = await migrate(urls.owner_url, load_schema())

    assert report.adoption.tables == ("profiles",)


async def test_a_table_of_another_owner_is_refused(empty: TestDatabase) -> None:
    await executed(
        empty,
        "create role newcomer login password 'newcomer'",
        f"alter database {empty.owner_url.rpartition('/')[2].partition('?')[0]} owner to newcomer",
        SOUND_QUOTES,
    )
    url = empty.daemon_url.replace("refreshd_test:a%20password%20for%20tests%20only", "newcomer:newcomer")

    try:
        with pytest.raises(MigrationError, match="belongs to postgres, for whom newcomer may not act"):
            await migrate(url, load_schema())
    finally:
        await executed(
            empty,
            f"alter database {empty.owner_url.rpartition('/')[2].partition('?')[0]} owner to postgres",
            "drop role newcomer",
        )


@pytest.mark.parametrize(
    ("before", "joins"),
    [
        ("create publication supabase_realtime", True),
        ("create publication supabase_realtime for table live_quote_indicators", True),
        ("create publication supabase_realtime for all tables", False),
        ("create publication supabase_realtime for tables in schema public", False),
        ("alter table live_quote_indicators drop constraint live_quote_indicators_pkey, add unique (symbol)", False),
    ],
)
async def test_an_adopted_table_joins_the_publication_once_where_it_has_a_primary_key(
    empty: TestDatabase, before: str, joins: bool
) -> None:
    await executed(empty, SOUND_QUOTES, before)

    for _ in range(2):
        report = await migrate(empty.owner_url, load_schema(), create_roles=True)

    async with connected(empty) as connection:
        listed = await connection.fetchval(
            "select count(*) from pg_publication_rel where prrelid = 'live_quote_indicators'::regclass"
        )
    assert report.adoption.tables == ("live_quote_indicators",)
    assert listed == int(joins)
