"""The simulated upstream plays whole trading days, and the daemon's own fetchers follow it over real sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
import pytest_asyncio

from daemon.contracts import GLOBAL_SYMBOL, Answer, Fetched, FetchError, FetchRequest, KnownExchange, OddityKind
from daemon.fetchers.client import HttpUpstream
from daemon.fetchers.exchange_market_status import ExchangeMarketStatusFetcher
from daemon.fetchers.table import build_fetchers
from daemon.refresh.market_hours import TradingHours, read_hours
from daemon.store.exchanges import StoredExchange
from devstack.upstream.faults import Fault, FaultKind
from devstack.upstream.server import UpstreamServer

KEY = "trading-days"


class Book:
    """An exchange book in which one exchange is traded and nothing is known yet."""

    def known_exchanges(self) -> Mapping[str, KnownExchange]:
        return {"NASDAQ": KnownExchange("NASDAQ")}

    def traded_exchanges(self) -> Collection[str]:
        return {"NASDAQ"}


@dataclass
class Play:
    """A market whose time is set by hand, and a client of it."""

    moment: datetime
    server: UpstreamServer
    client: HttpUpstream

    def to(self, text: str) -> None:
        self.moment = datetime.fromisoformat(text).replace(tzinfo=UTC)

    def now_utc(self) -> datetime:
        return self.moment

    async def get(
        self, endpoint: str, params: Mapping[str, str], *, etag: str | None = None, max_bytes: int | None = None
    ) -> Answer:
        return await self.client.attempt(endpoint, params, etag=etag, max_bytes=max_bytes, meter=lambda _count: None)

    async def fetch(self, data_type: str, symbol: str = "AAPL", etag: str | None = None) -> Fetched:
        found = await build_fetchers()[data_type].fetch([FetchRequest(symbol, etag)], self)
        fetched = found[symbol]
        assert isinstance(fetched, Fetched), fetched
        return fetched

    async def price(self, symbol: str = "AAPL") -> tuple[float, datetime | None]:
        fetched = await self.fetch("quote", symbol)
        return float((fetched.rows or [{}])[0]["price"]), fetched.source_timestamp


def hours_of(found: Fetched | FetchError, exchange: str) -> TradingHours | None:
    """Return what the daemon would read in the row that it has just stored."""
    assert isinstance(found, Fetched)
    [row] = [dict(row) for row in found.rows or () if row["exchange"] == exchange]
    known = {name: row.get(name) for name in StoredExchange._fields}
    moment = datetime(2026, 11, 25, 15, tzinfo=UTC)
    return read_hours(StoredExchange(**known | {"delay": "Real-time", "fetched_at": moment}))  # type: ignore[arg-type]


@pytest_asyncio.fixture
async def play() -> AsyncIterator[Play]:
    moment = datetime(2026, 11, 25, tzinfo=UTC)
    server = UpstreamServer(
        KEY,
        latency_seconds=0,
        calls_per_minute=10_000,
        keeps_hours=True,
        clock=lambda: made.moment.timestamp(),  # noqa: PLW0108 - it is made below
    )
    async with server:
        client = HttpUpstream(server.url, KEY, version="test", allow_loopback=True, allowed_hosts=())
        async with client:
            made = Play(moment, server, client)
            yield made


@pytest.mark.parametrize(
    ("moment", "symbol", "last_trade"),
    [
        ("2026-11-25T15:00:00", "AAPL", "2026-11-25T15:00:00"),  # Wednesday, ten in New York
        ("2026-11-25T14:29:00", "AAPL", "2026-11-24T21:00:00"),  # before the opening: yesterday's close
        ("2026-11-26T15:00:00", "AAPL", "2026-11-25T21:00:00"),  # Thanksgiving
        ("2026-11-27T17:59:59", "AAPL", "2026-11-27T17:59:59"),  # the day after, until one o'clock
        ("2026-11-29T12:00:00", "AAPL", "2026-11-27T18:00:00"),  # Sunday
        ("2026-11-29T12:00:00", "BTCUSD", "2026-11-29T12:00:00"),
    ],
)
async def test_the_last_trade_is_at_or_before_the_close(play: Play, moment: str, symbol: str, last_trade: str) -> None:
    play.to(moment)

    _, traded_at = await play.price(symbol)

    assert traded_at == datetime.fromisoformat(last_trade).replace(tzinfo=UTC)


async def test_prices_move_while_the_exchange_trades_and_stand_still_while_it_does_not(play: Play) -> None:
    prices: dict[bool, set[float]] = {True: set(), False: set()}
    play.to("2026-11-25T12:00:00")
    for _ in range(48):
        price, traded_at = await play.price()
        prices[traded_at == play.moment].add(price)
        play.moment += timedelta(minutes=30)

    assert len(prices[True]) > 8  # six and a half hours in half hours
    assert len(prices[False] - prices[True]) <= 2  # yesterday's close, and today's


async def test_an_exchange_is_open_when_the_daemon_reckons_it_is_from_what_was_said_before(play: Play) -> None:
    play.to("2026-11-25T15:00:00")
    found = await ExchangeMarketStatusFetcher(Book(), play.now_utc).fetch([FetchRequest(GLOBAL_SYMBOL)], play)
    hours = hours_of(found[GLOBAL_SYMBOL], "NASDAQ")
    assert hours is not None

    told = {}
    for _ in range(2 * 24 * 4):  # over Thanksgiving, the early close after it, and a Saturday
        play.moment += timedelta(minutes=30)
        [answer] = msgspec.json.decode((await play.get("exchange-market-hours", {"exchange": "NASDAQ"})).body)
        told[play.moment] = answer["isMarketOpen"]

    assert [moment for moment, is_open in told.items() if is_open != hours.is_open(moment)] == []
    assert {moment.date().isoformat() for moment, is_open in told.items() if is_open} == {"2026-11-25", "2026-11-27"}


async def test_a_filing_appears_on_its_day_and_not_before(play: Play) -> None:
    play.to("2026-01-01T12:00:00")
    before = await play.fetch("financial-statements")
    known = {row["date"] for row in before.rows or ()}
    filed = None
    for _ in range(120):
        play.moment += timedelta(days=1)
        fetched = await play.fetch("financial-statements")
        new = {row["date"]: row["filing_date"] for row in fetched.rows or () if row["date"] not in known}
        if new:
            [filed] = new.values()
            break

    assert filed == play.moment.date().isoformat()


async def test_what_has_not_changed_over_a_weekend_is_304(play: Play) -> None:
    play.to("2026-11-28T12:00:00")
    saturday = await play.fetch("dividend-history")
    play.to("2026-11-29T12:00:00")

    sunday = await play.fetch("dividend-history", etag=saturday.etag)

    assert saturday.etag is not None
    assert saturday.rows
    assert sunday.rows is None


async def test_a_schema_that_drifts_during_the_day_is_named_and_still_read(play: Play) -> None:
    play.to("2026-11-25T15:00:00")
    before = await play.fetch("profile")
    play.server.faults.add(
        Fault(FaultKind.FIELDS, endpoint="profile", fields={"mood": "bullish", "beta": "one"}, without=("sector",))
    )

    after = await play.fetch("profile")

    assert not before.oddities
    assert {(oddity.kind, oddity.field) for oddity in after.oddities} == {
        (OddityKind.UNKNOWN_FIELD, "mood"),
        (OddityKind.CHANGED_TYPE, "beta"),
        (OddityKind.MISSING_FIELD, "sector"),
    }
    assert after.rows
