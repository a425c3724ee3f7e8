"""What tracking does in a real PostgreSQL: jobs, topics, states and tickets."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from daemon.contracts import GLOBAL_SYMBOL, Pair
from daemon.store.catalogue import StoredCatalogue
from daemon.store.database import Database
from daemon.store.flags import set_flags
from daemon.store.subscriptions import StoredSubscriptions
from daemon.tickets import Ticket, Tickets
from daemon.web.subscriptions import TicketIssue
from tests.clocks import NOW
from tests.databases import TestDatabase
from tests.presence.stage import LogRecorder, Recorder
from tests.rows import counts, make_ready, orphans
from tests.web.subscription_stage import Stage, anonymous_key, hs256, staged

AAPL = Pair("AAPL", "quote")
TICKETS = Tickets(["a key that signs tickets in these tests"], grace_seconds=0)


@pytest.fixture(autouse=True)
def recorded(log: LogRecorder) -> LogRecorder:
    """Keep what is logged off the screen."""
    return log


class CountedCatalogue(StoredCatalogue):
    """The allow-list, which counts how often it is asked: a page that was answered waits for the database next."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = Recorder()
        self.resolved = 0

    def resolve(self, symbol: str, data_type: str) -> Pair | str:
        self.resolved += 1
        self.seen.notify()
        return super().resolve(symbol, data_type)


@contextlib.asynccontextmanager
async def on(owner: Database, database: Database, **more: Any) -> AsyncIterator[Stage]:
    await make_ready(owner)
    catalogue = CountedCatalogue()
    await catalogue.load(database)
    async with staged(store=StoredSubscriptions(database), catalogue=catalogue, **more) as stage:
        yield stage


async def make_fresh(owner: Database, pair: Pair, seconds: float, due_in_seconds: float) -> None:
    await owner.execute(
        "insert into refresh_state_v2 (symbol, data_type, last_success_at, fresh_until, next_due_at)"
        " values ($1, $2, now(), now() + make_interval(secs => $3), now() + make_interval(secs => $4))",
        *pair,
        seconds,
        due_in_seconds,
    )


def named(entries: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(entry["symbol"], entry["data_type"]) for entry in entries]


async def topics(owner: Database) -> list[str]:
    return [row["topic"] for row in await owner.fetch("select topic from symbol_topics_v2 order by topic")]


async def test_what_is_stale_is_queued_what_is_fresh_is_told_and_what_is_unknown_too(
    owner: Database, database: Database
) -> None:
    async with on(owner, database) as stage:
        await make_fresh(owner, Pair("AAPL", "profile"), 600, 500)
        answer = await stage.post({"symbol": "AAPL", "dataTypes": ["quote", "profile", "ratios-ttm", "horoscope"]})

    assert answer.status == 200
    assert named(answer.body["queued"]) == [("AAPL", "quote"), ("AAPL", "ratios-ttm")]
    (fresh,) = answer.body["fresh"]
    ahead = datetime.fromisoformat(fresh["fresh_until"]) - datetime.now(UTC)
    assert timedelta(seconds=500) < ahead < timedelta(seconds=601)
    assert answer.body["unknown"] == [{"symbol": "AAPL", "data_type": "horoscope", "reason": "unknown_data_type"}]
    assert answer.body["held"] == []
    assert await counts(owner) == {"pending": 2}
    assert stage.queued == [1]


async def test_asking_again_changes_nothing(owner: Database, database: Database) -> None:
    async with on(owner, database) as stage:
        first, again = await stage.post(), await stage.post()

    assert first.body == again.body
    assert await counts(owner) == {"pending": 1}
    assert await orphans(owner) == 0
    assert stage.queued == [1]


async def test_the_views_of_a_lobby_are_taken_as_they_are_tracked(owner: Database, database: Database) -> None:
    views = {"MSFT": ["quote"], "AAPL": ["profile", "exchange-market-status"], "NONE": ["quote"]}
    async with on(owner, database) as stage:
        answer = await stage.post({"userId": "somebody", "views": views, "symbol": "AAPL", "dataTypes": ["quote"]})

    assert named(answer.body["queued"]) == [
        ("AAPL", "quote"),
        ("MSFT", "quote"),
        ("AAPL", "profile"),
        (GLOBAL_SYMBOL, "exchange-market-status"),
    ]
    assert named(answer.body["unknown"]) == [("NONE", "quote")]
    assert await topics(owner) == []


async def test_the_topics_of_views_are_named_where_pages_track_in_them(owner: Database, database: Database) -> None:
    views = {"MSFT": ["quote"], "AAPL": ["profile", "exchange-market-status"], "NONE": ["quote"]}
    async with on(owner, database) as stage:
        await stage.post({"views": views, "topics": "symbol"})

    assert await topics(owner) == ["symbol:AAPL", "symbol:MSFT"]


async def test_a_data_type_named_twice_is_answered_once(owner: Database, database: Database) -> None:
    async with on(owner, database) as stage:
        answer = await stage.post({"symbol": "AAPL", "dataTypes": ["quote", "quote"]})

    assert named(answer.body["queued"]) == [AAPL]


async def test_a_pair_that_is_due_and_still_fresh_is_queued_and_told_as_fresh(
    owner: Database, database: Database
) -> None:
    async with on(owner, database) as stage:
        await make_fresh(owner, AAPL, 600, -1)
        answer = await stage.post()

    assert named(answer.body["fresh"]) == [AAPL]
    assert await counts(owner) == {"pending": 1}


async def test_what_may_not_be_queued_is_told_as_held(owner: Database, database: Database) -> None:
    async with on(owner, database) as stage:
        await set_flags(owner, ["use_queue_system"], enabled=False)
        off = await stage.post()
        await set_flags(owner, ["use_queue_system"], enabled=True)
        await make_fresh(owner, Pair("MSFT", "quote"), -60, 600)
        failed_lately = await stage.post({"symbol": "MSFT", "dataTypes": ["quote"]})

    assert off.body["held"] == [{"symbol": "AAPL", "data_type": "quote", "fresh_until": None}]
    assert named(failed_lately.body["held"]) == [("MSFT", "quote")]
    assert await counts(owner) == {}
    assert stage.queued == []


async def test_a_global_data_type_is_one_pair_for_every_symbol(owner: Database, database: Database) -> None:
    async with on(owner, database) as stage:
        body = {"dataTypes": ["exchange-market-status"]}
        answers = [await stage.post({"symbol": symbol, **body}) for symbol in ("AAPL", "MSFT", "NOBODYKNOWS")]

    for answer in answers:
        assert named(answer.body["queued"]) == [(GLOBAL_SYMBOL, "exchange-market-status")]
    assert await counts(owner) == {"pending": 1}


async def test_an_unknown_symbol_is_told_and_leaves_nothing(owner: Database, database: Database) -> None:
    async with on(owner, database) as stage:
        answer = await stage.post({"symbol": "NOBODYKNOWS", "dataTypes": ["quote"]})

    assert answer.status == 200
    assert answer.body["unknown"] == [{"symbol": "NOBODYKNOWS", "data_type": "quote", "reason": "unknown_symbol"}]
    assert await counts(owner) == {}
    assert await topics(owner) == []


async def test_the_topic_of_a_known_symbol_is_named_to_the_listeners(owner: Database, database: Database) -> None:
    async with on(owner, database) as stage:
        await stage.post()
        await stage.post({"symbol": "NOBODYKNOWS", "dataTypes": ["exchange-market-status"]})

    assert await topics(owner) == ["symbol:AAPL"]


async def test_no_topic_is_named_where_there_are_none(owner: Database, database: Database) -> None:
    async with on(owner, database, joins_topics=False) as stage:
        await stage.post()

    assert await topics(owner) == []


async def test_without_a_good_token_nothing_reaches_the_database(owner: Database, database: Database) -> None:
    async with on(owner, database) as stage:
        for token in ("", "abc", hs256("another secret that is also long enough")):
            assert (await stage.post(token=token)).status == 401

    assert await counts(owner) == {}
    assert await topics(owner) == []


class CountedDatabase(Database):
    """The daemon's connections, which remember what they are asked and can be made to wait."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.asked = Recorder()
        self.statements: list[tuple[str, tuple[Any, ...]]] = []
        self.may_go_on = asyncio.Event()
        self.may_go_on.set()

    async def fetch(self, sql: str, *args: object) -> list[asyncpg.Record]:
        self.statements.append((sql, args))
        return await super().fetch(sql, *args)

    async def fetchrow(self, sql: str, *args: object) -> asyncpg.Record | None:
        self.statements.append((sql, args))
        self.asked.notify()
        await self.may_go_on.wait()
        return await super().fetchrow(sql, *args)

    def queueing(self) -> list[tuple[Any, ...]]:
        """Return the arguments of every statement that queues."""
        return [args for sql, args in self.statements if "check_and_queue_stale" in sql]


@pytest.mark.direct
async def test_all_data_types_are_queued_in_one_statement(owner: Database, urls: TestDatabase) -> None:
    async with CountedDatabase(urls.daemon_url) as database, on(owner, database) as stage:
        database.statements.clear()
        answer = await stage.post({"symbol": "AAPL", "dataTypes": ["quote", "profile", "ratios-ttm", "shares-float"]})

    assert len(answer.body["queued"]) == 4
    ((_, data_types, symbols),) = database.queueing()
    assert data_types == ["profile", "quote", "ratios-ttm", "shares-float"]
    assert symbols == ["AAPL"]
    assert len(database.statements) == 2


@pytest.mark.direct
async def test_pages_that_ask_meanwhile_share_the_next_statement(owner: Database, urls: TestDatabase) -> None:
    async with CountedDatabase(urls.daemon_url) as database, on(owner, database) as stage:
        database.may_go_on.clear()
        first = asyncio.ensure_future(stage.post())
        await database.asked.until(lambda: len(database.queueing()) == 1)
        bodies = [{"symbol": symbol, "dataTypes": ["quote", "profile"]} for symbol in ("AAPL", "MSFT") * 25]
        crowd = [asyncio.ensure_future(stage.post(body)) for body in bodies]
        await stage.catalogue.seen.until(lambda: stage.catalogue.resolved == 1 + 50 * 2)
        database.may_go_on.set()
        answers = await asyncio.gather(first, *crowd)

    assert {answer.status for answer in answers} == {200}
    assert all(len(answer.body["queued"]) == 2 for answer in answers[1:])
    assert [sorted(set(symbols)) for symbols, _, _ in database.queueing()] == [["AAPL"], ["AAPL", "MSFT"]]
    assert await counts(owner) == {"pending": 4}


@pytest.mark.direct
async def test_one_who_gives_up_takes_nobody_along(owner: Database, urls: TestDatabase) -> None:
    async with CountedDatabase(urls.daemon_url) as database, on(owner, database, database_seconds=0.2) as stage:
        database.may_go_on.clear()
        late = await stage.post()
        database.may_go_on.set()
        answer = await stage.post()

    assert (late.status, late.code) == (503, "unavailable")
    assert answer.status == 200


async def test_an_outage_is_a_503_and_ends_with_the_database(owner: Database, database: Database) -> None:
    async with on(owner, database) as stage:
        await database.close()
        down = await stage.post()
        await database.open()
        up = await stage.post()

    assert (down.status, down.code) == (503, "unavailable")
    assert int(down.headers["Retry-After"]) >= 1
    assert up.status == 200


async def test_a_user_gets_a_ticket_that_verifies_and_a_connection_gets_none(
    owner: Database, database: Database
) -> None:
    issue = TicketIssue(TICKETS, lambda: NOW, 900)
    async with on(owner, database, ticket_issue=issue) as stage:
        user = await stage.post()
        connection = await stage.post(token=anonymous_key())

    expires_at = datetime.fromisoformat(user.body["ticket_expires_at"])
    assert expires_at == NOW + timedelta(seconds=900)
    assert TICKETS.verify(user.body["ticket"], NOW + timedelta(seconds=899)) == Ticket("user-1")
    assert TICKETS.verify(user.body["ticket"], expires_at) == "ticket_expired"
    assert (connection.body["ticket"], connection.body["ticket_expires_at"]) == (None, None)


async def test_without_a_key_for_tickets_there_are_none(owner: Database, database: Database) -> None:
    async with on(owner, database) as stage:
        answer = await stage.post()

    assert (answer.body["ticket"], answer.body["ticket_expires_at"]) == (None, None)
