"""Trading hours from the tables to the due time of a pair."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from daemon.contracts import Fetched, Job, KnownExchange, Lane, Pair
from daemon.processor.conclusion import Asked, conclude
from daemon.refresh.demand import DemandBook
from daemon.refresh.markets import Markets
from daemon.refresh.policy import HORIZON_SECONDS, DueRules, gain
from daemon.store.catalogue import StoredCatalogue, seed_symbols
from daemon.store.database import Database
from daemon.store.exchanges import read_exchanges
from tests.clocks import StandingClock
from tests.rows import make_ready

QUOTE, PROFILE, ELSEWHERE = Pair("AAPL", "quote"), Pair("AAPL", "profile"), Pair("MSFT", "quote")
SATURDAY = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)
MONDAY = datetime(2026, 11, 30, 14, 30, tzinfo=UTC)


async def loaded(owner: Database, database: Database, clock: StandingClock) -> tuple[StoredCatalogue, Markets]:
    await make_ready(owner)
    await seed_symbols(owner, [("AAPL", "NASDAQ"), ("MSFT", None)])
    await owner.execute(
        "insert into exchange_market_status (exchange, opening_hour, closing_hour, timezone, is_market_open, holidays,"
        " fetched_at) values ('NASDAQ', '09:30 AM -05:00', '04:00 PM -05:00', 'America/New_York', false, '[7, {}]',"
        " '2026-11-28 11:00+00')"
    )
    await owner.execute("insert into available_exchanges (exchange, delay) values ('NASDAQ', 'Real-time')")
    catalogue = StoredCatalogue()
    await catalogue.load(database)
    markets = Markets(lambda: catalogue.types, catalogue.exchange_of, clock, catalogue.exchanges)
    markets.load(await read_exchanges(database))
    return catalogue, markets


def job(pair: Pair) -> Job:
    return Job(UUID(int=1), UUID(int=2), pair, "quote", "fmp", 60.0, 1.0, Lane.VIEWED, 1, 0, 2_000, None, None, 0)


async def test_a_quote_of_a_closed_exchange_is_fresh_until_it_has_opened(owner: Database, database: Database) -> None:
    _, markets = await loaded(owner, database, StandingClock(SATURDAY))
    asked = Asked(SATURDAY, 1.0, DueRules(), markets.hours_of)

    (done,) = conclude([job(QUOTE)], {"AAPL": Fetched([{"symbol": "AAPL"}])}, [], asked).completions

    assert done.fresh_until == MONDAY + timedelta(seconds=60)
    assert done.next_due_at == MONDAY + timedelta(seconds=59)


async def test_a_word_that_was_heard_again_is_as_young_as_when_it_was_heard(
    owner: Database, database: Database
) -> None:
    """Rows that have not changed are not written, and an unscheduled closure has to outlast the quarter of an hour."""
    await loaded(owner, database, StandingClock(SATURDAY))
    heard = SATURDAY + timedelta(hours=1)
    await owner.execute(
        "insert into refresh_state_v2 (symbol, data_type, last_outcome, last_success_at)"
        " values ('GLOBAL', 'exchange-market-status', 'unchanged', $1)",
        heard,
    )

    [exchange] = await read_exchanges(database)

    assert exchange.fetched_at == heard


async def test_what_is_stored_about_exchanges_is_known_to_the_fetcher_of_their_hours(
    owner: Database, database: Database
) -> None:
    _, markets = await loaded(owner, database, StandingClock(SATURDAY))

    assert markets.traded_exchanges() == {"NASDAQ"}
    assert markets.known_exchanges() == {
        "NASDAQ": KnownExchange(
            "NASDAQ",
            opening_hour="09:30 AM -05:00",
            closing_hour="04:00 PM -05:00",
            timezone="America/New_York",
            holidays=[{}],
        )
    }


async def test_other_types_and_symbols_of_unknown_exchanges_age_by_their_ttl(
    owner: Database, database: Database
) -> None:
    _, markets = await loaded(owner, database, StandingClock(SATURDAY))

    assert markets.hours_of(PROFILE) is None
    assert markets.hours_of(ELSEWHERE) is None
    assert markets.fresh_seconds(PROFILE, 86_400.0) == 86_400.0


async def test_a_quote_that_stays_fresh_for_two_days_is_worth_more_than_one_for_a_minute(
    owner: Database, database: Database
) -> None:
    clock = StandingClock(SATURDAY)
    catalogue, markets = await loaded(owner, database, clock)
    book = DemandBook(lambda: catalogue.types, monotonic=clock.monotonic, fresh_seconds=markets.fresh_seconds)

    seconds = markets.fresh_seconds(QUOTE, 60.0)
    (closed,) = book.demands([QUOTE])

    assert seconds == (MONDAY - SATURDAY).total_seconds() + 60
    assert closed.gain == gain(1.0, 0.0, seconds)
    assert seconds > HORIZON_SECONDS


async def test_what_is_known_of_a_closed_exchange_ends_with_the_opening(owner: Database, database: Database) -> None:
    clock = StandingClock(MONDAY - timedelta(seconds=1))
    _, markets = await loaded(owner, database, clock)
    before = markets.fresh_seconds(QUOTE, 60.0)

    clock.move(6)

    assert (before, markets.fresh_seconds(QUOTE, 60.0)) == (61.0, 60.0)
