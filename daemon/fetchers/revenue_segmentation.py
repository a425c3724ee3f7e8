"""Revenue by product: what each segment brought in, a row of ``revenue_product_segmentation`` for each fiscal year.

Endpoint: ``revenue-product-segmentation?symbol=AAPL&period=annual&structure=flat`` of the Financial Modeling Prep
``stable`` API, 6 fields. ``data`` is {segment: revenue}, in ``reportedCurrency``, which may be null; segments change
their names from year to year. ``fiscalYear`` is an integer, ``date`` the end of the year. The answer is all years: a
year that is no longer in it is removed, rows of other periods are not. Asked conditionally.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from daemon.contracts import Fetched, FetchError, FetchRequest, Upstream
from daemon.fetchers import decode
from daemon.fetchers.conditional import fetch_one
from daemon.fetchers.shape import Shape, fields, read_list

SEGMENTATION = Shape(
    identity=(
        *fields(decode.code, "symbol period"),
        *fields(decode.year, "fiscalYear"),
        *fields(decode.day, "date"),
    ),
    optional=(*fields(decode.text, "reportedCurrency"), *fields(decode.figures, "data")),
)


def parse(body: bytes, symbol: str) -> Fetched:
    """Return the revenue of ``symbol`` by segment, no rows where the upstream does not know any.

    Raises:
        FetchError: WRONG_SYMBOL where the answer is about another symbol; MALFORMED, INSANE_VALUE or TOO_LARGE where
            nothing of it can be used.
    """
    about = f"revenue-product-segmentation symbol={symbol}"
    return read_list(body, SEGMENTATION, about, {"symbol": symbol}).fetched(replaces=("symbol", "period"))


class RevenueSegmentationFetcher:
    """Fetches revenue by segment, one symbol at a time."""

    data_type = "revenue-segmentation"
    batch_size = 1

    async def fetch(self, requests: Sequence[FetchRequest], upstream: Upstream) -> Mapping[str, Fetched | FetchError]:
        """Fetch the segments of one symbol, unless they have not changed since the answer with ``etag``.

        Raises:
            FetchError: Where the call failed, or its answer cannot be used.
            CallRefusedError: Where the call was not made.
        """
        (request,) = requests
        params = {"symbol": request.symbol, "period": "annual", "structure": "flat"}
        return await fetch_one(request, upstream, "revenue-product-segmentation", params, parse)
