"""Shares and free float: how many shares there are and how many of them trade, a row of ``shares_float`` a day.

Endpoint: ``shares-float?symbol=AAPL`` of the Financial Modeling Prep ``stable`` API, 6 fields, one record. ``date``
is when it was counted, in UTC, and the source timestamp; ``freeFloat`` is in percent; numbers of shares can come with
a fraction, which is cut off. An ETF answers 0 and a null source. Earlier days stay: they are history. Asked
conditionally.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from daemon.contracts import Fetched, FetchError, FetchRequest, Upstream
from daemon.fetchers import decode
from daemon.fetchers.conditional import fetch_one
from daemon.fetchers.shape import Shape, fields, read_list

FLOAT = Shape(
    identity=(*fields(decode.code, "symbol"), *fields(decode.utc, "date", date="source_timestamp")),
    optional=(
        *fields(decode.number, "freeFloat"),
        *fields(decode.whole, "floatShares outstandingShares"),
        *fields(decode.text, "source"),
    ),
    limits={"freeFloat": (0, 1e6), "floatShares": (0, 1e18), "outstandingShares": (0, 1e18)},
)


def parse(body: bytes, symbol: str) -> Fetched:
    """Return the newest count of the shares of ``symbol``, or no row where the upstream has none.

    Raises:
        FetchError: WRONG_SYMBOL where the answer is about another symbol; MALFORMED, INSANE_VALUE or TOO_LARGE where
            nothing of it can be used.
    """
    reading = read_list(body, FLOAT, f"shares-float symbol={symbol}", {"symbol": symbol})
    reading.rows.sort(key=lambda row: row["source_timestamp"])
    counted_at = reading.rows[-1]["source_timestamp"] if reading.rows else None
    for row in reading.rows:
        row |= {
            "date": row["source_timestamp"].date().isoformat(),
            "source_timestamp": row["source_timestamp"].isoformat(),
        }
    return replace(reading.fetched(last=True), source_timestamp=counted_at)


class SharesFloatFetcher:
    """Fetches share counts, one symbol at a time."""

    data_type = "shares-float"
    batch_size = 1

    async def fetch(self, requests: Sequence[FetchRequest], upstream: Upstream) -> Mapping[str, Fetched | FetchError]:
        """Fetch the count of one symbol, unless it has not changed since the answer with ``etag``.

        Raises:
            FetchError: Where the call failed, or its answer cannot be used.
            CallRefusedError: Where the call was not made.
        """
        (request,) = requests
        return await fetch_one(request, upstream, "shares-float", {"symbol": request.symbol}, parse)
