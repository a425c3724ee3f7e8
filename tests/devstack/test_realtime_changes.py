"""Changes of PostgreSQL through the development Realtime server, with the official client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import asyncpg
import pytest
from realtime import RealtimePostgresChangesListenEvent

from devstack.postgres import EmbeddedPostgres
from devstack.realtime.bindings import Binding, Change
from devstack.realtime.server import RealtimeServer
from tests.databases import database_of
from tests.devstack.realtime_clients import PUBLISHABLE_KEY, development_server, official, raw

TABLE = "live_quote_indicators"
INSERT = "insert into live_quote_indicators (symbol, price, fetched_at) values ($1, $2, now())"
EVERY = RealtimePostgresChangesListenEvent.All
ASKED = {"event": "*", "schema": "public", "table": TABLE}


@dataclass(frozen=True, slots=True)
class Followed:
    """A database, and a server that follows it."""

    owner: asyncpg.Connection[asyncpg.Record]
    server: RealtimeServer


@pytest.fixture
async def followed(postgres: EmbeddedPostgres) -> AsyncIterator[Followed]:
    async with database_of(postgres) as urls, development_server() as server, server.following(urls.owner_url):
        connection = await asyncpg.connect(urls.owner_url)
        yield Followed(connection, server)
        await connection.close()


def joining(*bindings: dict[str, Any]) -> dict[str, Any]:
    return {"config": {"private": False, "presence": {"enabled": False}, "postgres_changes": list(bindings)}}


async def test_the_official_client_gets_the_rows_that_it_asked_for(followed: Followed) -> None:
    changes: asyncio.Queue[Any] = asyncio.Queue()
    ready = asyncio.Event()
    async with official(followed.server, PUBLISHABLE_KEY) as client:
        channel = client.channel("prices")
        channel.on_postgres_changes(EVERY, changes.put_nowait, table=TABLE, filter="symbol=in.(AAPL,MSFT)")
        channel.on_system(lambda _: ready.set())
        await channel.subscribe()
        async with asyncio.timeout(10):
            await ready.wait()

            await followed.owner.execute(INSERT, "TSLA", 1.0)
            await followed.owner.execute(INSERT, "AAPL", 2.5)
            await followed.owner.execute("update live_quote_indicators set price = 3 where symbol = 'AAPL'")
            await followed.owner.execute("delete from live_quote_indicators")
            inserted, updated, deleted = [(await changes.get())["data"] for _ in range(3)]

    assert (inserted["type"], inserted["record"]["symbol"], inserted["record"]["price"]) == ("INSERT", "AAPL", 2.5)
    assert (updated["type"], updated["record"]["price"], updated["old_record"]) == ("UPDATE", 3, {"symbol": "AAPL"})
    assert (deleted["type"], deleted["old_record"]) == ("DELETE", {"symbol": "AAPL"})
    assert {"name": "symbol", "type": "text"} in inserted["columns"]


async def test_the_reply_gives_each_binding_an_id_and_its_changes_carry_it(followed: Followed) -> None:
    async with raw(followed.server, PUBLISHABLE_KEY) as client:
        await client.push("prices", "phx_join", joining(ASKED, {**ASKED, "event": "DELETE"}), "1")
        reply, system = await client.next(), await client.next()

        await followed.owner.execute(INSERT, "AAPL", 2.5)

        ids = [binding["id"] for binding in reply["payload"]["response"]["postgres_changes"]]
        assert system["payload"]["message"] == "Subscribed to PostgreSQL"
        assert (await client.next())["payload"]["ids"] == ids[:1]


@pytest.mark.parametrize(
    "asked",
    [
        {"event": "*", "schema": "public", "table": "api_call_queue_v2_pending"},
        {"event": "*", "schema": "public", "table": "no_such_table"},
        {"event": "*", "schema": "secret", "table": "*"},
        {**ASKED, "filter": "symbol=fts.AAPL"},
    ],
)
async def test_what_cannot_be_followed_is_refused_by_a_system_message_and_sends_nothing(
    followed: Followed, asked: dict[str, Any]
) -> None:
    async with raw(followed.server, PUBLISHABLE_KEY) as client:
        await client.push("prices", "phx_join", joining(asked), "1")

        assert (await client.next())["payload"]["status"] == "ok"
        system = (await client.next())["payload"]
        assert (system["extension"], system["status"]) == ("postgres_changes", "error")
        assert system["message"].startswith("Unable to subscribe to changes")
        await followed.owner.execute(INSERT, "AAPL", 2.5)
        await client.heartbeat()


async def test_what_changed_while_the_database_cut_the_feed_off_comes_afterwards(followed: Followed) -> None:
    async with raw(followed.server, PUBLISHABLE_KEY) as client:
        await client.push("prices", "phx_join", joining(ASKED), "1")
        for _ in range(2):
            await client.next()

        await followed.owner.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid()"
        )
        await followed.owner.execute(INSERT, "AAPL", 2.5)

        assert (await client.next())["payload"]["data"]["record"]["symbol"] == "AAPL"


async def test_the_feed_leaves_nothing_in_the_database(postgres: EmbeddedPostgres) -> None:
    async with database_of(postgres) as urls, development_server() as server:
        async with server.following(urls.owner_url):
            pass
        owner = await asyncpg.connect(urls.owner_url)

        left = "select count(*) from pg_trigger where tgname = 'realtime_devstack'"
        assert await owner.fetchval(left) == 0
        assert await owner.fetchval("select to_regnamespace('realtime_devstack')") is None
        await owner.close()


VALUES = {"symbol": "AAPL", "price": 2.5, "volume": 10, "is_open": True, "note": None, "tags": [1]}


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("symbol=eq.AAPL", True),
        ("symbol=neq.AAPL", False),
        ("symbol=in.(MSFT,AAPL)", True),
        ("symbol=in.(MSFT)", False),
        ("price=gt.2", True),
        ("price=lte.2", False),
        ("volume=gte.10", True),
        ("volume=lt.cheap", False),
        ("is_open=eq.true", True),
        ("note=eq.x", False),
        ("missing=eq.x", False),
        ("tags=lt.5", False),
    ],
)
def test_a_filter_compares_as_the_column_does(condition: str, *, expected: bool) -> None:
    change = Change("public", TABLE, "INSERT", [], VALUES, None, "2026-08-03T14:00:00+00:00")

    assert Binding.parse({**ASKED, "filter": condition}).matches(change) is expected
