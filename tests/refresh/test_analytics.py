"""What the writer of subscriptions promises, on a real server."""

from __future__ import annotations

import asyncio

import asyncpg

from daemon.contracts import DemandChange, Pair, Subscription
from daemon.refresh.analytics import REWRITE_SECONDS, TOUCH_SECONDS, SubscriptionWriter
from daemon.refresh.demand import DemandBook
from daemon.store.catalogue import StoredCatalogue
from daemon.store.database import Database
from tests.clocks import StandingClock
from tests.databases import TestDatabase
from tests.rows import HOLDER, counts, make_ready, queue

QUOTE, OTHER = Pair("AAPL", "quote"), Pair("MSFT", "quote")
SOURCE = "viewers:0"
_SOMEBODY_WAITS = "select exists (select from pg_locks where not granted)"


def joined(pair: Pair, viewer: str = "user:1") -> DemandChange:
    return DemandChange(SOURCE, {pair: 1}, joined=[Subscription(viewer, pair)])


def left(pair: Pair, viewer: str = "user:1") -> DemandChange:
    return DemandChange(SOURCE, {pair: 0}, left=[Subscription(viewer, pair)])


async def make_writer(owner: Database, database: Database) -> tuple[SubscriptionWriter, DemandBook, StandingClock]:
    await make_ready(owner)
    catalogue = StoredCatalogue()
    await catalogue.load(database)
    book, clock = DemandBook(lambda: catalogue.types), StandingClock()
    return SubscriptionWriter(database, HOLDER, book, clock, flush_seconds=1), book, clock


async def viewed(owner: Database) -> list[str]:
    rows = await owner.fetch("select symbol from active_subscriptions_v2 order by symbol")
    return [row["symbol"] for row in rows]


async def test_the_last_word_on_a_subscription_is_written(owner: Database, database: Database) -> None:
    writer, _, _ = await make_writer(owner, database)

    for change in (joined(QUOTE), left(QUOTE), joined(OTHER), left(OTHER), joined(OTHER)):
        writer.note_demand(change)
    await writer._once()

    assert await viewed(owner) == ["MSFT"]


async def test_an_outage_loses_no_change(owner: Database, database: Database) -> None:
    writer, _, _ = await make_writer(owner, database)
    await database.close()
    writer.note_demand(joined(QUOTE))

    await writer._once()
    writer.note_demand(joined(OTHER))
    await database.open()
    await writer._once()

    assert await viewed(owner) == ["AAPL", "MSFT"]


async def test_a_first_view_that_comes_while_others_are_written_keeps_its_job(
    owner: Database, database: Database, urls: TestDatabase
) -> None:
    writer, book, _ = await make_writer(owner, database)
    blocker = await asyncpg.connect(urls.owner_url)
    transaction = blocker.transaction()
    await transaction.start()
    await blocker.execute("lock table active_subscriptions_v2 in exclusive mode")
    book.apply(joined(QUOTE))
    writer.note_demand(joined(QUOTE))

    async with asyncio.TaskGroup() as group:
        group.create_task(writer._once())
        while not await owner.fetchval(_SOMEBODY_WAITS):  # noqa: ASYNC110 - a lock sets no event
            await asyncio.sleep(0)
        book.apply(joined(OTHER))
        writer.note_demand(joined(OTHER))
        await queue(owner, OTHER)
        await transaction.rollback()
    await blocker.close()

    assert await counts(owner) == {"pending": 1}
    await writer._once()
    assert await counts(owner) == {"pending": 1}
    assert await viewed(owner) == ["AAPL", "MSFT"]


async def test_rows_of_live_sources_are_vouched_for_every_minute(owner: Database, database: Database) -> None:
    writer, _, clock = await make_writer(owner, database)
    writer.note_demand(joined(QUOTE))
    await writer._once()
    await owner.execute("update active_subscriptions_v2 set last_seen_at = now() - interval '2 minutes'")

    clock.move(TOUCH_SECONDS)
    await writer._once()

    assert await owner.fetchval("select last_seen_at > now() - interval '1 minute' from active_subscriptions_v2")


async def test_rows_that_expired_while_the_daemon_was_away_are_written_again(
    owner: Database, database: Database
) -> None:
    writer, _, clock = await make_writer(owner, database)
    writer.note_demand(joined(QUOTE))
    writer.note_demand(joined(OTHER))
    await writer._once()
    await owner.execute("delete from active_subscriptions_v2")

    clock.move(REWRITE_SECONDS + 1)
    writer.note_demand(left(OTHER))
    await writer._once()

    assert await viewed(owner) == ["AAPL"]


async def test_a_pending_job_follows_demand_and_goes_with_its_last_viewer(owner: Database, database: Database) -> None:
    writer, book, _ = await make_writer(owner, database)
    await queue(owner, QUOTE, OTHER)
    for change in (joined(QUOTE), joined(QUOTE, "user:2"), joined(OTHER)):
        book.apply(change)
        writer.note_demand(change)
    await writer._once()
    assert await owner.fetchval("select priority from api_call_queue_v2 where symbol = 'AAPL'") == 2

    book.apply(left(OTHER))
    writer.note_demand(left(OTHER))
    await writer._once()

    rows = await owner.fetch("select symbol from api_call_queue_v2")
    assert [row["symbol"] for row in rows] == ["AAPL"]
