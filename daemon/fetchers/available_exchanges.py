"""Available exchanges: where the upstream knows symbols, one row of ``available_exchanges`` each.

Endpoint: ``available-exchanges`` of the Financial Modeling Prep ``stable`` API, about 63 records of 6 fields, all
texts. ``symbolSuffix`` can be the text "N/A"; ``delay`` is free text, such as "15 min" or "Real-time", or null.
Global: one answer for all symbols. An exchange that is no longer in it is removed. Asked conditionally.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from daemon.contracts import GLOBAL_SYMBOL, Fetched, FetchError, FetchRequest, Upstream
from daemon.fetchers import decode
from daemon.fetchers.conditional import fetch_one
from daemon.fetchers.shape import Shape, fields, read_list

EXCHANGE = Shape(
    identity=fields(decode.code, "exchange"),
    optional=fields(decode.text, "name countryName countryCode symbolSuffix delay"),
)


def parse(body: bytes, _symbol: str = GLOBAL_SYMBOL) -> Fetched:
    """Return all exchanges. They are about no symbol.

    Raises:
        FetchError: MALFORMED or TOO_LARGE where nothing of the answer can be used.
    """
    return read_list(body, EXCHANGE, "available-exchanges").fetched(replaces=())


class AvailableExchangesFetcher:
    """Fetches the list of exchanges."""

    data_type = "available-exchanges"
    batch_size = 1

    async def fetch(self, requests: Sequence[FetchRequest], upstream: Upstream) -> Mapping[str, Fetched | FetchError]:
        """Fetch the list, unless it has not changed since the answer with ``etag``.

        Raises:
            FetchError: Where the call failed, or its answer cannot be used.
            CallRefusedError: Where the call was not made.
        """
        (request,) = requests
        return await fetch_one(request, upstream, "available-exchanges", {}, parse)
