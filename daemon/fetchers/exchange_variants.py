"""Exchange variants: the listings of one company on all exchanges, one row of ``exchange_variants`` each.

Endpoint: ``search-exchange-variants?symbol=AAPL`` of the Financial Modeling Prep ``stable`` API, 36 fields under
older names than those of a profile: ``exchange`` is the display name and ``exchangeShortName`` the code. Amounts are
in ``currency``; price, range, ``dcfDiff`` and ``cik`` may be null. ``symbol`` of a record is the variant's. Two
symbols can share a variant, so the symbol that was asked for is part of the key, and an answer is about it only if it
lists that symbol itself too. A variant that is no longer listed is removed. Asked conditionally.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from daemon.contracts import Fetched, FetchError, FetchRequest, Upstream
from daemon.fetchers import decode
from daemon.fetchers.conditional import fetch_one
from daemon.fetchers.shape import Shape, fields, read_list

VARIANT = Shape(
    identity=fields(decode.code, "symbol exchangeShortName", symbol="symbol_variant"),
    optional=(
        *fields(decode.number, "price beta lastDiv changes dcfDiff dcf"),
        *fields(decode.whole, "volAvg mktCap fullTimeEmployees"),
        *fields(decode.text, "range companyName currency cik isin cusip exchange industry website description ceo"),
        *fields(decode.text, "sector country phone address city state zip image"),
        *fields(decode.day, "ipoDate"),
        *fields(decode.flag, "defaultImage isEtf isActivelyTrading isAdr isFund"),
    ),
)


def parse(body: bytes, symbol: str) -> Fetched:
    """Return the listings of the company behind ``symbol``, no rows where the upstream does not know it.

    Raises:
        FetchError: WRONG_SYMBOL where the answer is about another symbol; MALFORMED, INSANE_VALUE or TOO_LARGE where
            nothing of it can be used.
    """
    about = f"search-exchange-variants symbol={symbol}"
    reading = read_list(body, VARIANT, about)
    named = {row["symbol_variant"] for row in reading.rows}
    if named and symbol not in named:
        raise decode.mismatch(named, about)
    for row in reading.rows:
        row["symbol"] = symbol
    return reading.fetched(replaces=("symbol",))


class ExchangeVariantsFetcher:
    """Fetches variants, one symbol at a time."""

    data_type = "exchange-variants"
    batch_size = 1

    async def fetch(self, requests: Sequence[FetchRequest], upstream: Upstream) -> Mapping[str, Fetched | FetchError]:
        """Fetch the variants of one symbol, unless they have not changed since the answer with ``etag``.

        Raises:
            FetchError: Where the call failed, or its answer cannot be used.
            CallRefusedError: Where the call was not made.
        """
        (request,) = requests
        return await fetch_one(request, upstream, "search-exchange-variants", {"symbol": request.symbol}, parse)
