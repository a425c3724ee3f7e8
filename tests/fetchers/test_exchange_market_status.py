"""Exchanges: what the feed says now, what it said before, and holidays once a day."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from daemon.contracts import (
    Answer,
    CallRefusedError,
    Fetched,
    FetchError,
    FetchErrorKind,
    FetchRequest,
    KnownExchange,
    OddityKind,
)
from daemon.fetchers.exchange_market_status import ExchangeMarketStatusFetcher, parse, parse_holidays
from tests.fetchers.findings import odd, row_of, rows_of
from tests.fetchers.upstream_stub import UpstreamStub, good
from tests.fetchers.wire_rows import HOLIDAY, HOURS, answer

NOW = datetime(2026, 8, 26, 14, 0, tzinfo=UTC)
CLOSED = {"openingHour": "CLOSED", "closingHour": "CLOSED", "isMarketOpen": False}
CHRISTMAS = {
    "exchange": "NYSE",
    "date": "2026-12-25",
    "name": "Christmas",
    "adjOpenTime": None,
    "adjCloseTime": None,
    "isClosed": True,
    "isFullyClosed": None,
}
TOKYO = KnownExchange(
    "JPX",
    opening_hour="09:00 AM +09:00",
    closing_hour="11:30 AM +09:00",
    opening_additional="12:30 PM +09:00",
    closing_additional="03:30 PM +09:00",
    timezone="Asia/Tokyo",
    holidays=({"date": "2026-12-31", "isClosed": True},),
    holidays_checked_on=date(2026, 8, 25),
)
HOLIDAYS = ("holidays-by-exchange", {"exchange": "NYSE", "from": "2026-08-19", "to": "2027-08-27"}, None)


@dataclass
class Book:
    """What a test says is known."""

    known: dict[str, KnownExchange] = field(default_factory=dict)
    traded: Collection[str] = ("NYSE",)

    def known_exchanges(self) -> Mapping[str, KnownExchange]:
        return self.known

    def traded_exchanges(self) -> Collection[str]:
        return self.traded


def fetcher(*known: KnownExchange, traded: Collection[str] = ("NYSE",)) -> ExchangeMarketStatusFetcher:
    return ExchangeMarketStatusFetcher(Book({exchange.exchange: exchange for exchange in known}, traded), lambda: NOW)


async def fetch(upstream: UpstreamStub, of: ExchangeMarketStatusFetcher, etag: str | None = None) -> Fetched:
    found = (await of.fetch([FetchRequest("GLOBAL", etag)], upstream))["GLOBAL"]
    assert isinstance(found, Fetched)
    return found


def test_an_exchange_becomes_a_row_of_its_table() -> None:
    found = parse(answer(HOURS, {}), {})

    assert row_of(found) == {
        "exchange": "NYSE",
        "name": "New York Stock Exchange",
        "opening_hour": "09:30 AM -04:00",
        "closing_hour": "04:00 PM -04:00",
        "opening_additional": None,
        "closing_additional": None,
        "timezone": "America/New_York",
        "is_market_open": True,
        "holidays": [],
        "holidays_checked_on": None,
    }
    assert isinstance(found, Fetched)
    assert found.oddities == ()
    assert found.replaces is None


@pytest.mark.parametrize(("said", "stored"), [("true", True), ("false", False), (False, False), (None, None)])
def test_open_is_what_the_feed_says(said: Any, stored: bool | None) -> None:
    assert row_of(parse(answer(HOURS, {"isMarketOpen": said}), {}))["is_market_open"] is stored


@pytest.mark.parametrize("said", ["CLOSED", "", None])
def test_on_a_closed_day_the_last_known_hours_stay(said: str | None) -> None:
    silent = CLOSED | {"exchange": "JPX", "openingHour": said, "closingHour": said, "timezone": None}

    row = row_of(parse(answer(HOURS, silent), {"JPX": TOKYO}))

    assert [row["opening_hour"], row["closing_hour"]] == ["09:00 AM +09:00", "11:30 AM +09:00"]
    assert [row["opening_additional"], row["closing_additional"]] == ["12:30 PM +09:00", "03:30 PM +09:00"]
    assert row["timezone"] == "Asia/Tokyo"
    assert row["is_market_open"] is False
    assert row["holidays"] == [{"date": "2026-12-31", "isClosed": True}]
    assert row["holidays_checked_on"] == "2026-08-25"


def test_a_closed_exchange_of_which_nothing_is_known_is_stored_as_closed() -> None:
    row = row_of(parse(answer(HOURS, CLOSED), {"JPX": TOKYO}))

    assert [row["opening_hour"], row["opening_additional"], row["holidays"]] == ["CLOSED", None, []]


def test_hours_that_the_feed_tells_replace_the_known_ones_with_their_lunch_break() -> None:
    row = row_of(parse(answer(HOURS, {"exchange": "JPX"}), {"JPX": TOKYO}))

    assert [row["opening_hour"], row["opening_additional"]] == ["09:30 AM -04:00", None]


def test_rows_of_one_answer_have_the_same_columns() -> None:
    lunch = {"exchange": "JPX", "openingAdditional": "12:30 PM +09:00", "closingAdditional": "03:30 PM +09:00"}

    first, second = rows_of(parse(answer(HOURS, {}, lunch), {}))

    assert first.keys() == second.keys()
    assert second["opening_additional"] == "12:30 PM +09:00"


def test_an_exchange_without_a_code_is_left_out() -> None:
    found = parse(answer(HOURS, {}, {"exchange": None}), {})

    assert len(rows_of(found)) == 1
    assert sum(odd(found, OddityKind.QUARANTINED_RECORD).values()) == 1


def test_holidays_are_kept_as_they_are_in_the_order_of_their_days() -> None:
    half = {"date": "2026-12-24", "isClosed": None, "adjCloseTime": "13:00", "isFullyClosed": False}

    holidays, oddities = parse_holidays(answer(HOLIDAY, {}, half, {}), "NYSE")

    assert holidays == [CHRISTMAS | half, CHRISTMAS]
    assert oddities == ()


def test_holidays_of_another_exchange_are_refused() -> None:
    with pytest.raises(FetchError) as caught:
        parse_holidays(answer(HOLIDAY, {}), "JPX")

    assert caught.value.kind is FetchErrorKind.WRONG_SYMBOL


async def test_the_hours_are_asked_for_conditionally_while_no_holidays_are_due() -> None:
    upstream = UpstreamStub([Answer(304, b"", None, 200)])

    found = await fetch(upstream, fetcher(KnownExchange("NYSE", holidays_checked_on=NOW.date())), '"old"')

    assert found == Fetched(rows=None, etag='"old"')
    assert upstream.asked == [("all-exchange-market-hours", {}, '"old"')]


async def test_holidays_are_asked_for_once_a_day_and_cover_the_coming_year() -> None:
    upstream = UpstreamStub([good(answer(HOURS, {}, {"exchange": "JPX"}), '"new"'), good(answer(HOLIDAY, {}))])

    found = await fetch(upstream, fetcher(KnownExchange("NYSE"), TOKYO), '"old"')

    assert upstream.asked == [("all-exchange-market-hours", {}, None), HOLIDAYS]
    nyse, jpx = rows_of(found)
    assert [nyse["holidays"], nyse["holidays_checked_on"]] == [[CHRISTMAS], "2026-08-26"]
    assert jpx["holidays_checked_on"] == "2026-08-25"
    assert found.etag == '"new"'


async def test_an_empty_list_of_holidays_keeps_the_known_ones() -> None:
    known = KnownExchange("NYSE", holidays=(CHRISTMAS,))

    found = await fetch(UpstreamStub([good(answer(HOURS, {})), good(b"[]")]), fetcher(known))

    assert row_of(found)["holidays"] == [CHRISTMAS]
    assert row_of(found)["holidays_checked_on"] == "2026-08-26"


async def test_a_job_asks_for_the_holidays_of_five_exchanges_those_first_that_waited_longest() -> None:
    codes = [f"X{number}" for number in range(8)]
    known = [KnownExchange(code, holidays_checked_on=date(2026, 8, 20 - at)) for at, code in enumerate(codes)]
    upstream = UpstreamStub([good(answer(HOURS, *({"exchange": code} for code in codes))), *[good(b"[]")] * 5])

    await fetch(upstream, fetcher(*known, traded=codes))

    assert [params["exchange"] for _, params, _ in upstream.asked[1:]] == ["X7", "X6", "X5", "X4", "X3"]


@pytest.mark.parametrize("known", [(), (TOKYO,)])
async def test_exchanges_that_are_unknown_or_have_no_symbols_are_not_asked_about(
    known: tuple[KnownExchange, ...],
) -> None:
    upstream = UpstreamStub([good(answer(HOURS, {}))])

    await fetch(upstream, fetcher(*known))

    assert len(upstream.asked) == 1


async def test_holidays_that_fail_leave_the_hours_and_wait_for_an_hour() -> None:
    now = NOW
    refused = FetchError(FetchErrorKind.PLAN, "402")
    book = Book({"NYSE": KnownExchange("NYSE", holidays=(CHRISTMAS,))})
    status = ExchangeMarketStatusFetcher(book, lambda: now)
    hours = good(answer(HOURS, {}))
    upstream = UpstreamStub([hours, refused, hours, hours, good(answer(HOLIDAY, {}))])

    row = row_of(await fetch(upstream, status))
    assert [row["opening_hour"], row["holidays"], row["holidays_checked_on"]] == ["09:30 AM -04:00", [CHRISTMAS], None]
    now += timedelta(minutes=59)
    await fetch(upstream, status)
    now += timedelta(minutes=1)
    row = row_of(await fetch(upstream, status))

    assert row["holidays_checked_on"] == "2026-08-26"
    assert [endpoint for endpoint, _, _ in upstream.asked].count("holidays-by-exchange") == 2


async def test_holidays_for_which_there_is_no_call_are_left_for_the_next_job() -> None:
    class Poor(UpstreamStub):
        async def get(self, endpoint: str, params: Mapping[str, str], **rest: Any) -> Answer:
            if endpoint == "holidays-by-exchange":
                raise CallRefusedError("calls", 1.0)
            return await super().get(endpoint, params, **rest)

    status = fetcher(KnownExchange("NYSE"))
    found = await fetch(Poor([good(answer(HOURS, {}))]), status)
    upstream = UpstreamStub([good(answer(HOURS, {})), good(answer(HOLIDAY, {}))])
    later = await fetch(upstream, status)

    assert row_of(found)["holidays_checked_on"] is None
    assert row_of(later)["holidays_checked_on"] == "2026-08-26"
