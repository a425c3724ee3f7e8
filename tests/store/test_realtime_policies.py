"""The optional policies for Supabase projects, on a stand-in for its ``realtime`` schema."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from daemon.store.schema import load_schema
from tests.databases import TestDatabase

POLICIES = Path(__file__).parents[2] / "schema" / "optional" / "realtime_policies.sql"
STAND_IN = """
    create schema realtime;
    create table realtime.messages (
        id uuid default gen_random_uuid() primary key,
        topic text not null,
        extension text not null,
        payload jsonb,
        event text,
        private boolean default false,
        inserted_at timestamp not null default now()
    );
    alter table realtime.messages enable row level security;
    create function realtime.topic() returns text language sql stable
    as $$ select nullif(current_setting('realtime.topic', true), '') $$;
    grant usage on schema realtime to anon, authenticated, service_role;
    grant select, insert on realtime.messages to anon, authenticated, service_role;
"""
OURS = ["viewers:0", "viewers:12", "symbol:AAPL", "symbol:BRK-B", "symbol:^GSPC"]
OTHERS = [
    "viewers:",
    "viewers:x",
    "viewers:1:2",
    "symbol:",
    "symbol:aapl",
    "symbol:A\nB",
    "refreshd:canary:1",
    "chat",
    "",
]

pytestmark = pytest.mark.direct


@pytest.fixture
async def connection(urls: TestDatabase) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """A superuser's connection to a database with the stand-in, and with the policies applied twice."""
    connection = await asyncpg.connect(urls.owner_url)
    await connection.execute(STAND_IN)
    for _ in range(2):
        await connection.execute(POLICIES.read_text(encoding="utf-8"))
    yield connection
    await connection.close()


async def may(connection: asyncpg.Connection[asyncpg.Record], role: str, verb: str, extension: str, topic: str) -> bool:
    """Ask as Realtime does: in a transaction that is rolled back, with the topic in a setting."""
    transaction = connection.transaction()
    await transaction.start()
    try:
        await connection.execute("insert into realtime.messages (topic, extension) values ($1, $2)", topic, extension)
        await connection.execute("select set_config('realtime.topic', $1, true)", topic)
        await connection.execute(f"set local role {role}")
        if verb == "read":
            return bool(await connection.fetchval("select count(*) from realtime.messages"))
        await connection.execute("insert into realtime.messages (topic, extension) values ($1, $2)", topic, extension)
    except asyncpg.InsufficientPrivilegeError:
        return False
    finally:
        await transaction.rollback()
    return True


@pytest.mark.parametrize("role", ["anon", "authenticated"])
@pytest.mark.parametrize("topic", OURS)
async def test_pages_write_presence_and_read_nobodys(
    connection: asyncpg.Connection[asyncpg.Record], role: str, topic: str
) -> None:
    allowed = {
        (verb, extension)
        for verb in ("read", "write")
        for extension in ("presence", "broadcast")
        if await may(connection, role, verb, extension, topic)
    }

    assert allowed == {("write", "presence"), ("read", "broadcast")}


@pytest.mark.parametrize("role", ["anon", "authenticated"])
@pytest.mark.parametrize("topic", OTHERS)
async def test_nothing_is_granted_in_other_topics(
    connection: asyncpg.Connection[asyncpg.Record], role: str, topic: str
) -> None:
    for verb in ("read", "write"):
        for extension in ("presence", "broadcast"):
            assert not await may(connection, role, verb, extension, topic)


@pytest.mark.parametrize("topic", [*OURS, "refreshd:canary:1"])
async def test_the_service_reads_and_writes_everything(
    connection: asyncpg.Connection[asyncpg.Record], topic: str
) -> None:
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute("alter role service_role bypassrls")  # as it is on Supabase

    for verb in ("read", "write"):
        for extension in ("presence", "broadcast"):
            assert await may(connection, "service_role", verb, extension, topic)
    await transaction.rollback()


def test_migrate_does_not_apply_it() -> None:
    schema = load_schema()

    assert "realtime.messages" not in "".join(file.sql for file in (*schema.migrations, *schema.declared))
