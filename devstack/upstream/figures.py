"""The business behind a company: the figures that its statements and ratios have in common, so that they agree."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

from devstack.upstream.listings import Listing
from devstack.upstream.particulars import particulars
from devstack.upstream.periods import QUARTERS, Period
from devstack.upstream.walk import seeded

BASE_YEAR = 2025
MILLION, THOUSAND = 1_000_000, 1_000
LARGE = 10 * MILLION


@dataclass(frozen=True, slots=True)
class Figures:
    """A period's figures, in whole units of the reporting currency."""

    revenue: int
    cost: int
    research: int
    administration: int
    depreciation: int
    interest: int
    other_income: int
    tax: int
    capital_expenditure: int
    stock_compensation: int
    working_capital_change: int
    buybacks: int
    dividends: int
    cash: int
    cash_before: int
    total_assets: int
    total_debt: int
    shares: int
    diluted_shares: int

    @property
    def gross_profit(self) -> int:
        """Revenue less its cost."""
        return self.revenue - self.cost

    @property
    def operating_income(self) -> int:
        """Gross profit less operating expenses."""
        return self.gross_profit - self.research - self.administration

    @property
    def pretax_income(self) -> int:
        """Operating income with what is not of the operation."""
        return self.operating_income + self.other_income - self.interest

    @property
    def net_income(self) -> int:
        """What is left after tax."""
        return self.pretax_income - self.tax

    @property
    def operating_cash_flow(self) -> int:
        """Net income with what cost no cash."""
        return self.net_income + self.depreciation + self.stock_compensation + self.working_capital_change

    @property
    def free_cash_flow(self) -> int:
        """Operating cash flow less capital expenditure."""
        return self.operating_cash_flow - self.capital_expenditure


def figures(listing: Listing, period: Period) -> Figures:
    """Return the figures of a company for a period."""
    rng = seeded(listing.symbol, period.fiscal_year, "figures")
    revenue = _revenue(listing, period)
    yearly = _year_revenue(listing, period.fiscal_year)
    gross_margin, research, administration = rng.uniform(0.3, 0.7), rng.uniform(0, 0.12), rng.uniform(0.06, 0.14)
    operating = revenue * (gross_margin - research - administration)
    shares = round((listing.shares or MILLION) * 1.015 ** (BASE_YEAR - period.fiscal_year))
    return Figures(
        revenue=money(revenue),
        cost=money(revenue * (1 - gross_margin)),
        research=money(revenue * research),
        administration=money(revenue * administration),
        depreciation=money(revenue * rng.uniform(0.02, 0.07)),
        interest=money(revenue * rng.uniform(0.002, 0.02)),
        other_income=money(revenue * rng.uniform(-0.01, 0.01)),
        tax=money(max(operating, 0.0) * rng.uniform(0.12, 0.24)),
        capital_expenditure=money(revenue * rng.uniform(0.02, 0.09)),
        stock_compensation=money(revenue * rng.uniform(0.005, 0.04)),
        working_capital_change=money(revenue * rng.uniform(-0.05, 0.03)),
        buybacks=money(revenue * rng.uniform(0, 0.12)),
        dividends=money(_dividends(listing, shares, period)),
        cash=_cash(listing, period.ends),
        cash_before=_cash(listing, _day_before(period)),
        total_assets=money(yearly * rng.uniform(1.1, 2.4)),
        total_debt=money(yearly * rng.uniform(0.1, 0.4)),
        shares=shares,
        diluted_shares=round(shares * rng.uniform(1.001, 1.02)),
    )


def money(value: float) -> int:
    """Round as companies do: to millions, small sums to thousands."""
    unit = MILLION if abs(value) >= LARGE else THOUSAND
    return round(value / unit) * unit


def _year_revenue(listing: Listing, fiscal_year: int) -> float:
    rng = seeded(listing.symbol, "revenue")
    base = (listing.shares or MILLION) * listing.price / rng.uniform(2, 9)
    growth = rng.uniform(1.0, 1.12) ** (fiscal_year - BASE_YEAR)
    return base * growth * seeded(listing.symbol, fiscal_year, "revenue").uniform(0.95, 1.05)


def _revenue(listing: Listing, period: Period) -> float:
    year = _year_revenue(listing, period.fiscal_year)
    if period.is_year:
        return year
    rng = seeded(listing.symbol, "seasons")
    seasons = [rng.uniform(0.8, 1.2) for _ in QUARTERS]
    return year * seasons[QUARTERS.index(period.name)] / sum(seasons)


def _dividends(listing: Listing, shares: int, period: Period) -> float:
    paid = particulars(listing).dividend_per_share * shares
    return paid if period.is_year else paid / len(QUARTERS)


def _cash(listing: Listing, ends: date) -> int:
    """Return the cash at the end of a day that ends a period."""
    share = seeded(listing.symbol, ends.isoformat(), "cash").uniform(0.06, 0.18)
    return money(_year_revenue(listing, ends.year) * share)


def _day_before(period: Period) -> date:
    """Return the last day of the period before."""
    first = period.ends.replace(day=1)
    for _ in range(11 if period.is_year else 2):
        first = (first - timedelta(days=1)).replace(day=1)
    return first - timedelta(days=1)
