"""Dividends: every one that a symbol has paid or declared, one row of ``dividend_history`` each.

Endpoint: ``dividends?symbol=AAPL&limit=1000`` of the Financial Modeling Prep ``stable`` API, 9 fields. ``date`` is
the ex-dividend date; ``adjDividend`` (adjusted for splits) and ``dividend`` are per share in the currency of the
exchange, ``yield`` is in percent, ``frequency`` an open set of words; an unknown date is ``""``. The answer is the
whole history: a dividend that is no longer in it is removed. Asked conditionally.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from daemon.contracts import Fetched, FetchError, FetchRequest, Upstream
from daemon.fetchers import decode
from daemon.fetchers.conditional import History
from daemon.fetchers.shape import Shape, fields, read_list

LIMIT = 1_000
"""More than anybody has paid: 1,000 quarterly dividends are 250 years. An answer of so many may be cut."""

DIVIDEND = Shape(
    identity=(*fields(decode.code, "symbol"), *fields(decode.day, "date")),
    optional=(
        *fields(decode.day, "recordDate paymentDate declarationDate"),
        *fields(decode.number, "adjDividend dividend yield"),
        *fields(decode.text, "frequency"),
    ),
    limits={"adjDividend": (0, 1e12), "dividend": (0, 1e12)},
)


def parse(body: bytes, symbol: str) -> Fetched:
    """Return the dividends of ``symbol``, no rows where it has paid none.

    Raises:
        FetchError: WRONG_SYMBOL where the answer is about another symbol; MALFORMED, INSANE_VALUE or TOO_LARGE where
            nothing of it can be used.
    """
    reading = read_list(body, DIVIDEND, f"dividends symbol={symbol}", {"symbol": symbol})
    return reading.fetched(replaces=("symbol",) if len(reading.rows) < LIMIT else None)


class DividendHistoryFetcher:
    """Fetches dividends, one symbol at a time."""

    data_type = "dividend-history"
    batch_size = 1

    def __init__(self) -> None:
        self._history = History(LIMIT)

    async def fetch(self, requests: Sequence[FetchRequest], upstream: Upstream) -> Mapping[str, Fetched | FetchError]:
        """Fetch the dividends of one symbol, unless they have not changed since the answer with ``etag``.

        Raises:
            FetchError: Where the call failed, or its answer cannot be used.
            CallRefusedError: Where the call was not made.
        """
        (request,) = requests
        return await self._history.fetch_one(request, upstream, "dividends", {"symbol": request.symbol}, parse)
