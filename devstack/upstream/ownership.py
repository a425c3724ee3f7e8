"""Endpoints ``dividends``, ``shares-float``, ``grades-historical`` and ``revenue-product-segmentation``."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, time, timedelta

from devstack.upstream.figures import figures, money
from devstack.upstream.listings import Listing
from devstack.upstream.market import Market
from devstack.upstream.particulars import particulars
from devstack.upstream.periods import reported_periods
from devstack.upstream.walk import seeded
from devstack.upstream.wire import Row, number

QUARTER_DAYS = 91
DIVIDENDS = 80
GRADED_MONTHS = 92
SEGMENTED_YEARS = "15"
SEGMENTS = ("Cloud", "Devices", "Licences", "Maintenance", "Services", "Subscriptions", "Other")
GRADES = ("StrongBuy", "Buy", "Hold", "Sell", "StrongSell")
SOURCE = "https://www.sec.gov/Archives/edgar/data/{cik}/simulated-{year}.htm"


def dividends(market: Market, params: Mapping[str, str]) -> list[Row]:
    """Answer ``dividends?symbol=A``: a row per quarter, newest first, none for those that pay nothing."""
    listing = market.listings.get(params["symbol"])
    if listing is None or not (yearly := particulars(listing).dividend_per_share):
        return []
    today = market.today(listing)
    rng = seeded(listing.symbol, "ex-date")
    offset = 7 * rng.randrange(QUARTER_DAYS // 7) + rng.randrange(1, 6)  # day 1 was a Monday: never a weekend
    last = date.fromordinal((today.toordinal() - offset) // QUARTER_DAYS * QUARTER_DAYS + offset)
    ex_dates = [last - timedelta(days=QUARTER_DAYS * ago) for ago in range(DIVIDENDS)]
    limit = params.get("limit", "")
    return [_dividend(listing, day, yearly) for day in ex_dates[: int(limit) if limit.isdecimal() else None]]


def shares_float(market: Market, params: Mapping[str, str]) -> list[Row]:
    """Answer ``shares-float?symbol=A``: counted once a day, in UTC; nobody counts what is free of an ETF."""
    listing = market.listings.get(params["symbol"])
    if listing is None or listing.shares is None:
        return []
    today, rng = market.today(listing), seeded(listing.symbol, "float")
    free = rng.uniform(0.6, 0.999) if listing.is_company else 0
    counted = datetime.combine(today, time(rng.randrange(8), rng.randrange(60), rng.randrange(60)))
    source = SOURCE.format(cik=int(particulars(listing).cik), year=today.year)
    return [
        {
            "symbol": listing.symbol,
            "date": counted.isoformat(sep=" "),
            "freeFloat": number(free * 100),
            "floatShares": int(listing.shares * free),
            "outstandingShares": listing.shares,
            "source": source if listing.is_company else None,
        }
    ]


def grades_historical(market: Market, params: Mapping[str, str]) -> list[Row]:
    """Answer ``grades-historical?symbol=A``: a row per month, newest first."""
    listing = market.listings.get(params["symbol"])
    if listing is None or not listing.is_company:
        return []
    limit = params.get("limit", "")
    today = market.today(listing)
    month = today.year * 12 + today.month - 1
    count = min(int(limit), GRADED_MONTHS) if limit.isdecimal() else GRADED_MONTHS
    return [_grades(listing, month - ago) for ago in range(count)]


def product_segmentation(market: Market, params: Mapping[str, str]) -> list[Row]:
    """Answer ``revenue-product-segmentation?symbol=A``: revenue by segment; names come and go with the years."""
    listing = market.listings.get(params["symbol"])
    if listing is None or not listing.is_company:
        return []
    return [
        {
            "symbol": listing.symbol,
            "fiscalYear": period.fiscal_year,
            "period": period.name,
            "reportedCurrency": listing.exchange.currency,
            "date": period.ends.isoformat(),
            "data": _segments(listing, period.fiscal_year, figures(listing, period).revenue),
        }
        for period in reported_periods(market, listing, {"limit": SEGMENTED_YEARS, **params})
    ]


def _dividend(listing: Listing, ex_date: date, yearly: float) -> Row:
    paid = number(yearly / 4 * 0.985 ** (2026 - ex_date.year), 4)
    price = listing.price * seeded(listing.symbol, ex_date.isoformat(), "yield").uniform(0.8, 1.2)
    return {
        "symbol": listing.symbol,
        "date": ex_date.isoformat(),
        "recordDate": ex_date.isoformat(),
        "paymentDate": (ex_date + timedelta(days=4)).isoformat(),
        "declarationDate": (ex_date - timedelta(days=12)).isoformat() if listing.is_company else "",
        "adjDividend": paid,
        "dividend": paid,
        "yield": number(yearly / price * 100),
        "frequency": "Quarterly",
    }


def _grades(listing: Listing, month: int) -> Row:
    year, index = divmod(month, 12)
    rng = seeded(listing.symbol, month // 3, "grades")
    counts = {
        f"analystRatings{grade}": rng.randrange(top) for grade, top in zip(GRADES, (9, 26, 18, 5, 3), strict=True)
    }
    return {"symbol": listing.symbol, "date": f"{year:04d}-{index + 1:02d}-01"} | counts


def _segments(listing: Listing, fiscal_year: int, revenue: int) -> dict[str, int]:
    names = sorted(seeded(listing.symbol, fiscal_year // 4, "segments").sample(SEGMENTS, 4))
    rng = seeded(listing.symbol, fiscal_year, "segments")
    weights = [rng.uniform(0.3, 2) for _ in names]
    return {name: money(revenue * weight / sum(weights)) for name, weight in zip(names, weights, strict=True)}
