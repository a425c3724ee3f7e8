"""Profiles: what a company or fund is, one row of ``profiles`` each.

Endpoint: ``profile?symbol=AAPL`` of the Financial Modeling Prep ``stable`` API, 36 fields. Amounts are in ``currency``,
``changePercentage`` in percent, ``fullTimeEmployees`` a quoted number, ``exchange`` the short code. Only symbol and
company name are sure to be there. Asked conditionally: a profile that has not changed costs a few hundred bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec

from daemon.contracts import Fetched, FetchError, FetchErrorKind, FetchRequest, Row, Upstream
from daemon.fetchers import decode

COLUMNS: Mapping[str, Callable[[Any], Any]] = {
    "price": decode.number,
    "market_cap": decode.whole,
    "beta": decode.number,
    "last_dividend": decode.number,
    "range": decode.text,
    "change": decode.number,
    "change_percentage": decode.number,
    "volume": decode.whole,
    "average_volume": decode.whole,
    "currency": decode.text,
    "cik": decode.text,
    "isin": decode.text,
    "cusip": decode.text,
    "exchange_full_name": decode.text,
    "exchange": decode.text,
    "industry": decode.text,
    "website": decode.text,
    "description": decode.text,
    "ceo": decode.text,
    "sector": decode.text,
    "country": decode.text,
    "full_time_employees": decode.whole,
    "phone": decode.text,
    "address": decode.text,
    "city": decode.text,
    "state": decode.text,
    "zip": decode.text,
    "image": decode.text,
    "ipo_date": decode.day,
    "default_image": decode.flag,
    "is_etf": decode.flag,
    "is_actively_trading": decode.flag,
    "is_adr": decode.flag,
    "is_fund": decode.flag,
}
"""What may be null, each with its conversion."""


class ProfileWire(msgspec.Struct, rename="camel"):
    """A profile as the upstream sends it."""

    symbol: str
    company_name: Any = None
    price: Any = None
    market_cap: Any = None
    beta: Any = None
    last_dividend: Any = None
    range: Any = None
    change: Any = None
    change_percentage: Any = None
    volume: Any = None
    average_volume: Any = None
    currency: Any = None
    cik: Any = None
    isin: Any = None
    cusip: Any = None
    exchange_full_name: Any = None
    exchange: Any = None
    industry: Any = None
    website: Any = None
    description: Any = None
    ceo: Any = None
    sector: Any = None
    country: Any = None
    full_time_employees: Any = None
    phone: Any = None
    address: Any = None
    city: Any = None
    state: Any = None
    zip: Any = None
    image: Any = None
    ipo_date: Any = None
    default_image: Any = None
    is_etf: Any = None
    is_actively_trading: Any = None
    is_adr: Any = None
    is_fund: Any = None


_DECODER = msgspec.json.Decoder(ProfileWire)


def parse(body: bytes, symbol: str) -> Sequence[Row]:
    """Return the profile of ``symbol`` as one row, or no row where the upstream has none.

    Raises:
        FetchError: WRONG_SYMBOL where the answer is about another symbol, MALFORMED or TOO_LARGE where it is useless.
    """
    about = f"profile symbol={symbol}"
    by_symbol = {decode.symbol_of(raw): raw for raw in decode.records(body, about)}
    if not by_symbol:
        return ()
    if symbol not in by_symbol:
        raise decode.mismatch(by_symbol, about)
    wire = decode.record(by_symbol[symbol], _DECODER, about)
    company_name = decode.text(wire.company_name)
    if company_name is None:
        raise FetchError(FetchErrorKind.MALFORMED, f"{about}: companyName is missing or not a text")
    optional = {column: convert(getattr(wire, column)) for column, convert in COLUMNS.items()}
    return ({"symbol": symbol, "company_name": company_name, **optional},)


class ProfileFetcher:
    """Fetches profiles, one at a time."""

    data_type = "profile"

    @property
    def batch_size(self) -> int:
        """1: the upstream has no batch of profiles."""
        return 1

    async def fetch(self, requests: Sequence[FetchRequest], upstream: Upstream) -> Mapping[str, Fetched | FetchError]:
        """Fetch one profile, unless it has not changed since the answer with ``etag``.

        Raises:
            FetchError: Where the call failed, or its answer cannot be used.
            CallRefusedError: Where the call was not made.
        """
        (request,) = requests
        answer = await upstream.get("profile", {"symbol": request.symbol}, etag=request.etag)
        unchanged = answer.status == HTTPStatus.NOT_MODIFIED
        rows = None if unchanged else parse(answer.body, request.symbol)
        return {request.symbol: Fetched(rows=rows, etag=answer.etag or (request.etag if unchanged else None))}
