"""Which fiscal periods a company has reported on, newest first."""

from __future__ import annotations

import calendar
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta

from devstack.upstream.listings import Listing
from devstack.upstream.market import Market
from devstack.upstream.walk import seeded
from devstack.upstream.wire import Row

DEFAULT_LIMIT = 5
HISTORY_YEARS = 30
QUARTERS = ("Q1", "Q2", "Q3", "Q4")


@dataclass(frozen=True, slots=True)
class Period:
    """A fiscal year (``name`` FY) or a quarter of one."""

    ends: date
    fiscal_year: int
    name: str
    filed: date

    @property
    def is_year(self) -> bool:
        """Whether it is a whole year."""
        return self.name == "FY"


def reported_periods(market: Market, listing: Listing, params: Mapping[str, str]) -> list[Period]:
    """Return what ``period`` and ``limit`` ask for; an unknown ``period`` silently means annual."""
    wanted = params.get("period", "")
    names = QUARTERS if wanted == "quarter" else (wanted,) if wanted in QUARTERS else ("FY",)
    limit = params.get("limit", "")
    count = int(limit) if limit.isdecimal() else DEFAULT_LIMIT
    return _periods(listing, market.today(listing), names)[:count]


def last_year(market: Market, listing: Listing) -> Period:
    """Return the last fiscal year that a company has reported on."""
    return _periods(listing, market.today(listing), ("FY",))[0]


def header(listing: Listing, period: Period, cik: str) -> Row:
    """Return the fields with which every statement begins. ``acceptedDate`` is the wall clock of New York."""
    rng = seeded(listing.symbol, period.ends.isoformat(), "accepted")
    accepted = f"{rng.choice((6, 7, 16, 17)):02d}:{rng.randrange(60):02d}:{rng.randrange(60):02d}"
    return {
        "date": period.ends.isoformat(),
        "symbol": listing.symbol,
        "reportedCurrency": listing.exchange.currency,
        "cik": cik,
        "filingDate": period.filed.isoformat(),
        "acceptedDate": f"{period.filed.isoformat()} {accepted}",
        "fiscalYear": str(period.fiscal_year),
        "period": period.name,
    }


def _periods(listing: Listing, today: date, names: tuple[str, ...]) -> list[Period]:
    closing_month = seeded(listing.symbol, "fiscal year").choice((12, 12, 12, 12, 9, 6, 1))
    years = range(today.year + 1, today.year - HISTORY_YEARS, -1)
    periods = [_period(listing, year, closing_month, name) for year in years for name in reversed(names)]
    return [period for period in periods if period.filed <= today]


def _period(listing: Listing, fiscal_year: int, closing_month: int, name: str) -> Period:
    months_before = 0 if name == "FY" else 9 - 3 * QUARTERS.index(name)
    year, month = divmod(fiscal_year * 12 + closing_month - 1 - months_before, 12)
    ends = date(year, month + 1, calendar.monthrange(year, month + 1)[1])
    days = seeded(listing.symbol, fiscal_year, name, "filed").randrange(25, 45)
    return Period(ends, fiscal_year, name, ends + timedelta(days=days))
