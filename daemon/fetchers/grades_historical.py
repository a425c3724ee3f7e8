"""Grades: how many analysts said buy, hold or sell, a row of ``grades_historical`` for each month.

Endpoint: ``grades-historical?symbol=AAPL&limit=1000`` of the Financial Modeling Prep ``stable`` API, 7 fields, newest
first. ``date`` is the first day of the month; the five others are numbers of analysts. The answer is the whole
history: a month that is no longer in it is removed. Asked conditionally.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from daemon.contracts import Fetched, FetchError, FetchRequest, Upstream
from daemon.fetchers import decode
from daemon.fetchers.conditional import History
from daemon.fetchers.shape import Shape, fields, read_list

LIMIT = 1_000
"""More months than there are. An answer of so many may be cut."""

COUNTS = """
    analystRatingsStrongBuy analystRatingsBuy analystRatingsHold analystRatingsSell analystRatingsStrongSell
"""

GRADES = Shape(
    identity=(*fields(decode.code, "symbol"), *fields(decode.day, "date")),
    optional=fields(decode.count, COUNTS),
    limits=dict.fromkeys(COUNTS.split(), (0, 1e6)),
)


def parse(body: bytes, symbol: str) -> Fetched:
    """Return the grades of ``symbol``, no rows where nobody follows it.

    Raises:
        FetchError: WRONG_SYMBOL where the answer is about another symbol; MALFORMED, INSANE_VALUE or TOO_LARGE where
            nothing of it can be used.
    """
    reading = read_list(body, GRADES, f"grades-historical symbol={symbol}", {"symbol": symbol})
    return reading.fetched(replaces=("symbol",) if len(reading.rows) < LIMIT else None)


class GradesHistoricalFetcher:
    """Fetches grades, one symbol at a time."""

    data_type = "grades-historical"
    batch_size = 1

    def __init__(self) -> None:
        self._history = History(LIMIT)

    async def fetch(self, requests: Sequence[FetchRequest], upstream: Upstream) -> Mapping[str, Fetched | FetchError]:
        """Fetch the grades of one symbol, unless they have not changed since the answer with ``etag``.

        Raises:
            FetchError: Where the call failed, or its answer cannot be used.
            CallRefusedError: Where the call was not made.
        """
        (request,) = requests
        return await self._history.fetch_one(request, upstream, "grades-historical", {"symbol": request.symbol}, parse)
