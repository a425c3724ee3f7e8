"""Profiles: what a company or fund is, one row of ``profiles`` each.

Endpoint: ``profile?symbol=AAPL`` of the Financial Modeling Prep ``stable`` API, 36 fields. Amounts are in ``currency``,
``changePercentage`` in percent, ``fullTimeEmployees`` a quoted number, ``exchange`` the short code. Only symbol and
company name are sure to be there. Asked conditionally: a profile that has not changed costs a few hundred bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from daemon.contracts import Fetched, FetchError, FetchRequest, Upstream
from daemon.fetchers import decode
from daemon.fetchers.conditional import fetch_one
from daemon.fetchers.shape import Shape, fields, read_list

PROFILE = Shape(
    identity=(*fields(decode.code, "symbol"), *fields(decode.text, "companyName")),
    optional=(
        *fields(decode.number, "price beta lastDividend change changePercentage"),
        *fields(decode.whole, "marketCap volume averageVolume fullTimeEmployees"),
        *fields(decode.text, "range currency cik isin cusip exchangeFullName exchange industry sector description"),
        *fields(decode.text, "website ceo country phone address city state zip image"),
        *fields(decode.day, "ipoDate"),
        *fields(decode.flag, "defaultImage isEtf isActivelyTrading isAdr isFund"),
    ),
)


def parse(body: bytes, symbol: str) -> Fetched:
    """Return the profile of ``symbol`` as one row, or no row where the upstream has none.

    Raises:
        FetchError: WRONG_SYMBOL where the answer is about another symbol, MALFORMED or TOO_LARGE where it is useless.
    """
    about = f"profile symbol={symbol}"
    return read_list(body, PROFILE, about, {"symbol": symbol}).fetched(last=True)


class ProfileFetcher:
    """Fetches profiles, one at a time."""

    data_type = "profile"
    batch_size = 1

    async def fetch(self, requests: Sequence[FetchRequest], upstream: Upstream) -> Mapping[str, Fetched | FetchError]:
        """Fetch one profile, unless it has not changed since the answer with ``etag``.

        Raises:
            FetchError: Where the call failed, or its answer cannot be used.
            CallRefusedError: Where the call was not made.
        """
        (request,) = requests
        return await fetch_one(request, upstream, "profile", {"symbol": request.symbol}, parse)
