"""Exchanges as they trade: hours, lunch breaks, open or closed, holidays; one row of ``exchange_market_status`` each.

Endpoints: ``all-exchange-market-hours`` every time, about 81 records, and
``holidays-by-exchange?exchange=NYSE&from=&to=`` once a day for each exchange on which symbols of the allow-list
trade, five at most in one job; both of the Financial Modeling Prep ``stable`` API. Hours are local, such as ``09:30
AM -04:00``; ``timezone`` is an IANA name; ``isMarketOpen`` is what holds at the time of asking, and can be the text
"true". Global: one answer for all symbols.

On a closed day the feed says "CLOSED" in place of the hours: the last known ones stay. An exchange that the feed
leaves out keeps its row, since hours and holidays cannot be asked for again on every day.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from http import HTTPStatus
from typing import Any, cast

from daemon.contracts import (
    CallRefusedError,
    ExchangeBook,
    Fetched,
    FetchError,
    FetchRequest,
    KnownExchange,
    Oddity,
    Upstream,
)
from daemon.fetchers import decode
from daemon.fetchers.conditional import remembered
from daemon.fetchers.shape import Shape, fields, read_list

MAX_HOLIDAY_CALLS = 5
ASK_AGAIN = timedelta(hours=1)
"""After a failure: an exchange that the plan leaves out would otherwise cost a call in every job."""

AHEAD = timedelta(days=366)
BEHIND = timedelta(days=7)

_HOUR = re.compile(r"\s*\d{1,2}:\d{2}")

HOURS = Shape(
    identity=fields(decode.code, "exchange"),
    optional=(
        *fields(decode.text, "name openingHour closingHour openingAdditional closingAdditional timezone"),
        *fields(decode.flag, "isMarketOpen"),
    ),
    sometimes=frozenset({"openingAdditional", "closingAdditional"}),
)
HOLIDAY = Shape(
    identity=(*fields(decode.code, "exchange"), *fields(decode.day, "date")),
    optional=(
        *fields(decode.text, "name adjOpenTime adjCloseTime", adjOpenTime="adjOpenTime", adjCloseTime="adjCloseTime"),
        *fields(decode.flag, "isClosed isFullyClosed", isClosed="isClosed", isFullyClosed="isFullyClosed"),
    ),
    sometimes=frozenset({"isFullyClosed"}),
)


class NoExchanges:
    """An ``ExchangeBook`` that knows nothing: all hours are new, and no holidays are asked for."""

    def known_exchanges(self) -> Mapping[str, KnownExchange]:
        """Return nothing."""
        return {}

    def traded_exchanges(self) -> Collection[str]:
        """Return nothing."""
        return ()


_UNKNOWN = KnownExchange("")


def parse(body: bytes, known: Mapping[str, KnownExchange]) -> Fetched:
    """Return all exchanges, with the hours and holidays that are known where the feed does not tell them.

    Raises:
        FetchError: MALFORMED or TOO_LARGE where nothing of the answer can be used.
    """
    reading = read_list(body, HOURS, "all-exchange-market-hours")
    for row in reading.rows:
        _complete(row, known.get(row["exchange"], _UNKNOWN))
    return reading.fetched()


def parse_holidays(body: bytes, exchange: str) -> tuple[list[dict[str, Any]], Sequence[Oddity]]:
    """Return the records of the days on which an exchange is closed or keeps hours of its own, in their order.

    Raises:
        FetchError: WRONG_SYMBOL where they are another exchange's, MALFORMED or TOO_LARGE where they are useless.
    """
    about = f"holidays-by-exchange exchange={exchange}"
    reading = read_list(body, HOLIDAY, about, {"exchange": exchange})
    by_day = {row["date"]: row for row in reading.rows}
    return [by_day[day] for day in sorted(by_day)], reading.oddities()


class ExchangeMarketStatusFetcher:
    """Fetches the hours of all exchanges, and the holidays of a few.

    Args:
        book: What is known about exchanges.
        now: Returns the time.
    """

    data_type = "exchange-market-status"
    batch_size = 1

    def __init__(
        self, book: ExchangeBook | None = None, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._book = book or NoExchanges()
        self._now = now
        self._not_before: dict[str, datetime] = {}
        """When exchanges whose holidays were refused are asked for again."""

    async def fetch(self, requests: Sequence[FetchRequest], upstream: Upstream) -> Mapping[str, Fetched | FetchError]:
        """Fetch the hours, unless nothing has changed and no holidays are due. Holidays that fail are left for later.

        Raises:
            FetchError: Where the hours failed, or their answer cannot be used.
            CallRefusedError: Where they were not asked for.
        """
        (request,) = requests
        known, now = self._book.known_exchanges(), self._now()
        due = self._due(known, now)
        etag = None if due else request.etag
        answer = await upstream.get("all-exchange-market-hours", {}, etag=etag)
        if answer.status == HTTPStatus.NOT_MODIFIED:
            return {request.symbol: Fetched(rows=None, etag=answer.etag or etag)}
        found = parse(answer.body, known)
        oddities = await self._add_holidays(found, due, upstream, now)
        return {request.symbol: replace(remembered(found, answer.etag), oddities=(*found.oddities, *oddities))}

    def _due(self, known: Mapping[str, KnownExchange], now: datetime) -> list[str]:
        """Return the exchanges to ask about, those first whose holidays are the oldest."""
        due = [
            (exchange.holidays_checked_on or date.min, exchange.exchange)
            for exchange in known.values()
            if (exchange.holidays_checked_on or date.min) < now.date()
            and self._not_before.get(exchange.exchange, now) <= now
        ]
        traded = self._book.traded_exchanges()
        return [exchange for _, exchange in sorted(due) if exchange in traded][:MAX_HOLIDAY_CALLS]

    async def _add_holidays(
        self, found: Fetched, due: Sequence[str], upstream: Upstream, now: datetime
    ) -> Sequence[Oddity]:
        rows = {row["exchange"]: cast("dict[str, Any]", row) for row in found.rows or ()}
        oddities: list[Oddity] = []
        for exchange in [exchange for exchange in due if exchange in rows]:
            try:
                holidays, odd = await self._holidays(exchange, upstream, now)
            except CallRefusedError:
                break
            except FetchError:
                self._not_before[exchange] = now + ASK_AGAIN
                break
            row = rows[exchange]
            row.update(holidays=holidays or row["holidays"], holidays_checked_on=now.date().isoformat())
            oddities += odd
        return oddities

    async def _holidays(
        self, exchange: str, upstream: Upstream, now: datetime
    ) -> tuple[list[dict[str, Any]], Sequence[Oddity]]:
        first, last = (now - BEHIND).date().isoformat(), (now + AHEAD).date().isoformat()
        answer = await upstream.get("holidays-by-exchange", {"exchange": exchange, "from": first, "to": last})
        return parse_holidays(answer.body, exchange)


def _complete(row: dict[str, Any], known: KnownExchange) -> None:
    """Put into a row what the feed leaves out today."""
    if (
        known.opening_hour
        and known.closing_hour
        and not (_is_hour(row["opening_hour"]) and _is_hour(row["closing_hour"]))
    ):
        row.update(
            opening_hour=known.opening_hour,
            closing_hour=known.closing_hour,
            opening_additional=known.opening_additional,
            closing_additional=known.closing_additional,
        )
    row["timezone"] = row["timezone"] or known.timezone
    row["holidays"] = list(known.holidays)
    row["holidays_checked_on"] = known.holidays_checked_on and known.holidays_checked_on.isoformat()


def _is_hour(text: str | None) -> bool:
    return text is not None and _HOUR.match(text) is not None
