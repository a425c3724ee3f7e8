"""Quotes: the latest price of a symbol with its day and its year, one row of ``live_quote_indicators`` each.

Endpoints: ``quote?symbol=AAPL`` for one symbol, ``batch-quote?symbols=AAPL,MSFT`` for up to 100 in one call; both of
the Financial Modeling Prep ``stable`` API, with the same 17 fields. ``timestamp`` is in epoch seconds,
``changePercentage`` in percent, everything else in the currency of the exchange. ``batch-quote`` leaves unknown symbols
out and can be outside the plan; then symbols are asked one by one for a day.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import msgspec

from daemon.contracts import Answer, Fetched, FetchError, FetchErrorKind, FetchRequest, Upstream
from daemon.fetchers import answers, decode
from daemon.fetchers.shape import Reading, Shape, fields

BATCH_SIZE = 100
BATCH_REFUSED_SECONDS = 86_400.0
MAX_PRICE = 1e6
MAX_TIMESTAMP = 4_102_444_800
"""The year 2100: beyond it the timestamp is not in seconds."""

Sorted = tuple[dict[str, Fetched | FetchError], list[str | None]]
"""By symbol what was found of it, and the symbols of the rows that were not asked for; None where one names none."""

Time = tuple[datetime | None, str | None]
"""Of a quote, and as its row has it."""

QUOTE = Shape(
    identity=(*fields(decode.code, "symbol"), *fields(decode.unquoted, "price")),
    optional=(
        *fields(decode.number, "changePercentage change dayLow dayHigh yearHigh yearLow priceAvg50 priceAvg200"),
        *fields(decode.number, "open previousClose"),
        *fields(decode.whole, "volume marketCap"),
        *fields(decode.text, "name exchange"),
        *fields(decode.anything, "timestamp", timestamp="source_timestamp"),
    ),
    limits={"price": (0, MAX_PRICE), "timestamp": (0, MAX_TIMESTAMP)},
)


def parse(body: bytes, symbols: Collection[str]) -> dict[str, Fetched | FetchError]:
    """Return by symbol its quote, no rows where the answer leaves it out, or why its quote is none.

    Rows of symbols that were not asked for are dropped. Of several rows of one symbol the newest good one counts.

    Args:
        body: The answer.
        symbols: What was asked for.

    Raises:
        FetchError: MALFORMED or TOO_LARGE where the body as a whole cannot be used.
    """
    rows = QUOTE.fast.rows(body)
    found, strays = _read(body, symbols) if rows is None else _sorted_out(rows, symbols)
    return {symbol: found[symbol] if symbol in found else _absent(symbols, strays) for symbol in symbols}


class QuoteFetcher:
    """Fetches quotes, in batches while the plan has them.

    Args:
        monotonic: Seconds that only go forward.
    """

    data_type = "quote"

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._batches_again = float("-inf")

    @property
    def batch_size(self) -> int:
        """100, or 1 for a day after the upstream refused a batch."""
        return BATCH_SIZE if self._monotonic() >= self._batches_again else 1

    async def fetch(self, requests: Sequence[FetchRequest], upstream: Upstream) -> Mapping[str, Fetched | FetchError]:
        """Fetch the quotes of up to ``batch_size`` symbols in one call.

        Raises:
            FetchError: BATCH_REFUSED where the symbols have to be asked for one by one; what else failed as a whole.
            CallRefusedError: Where the call was not made.
        """
        symbols = list(dict.fromkeys(request.symbol for request in requests))
        if not symbols:
            return {}
        if len(symbols) == 1:
            answer = await upstream.get("quote", {"symbol": symbols[0]})
        else:
            answer = await self._batch(symbols, upstream)
        return parse(answer.body, symbols)

    async def _batch(self, symbols: Sequence[str], upstream: Upstream) -> Answer:
        if self.batch_size == 1:
            raise FetchError(FetchErrorKind.BATCH_REFUSED, "batch-quote: refused less than a day ago")
        try:
            return await upstream.get("batch-quote", {"symbols": ",".join(symbols)})
        except FetchError as error:
            if not answers.refuses_batch(error):
                raise
            self._batches_again = self._monotonic() + BATCH_REFUSED_SECONDS
            raise FetchError(FetchErrorKind.BATCH_REFUSED, str(error)) from None


def _sorted_out(rows: Sequence[dict[str, Any]], symbols: Collection[str]) -> Sorted:
    """Sort the rows of an answer with which nothing is odd."""
    found: dict[str, Fetched | FetchError] = {}
    strays: list[str | None] = []
    about, wanted = _about(symbols), frozenset(symbols)
    times: dict[Any, Time] = {}
    for row in rows:
        symbol, value = row["symbol"], row["source_timestamp"]
        if symbol not in wanted:
            strays.append(symbol)
            continue
        if value not in times:  # quotes of one exchange share it
            times[value] = _time(value, about)
        quote = _timed(row, times[value])
        found[symbol] = _better(found[symbol], quote) if symbol in found else quote
    return found, strays


def _read(body: bytes, symbols: Collection[str]) -> Sorted:
    """Read an answer quote by quote."""
    found: dict[str, Fetched | FetchError] = {}
    strays: list[str | None] = []
    reading = Reading(QUOTE, _about(symbols))
    for raw in decode.records(body, _about(symbols)):
        symbol = decode.symbol_of(raw)
        if symbol is None or symbol not in symbols:
            strays.append(symbol)
        else:
            found[symbol] = _better(found.get(symbol), _fetched(reading, raw, symbol))
    _tell_oddities(found, reading)
    return found, strays


def _fetched(reading: Reading, raw: msgspec.Raw, symbol: str) -> Fetched | FetchError:
    about = _about([symbol])
    try:
        row = reading.read(raw, about)
        return _timed(row, _time(row["source_timestamp"], about))
    except FetchError as error:
        return error


def _timed(row: dict[str, Any], time_of_quote: Time) -> Fetched:
    moment, row["source_timestamp"] = time_of_quote
    return Fetched(rows=(row,), source_timestamp=moment)


def _tell_oddities(found: dict[str, Fetched | FetchError], reading: Reading) -> None:
    """Tell what was odd about the whole answer with the first of its good quotes."""
    for symbol, quote in found.items():
        if isinstance(quote, Fetched):
            found[symbol] = replace(quote, oddities=reading.oddities())
            return


def _time(value: Any, about: str) -> Time:
    """Return the time of a quote, None where the source has none: absent, empty or 0."""
    if value is None or value == "":
        return None, None
    if not decode.is_number(value):
        raise FetchError(FetchErrorKind.MALFORMED, f"{about}: timestamp is not a number")
    if not 0 <= value < MAX_TIMESTAMP:  # also an integer that no column could hold, which the limits do not see
        raise FetchError(FetchErrorKind.INSANE_VALUE, f"{about}: timestamp is not in [0, {MAX_TIMESTAMP:,})")
    moment = datetime.fromtimestamp(value, UTC) if value else None
    return moment, None if moment is None else moment.isoformat()


def _better(known: Fetched | FetchError | None, new: Fetched | FetchError) -> Fetched | FetchError:
    if isinstance(new, FetchError):
        return known or new
    if isinstance(known, Fetched) and _age_key(known) > _age_key(new):
        return known
    return new


def _age_key(fetched: Fetched) -> datetime:
    return fetched.source_timestamp or datetime.min.replace(tzinfo=UTC)


def _absent(symbols: Collection[str], strays: Sequence[str | None]) -> Fetched | FetchError:
    """Tell a symbol that the upstream does not have from one whose row may be among those that say nothing."""
    if None in strays or (strays and len(symbols) == 1):
        return decode.mismatch([None] if None in strays else strays, _about(symbols))
    return Fetched(rows=())


def _about(symbols: Collection[str]) -> str:
    return f"quote symbol={next(iter(symbols))}" if len(symbols) == 1 else f"batch-quote of {len(symbols)} symbols"
