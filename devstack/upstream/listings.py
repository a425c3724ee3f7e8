"""What is listed: the symbols of ``symbols.csv`` and the exchanges of ``exchanges.csv``.

``kind`` of a symbol is one of stock, etf, index, crypto, forex, commodity, delisted. A delisted one is a company that
no longer trades: its price stands still and much of its quote is null. ``price`` is where its random walk starts from.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import time
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo

FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Exchange:
    """A market place, its words for itself and its hours in local time."""

    code: str
    name: str
    full_name: str
    country: str
    country_code: str
    suffix: str
    delay: str
    currency: str
    zone: ZoneInfo
    weekend: frozenset[int]
    """ISO weekdays without trading."""
    sessions: tuple[tuple[time, time], ...]
    """Opening and closing: one pair, or two around a lunch break."""
    available: bool
    """Whether ``available-exchanges`` names it."""


@dataclass(frozen=True, slots=True)
class Listing:
    """A symbol that the upstream knows."""

    symbol: str
    name: str
    exchange: Exchange
    sector: str
    industry: str
    country: str
    price: float
    shares: int | None
    kind: str

    @property
    def is_company(self) -> bool:
        """Whether there is a business behind it that files statements."""
        return self.kind in {"stock", "delisted"}

    @property
    def is_delisted(self) -> bool:
        """Whether it no longer trades."""
        return self.kind == "delisted"

    @property
    def digits(self) -> int:
        """Decimals of its price."""
        if self.kind == "forex":
            return 5
        return 2 if self.price >= 1 and self.kind != "crypto" else 8


@cache
def exchanges() -> Mapping[str, Exchange]:
    """Return all exchanges by code."""
    return {row["exchange"]: _exchange(row) for row in _rows("exchanges.csv")}


@cache
def listings() -> Mapping[str, Listing]:
    """Return all listings by symbol."""
    return {row["symbol"]: _listing(row) for row in _rows("symbols.csv")}


def _rows(file: str) -> list[dict[str, str]]:
    with (FOLDER / file).open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def _exchange(row: Mapping[str, str]) -> Exchange:
    hours = [(row["opens"], row["closes"]), (row["opens_again"], row["closes_again"])]
    return Exchange(
        code=row["exchange"],
        name=row["name"],
        full_name=row["full_name"] or row["name"],
        country=row["country"],
        country_code=row["country_code"],
        suffix=row["suffix"],
        delay=row["delay"],
        currency=row["currency"],
        zone=ZoneInfo(row["timezone"]),
        weekend=frozenset(map(int, row["weekend"])),
        sessions=tuple((time.fromisoformat(opens), time.fromisoformat(closes)) for opens, closes in hours if opens),
        available=row["available"] == "yes",
    )


def _listing(row: Mapping[str, str]) -> Listing:
    return Listing(
        symbol=row["symbol"],
        name=row["name"],
        exchange=exchanges()[row["exchange"]],
        sector=row["sector"],
        industry=row["industry"],
        country=row["country"],
        price=float(row["price"]),
        shares=int(row["shares"]) if row["shares"] else None,
        kind=row["kind"],
    )
