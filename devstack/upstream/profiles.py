"""Endpoints ``profile`` and ``search-exchange-variants``.

They carry much the same under other names: ``exchange`` is the code in a profile, and the long name in a variant.
"""

from __future__ import annotations

from collections.abc import Mapping

from devstack.upstream.listings import Exchange, Listing, exchanges
from devstack.upstream.market import Market
from devstack.upstream.particulars import Particulars, particulars
from devstack.upstream.prices import average_volume
from devstack.upstream.quotes import quote_row
from devstack.upstream.walk import seeded
from devstack.upstream.wire import Row, number

IMAGE = "https://images.financialmodelingprep.com/symbol/{}.png"
FOREIGN_RATES = {"MEX": 18.3, "XETRA": 0.86, "FSX": 0.86, "SAO": 5.3, "SIX": 0.8, "LSE": 76.0, "STO": 9.6, "NEO": 1.4}


def profile(market: Market, params: Mapping[str, str]) -> list[Row]:
    """Answer ``profile?symbol=A``: one row of 36 fields."""
    listing = market.listings.get(params["symbol"])
    return [] if listing is None else [_profile_row(market, listing)]


def exchange_variants(market: Market, params: Mapping[str, str]) -> list[Row]:
    """Answer ``search-exchange-variants?symbol=A``: the listing itself, then where else it might be traded."""
    listing = market.listings.get(params["symbol"])
    if listing is None:
        return []
    home = _home_variant(market, listing)
    if listing.kind != "stock":
        return [home]
    places = seeded(listing.symbol, "variants").sample(sorted(FOREIGN_RATES), 4)
    return [home] + [_foreign_variant(home, listing, place) for place in places if place != listing.exchange.code]


def _profile_row(market: Market, listing: Listing) -> Row:
    about, quote = particulars(listing), quote_row(market, listing)
    return {
        "symbol": listing.symbol,
        "price": quote["price"],
        "marketCap": quote["marketCap"],
        "beta": about.beta if listing.is_company else None,
        "lastDividend": number(about.dividend_per_share),
        "range": _range(quote),
        "change": quote["change"],
        "changePercentage": quote["changePercentage"],
        "volume": quote["volume"],
        "averageVolume": int(average_volume(listing)),
        "companyName": listing.name,
        "currency": listing.exchange.currency,
        **_registers(listing, about),
        "exchangeFullName": listing.exchange.full_name,
        "exchange": listing.exchange.code,
        "industry": listing.industry or None,
        **_address(listing, about),
        **_marks(listing, about),
    }


def _home_variant(market: Market, listing: Listing) -> Row:
    about, quote = particulars(listing), quote_row(market, listing)
    fair_value = quote["price"] * seeded(listing.symbol, "dcf").uniform(0.4, 1.4)
    return {
        "symbol": listing.symbol,
        "price": quote["price"],
        "beta": about.beta if listing.is_company else None,
        "volAvg": int(average_volume(listing)),
        "mktCap": quote["marketCap"],
        "lastDiv": number(about.dividend_per_share),
        "range": _range(quote),
        "changes": quote["change"],
        "companyName": listing.name,
        "currency": listing.exchange.currency,
        **_registers(listing, about),
        "exchange": listing.exchange.full_name,
        "exchangeShortName": listing.exchange.code,
        "industry": listing.industry or None,
        **_address(listing, about),
        "dcfDiff": number(quote["price"] - fair_value, 5),
        "dcf": number(fair_value),
        **_marks(listing, about),
    }


def _foreign_variant(home: Row, listing: Listing, place: str) -> Row:
    """Return the same company on another exchange; now and then one where it has no price."""
    exchange = exchanges()[place]
    symbol = f"{listing.symbol.split('.')[0]}{exchange.suffix}"
    rng, rate = seeded(symbol, "variant"), FOREIGN_RATES[place]
    idle = rng.random() < 0.3  # noqa: PLR2004
    priced = _no_price() if idle else _foreign_price(home, rate, rng.uniform(0.0001, 0.01))
    named = {"symbol": symbol, "currency": exchange.currency, "cik": None, "image": IMAGE.format(symbol)}
    return home | priced | named | _place(exchange)


def _place(exchange: Exchange) -> Row:
    return {"exchange": exchange.full_name, "exchangeShortName": exchange.code}


def _no_price() -> Row:
    return {"price": None, "volAvg": 0, "mktCap": 0, "range": None, "changes": None, "dcfDiff": None, "dcf": 0}


def _foreign_price(home: Row, rate: float, traded: float) -> Row:
    return {
        "price": number(home["price"] * rate, 2),
        "volAvg": int(home["volAvg"] * traded),
        "mktCap": None if home["mktCap"] is None else number(home["mktCap"] * rate),
        "changes": number(home["changes"] * rate, 2),
        "dcfDiff": number(home["dcfDiff"] * rate, 5),
        "dcf": number(home["dcf"] * rate),
    }


def _range(quote: Row) -> str | None:
    return None if quote["yearLow"] is None else f"{quote['yearLow']}-{quote['yearHigh']}"


def _registers(listing: Listing, about: Particulars) -> Row:
    """Return the numbers under which a company is known; an ETF has no CIK of its own, a currency has nothing."""
    securities = listing.is_company or listing.kind == "etf"
    return {
        "cik": about.cik if listing.is_company else None,
        "isin": about.isin if securities else None,
        "cusip": about.cusip if securities else None,
    }


def _address(listing: Listing, about: Particulars) -> Row:
    """Return who and where; all of it null where there is no company."""
    known: Row = {
        "website": about.website,
        "description": about.description,
        "ceo": about.ceo,
        "sector": listing.sector or None,
        "country": listing.country or None,
        "fullTimeEmployees": about.employees,
        "phone": about.phone,
        "address": about.address,
        "city": about.city,
        "state": about.state,
        "zip": about.zip,
    }
    return known if listing.is_company else known | dict.fromkeys(set(known) - {"sector", "country"})


def _marks(listing: Listing, about: Particulars) -> Row:
    return {
        "image": IMAGE.format(listing.symbol),
        "ipoDate": about.listed_on.isoformat() if listing.is_company or listing.kind == "etf" else None,
        "defaultImage": not listing.is_company,
        "isEtf": listing.kind == "etf",
        "isActivelyTrading": not listing.is_delisted,
        "isAdr": listing.is_company and listing.country != "US" == listing.exchange.country_code,
        "isFund": False,
    }
