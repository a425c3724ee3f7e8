"""What analysts expect a share to cost, one row of ``price_targets`` each.

Endpoint: ``price-target-consensus?symbol=AAPL`` of the Financial Modeling Prep ``stable`` API, in the currency of the
share. Asked conditionally.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from daemon.contracts import Fetched, FetchError, FetchRequest, Upstream
from daemon.fetchers import decode
from daemon.fetchers.conditional import fetch_one
from daemon.fetchers.shape import Shape, fields, read_list

TARGET = Shape(
    identity=fields(decode.code, "symbol"),
    optional=fields(decode.number, "targetHigh targetLow targetConsensus targetMedian"),
)


def parse(body: bytes, symbol: str) -> Fetched:
    """Return one row, or none where the upstream has nothing; raise FetchError where the body is no use."""
    return read_list(body, TARGET, f"price-target-consensus symbol={symbol}", {"symbol": symbol}).fetched(last=True)


class PriceTargetFetcher:
    """Fetches price targets, one symbol at a time."""

    data_type = "price-target"
    batch_size = 1

    async def fetch(self, requests: Sequence[FetchRequest], upstream: Upstream) -> Mapping[str, Fetched | FetchError]:
        """Fetch the consensus of one symbol, unless it has not changed."""
        (request,) = requests
        return await fetch_one(request, upstream, "price-target-consensus", {"symbol": request.symbol}, parse)
