"""Quotes: the latest price of a symbol with its day and its year, one row of ``live_quote_indicators`` each.

Endpoints: ``quote?symbol=AAPL`` for one symbol, ``batch-quote?symbols=AAPL,MSFT`` for up to 100 in one call; both of
the Financial Modeling Prep ``stable`` API, with the same 17 fields. ``timestamp`` is in epoch seconds,
``changePercentage`` in percent, everything else in the currency of the exchange. ``batch-quote`` leaves unknown symbols
out and can be outside the plan; then symbols are asked one by one for a day.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from daemon.contracts import Answer, Fetched, FetchError, FetchErrorKind, FetchRequest, Row, Upstream
from daemon.fetchers import answers, decode

BATCH_SIZE = 100
BATCH_REFUSED_SECONDS = 86_400.0
MAX_PRICE = 1e6
MAX_TIMESTAMP = 4_102_444_800
"""The year 2100: beyond it the timestamp is not in seconds."""

COLUMNS: Mapping[str, Callable[[Any], Any]] = {
    "name": decode.text,
    "change_percentage": decode.number,
    "change": decode.number,
    "volume": decode.whole,
    "day_low": decode.number,
    "day_high": decode.number,
    "year_high": decode.number,
    "year_low": decode.number,
    "market_cap": decode.whole,
    "price_avg_50": decode.number,
    "price_avg_200": decode.number,
    "exchange": decode.text,
    "open": decode.number,
    "previous_close": decode.number,
}
"""What may be null, each with its conversion."""


class QuoteWire(msgspec.Struct, rename="camel"):
    """A quote as the upstream sends it."""

    symbol: str
    price: Any = None
    timestamp: Any = None
    name: Any = None
    change_percentage: Any = None
    change: Any = None
    volume: Any = None
    day_low: Any = None
    day_high: Any = None
    year_high: Any = None
    year_low: Any = None
    market_cap: Any = None
    price_avg_50: Any = None
    price_avg_200: Any = None
    exchange: Any = None
    open: Any = None
    previous_close: Any = None


_DECODER = msgspec.json.Decoder(QuoteWire)


def parse(body: bytes, symbols: Collection[str]) -> dict[str, Fetched | FetchError]:
    """Return by symbol its quote, no rows where the answer leaves it out, or why its quote is none.

    Rows of symbols that were not asked for are dropped. Of several rows of one symbol the newest good one counts.

    Args:
        body: The answer.
        symbols: What was asked for.

    Raises:
        FetchError: MALFORMED or TOO_LARGE where the body as a whole cannot be used.
    """
    found: dict[str, Fetched | FetchError] = {}
    strays: list[str | None] = []
    for raw in decode.records(body, _about(symbols)):
        symbol = decode.symbol_of(raw)
        if symbol is None or symbol not in symbols:
            strays.append(symbol)
        else:
            found[symbol] = _better(found.get(symbol), _fetched(raw, symbol))
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


def _fetched(raw: msgspec.Raw, symbol: str) -> Fetched | FetchError:
    about = _about([symbol])
    try:
        wire = decode.record(raw, _DECODER, about)
        moment = _moment(wire.timestamp, about)
        row: Row = {
            "symbol": symbol,
            "price": _price(wire.price, about),
            **{column: convert(getattr(wire, column)) for column, convert in COLUMNS.items()},
            "source_timestamp": None if moment is None else moment.isoformat(),
        }
    except FetchError as error:
        return error
    return Fetched(rows=(row,), source_timestamp=moment)


def _price(value: Any, about: str) -> float:
    if not decode.is_number(value):
        raise FetchError(FetchErrorKind.MALFORMED, f"{about}: price is missing or not a number")
    if not 0 <= value < MAX_PRICE:
        raise FetchError(FetchErrorKind.INSANE_VALUE, f"{about}: price is not in [0, {MAX_PRICE:,.0f})")
    return float(value)


def _moment(value: Any, about: str) -> datetime | None:
    """Return the time of the quote, None where the source has none: absent, empty or 0."""
    if value is None or value == "":
        return None
    if not decode.is_number(value):
        raise FetchError(FetchErrorKind.MALFORMED, f"{about}: timestamp is not a number")
    if not 0 <= value < MAX_TIMESTAMP:
        raise FetchError(FetchErrorKind.INSANE_VALUE, f"{about}: timestamp is not between 1970 and 2100")
    return datetime.fromtimestamp(value, UTC) if value else None


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
