"""What analysts expect a share to cost, one row of ``price_targets`` each.

Endpoint: ``price-target-consensus?symbol=AAPL`` of the Financial Modeling Prep ``stable`` API, in the currency of the
share. Asked conditionally.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec

from daemon.contracts import Fetched, FetchError, FetchRequest, Row, Upstream
from daemon.fetchers import decode


class TargetWire(msgspec.Struct, rename="camel"):
    """A consensus as the upstream sends it: only its symbol is sure to be there."""

    symbol: str
    target_high: Any = None
    target_low: Any = None
    target_consensus: Any = None
    target_median: Any = None


_DECODER = msgspec.json.Decoder(TargetWire)
_FIGURES = ("target_high", "target_low", "target_consensus", "target_median")


def parse(body: bytes, symbol: str) -> Sequence[Row]:
    """Return one row, or none where the upstream has nothing; raise FetchError where the body is no use."""
    about = f"price-target-consensus symbol={symbol}"
    targets = [decode.record(raw, _DECODER, about) for raw in decode.records(body, about)]
    own = [target for target in targets if target.symbol == symbol]
    if targets and not own:
        raise decode.mismatch({target.symbol for target in targets}, about)
    return [{"symbol": symbol, **{name: decode.number(getattr(own[-1], name)) for name in _FIGURES}}] if own else []


class PriceTargetFetcher:
    """Fetches price targets, one symbol at a time."""

    data_type = "price-target"
    batch_size = 1

    async def fetch(self, requests: Sequence[FetchRequest], upstream: Upstream) -> Mapping[str, Fetched | FetchError]:
        """Fetch the consensus of one symbol, unless it has not changed."""
        (request,) = requests
        answer = await upstream.get("price-target-consensus", {"symbol": request.symbol}, etag=request.etag)
        if answer.status == HTTPStatus.NOT_MODIFIED:
            return {request.symbol: Fetched(rows=None, etag=answer.etag or request.etag)}
        return {request.symbol: Fetched(rows=parse(answer.body, request.symbol), etag=answer.etag)}
