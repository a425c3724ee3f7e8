"""Endpoints ``quote``, ``batch-quote`` and ``search-symbol``."""

from __future__ import annotations

from collections.abc import Mapping

from devstack.upstream.listings import Listing
from devstack.upstream.market import Market
from devstack.upstream.wire import Row, number

SEARCH_LIMIT = 50
CHANGE_DIGITS = 5


def quote(market: Market, params: Mapping[str, str]) -> list[Row]:
    """Answer ``quote?symbol=A``. A comma list is one unknown symbol."""
    listing = market.listings.get(params["symbol"])
    return [] if listing is None else [quote_row(market, listing)]


def batch_quote(market: Market, params: Mapping[str, str]) -> list[Row]:
    """Answer ``batch-quote?symbols=A,B``: drops what it does not know, repeats what it is asked twice, has no cap."""
    asked = (market.listings.get(symbol) for symbol in params["symbols"].split(","))
    return [quote_row(market, listing) for listing in asked if listing is not None]


def search_symbol(market: Market, params: Mapping[str, str]) -> list[Row]:
    """Answer ``search-symbol?query=A``: symbols that begin with it first."""
    query, exchange = params["query"].upper(), params.get("exchange")
    found = [
        listing
        for listing in market.listings.values()
        if query in listing.symbol and exchange in {None, "", listing.exchange.code}
    ]
    found.sort(key=lambda listing: (not listing.symbol.startswith(query), len(listing.symbol), listing.symbol))
    limit = params.get("limit", "")
    return [_search_row(listing) for listing in found[: int(limit) if limit.isdecimal() else SEARCH_LIMIT]]


def quote_row(market: Market, listing: Listing) -> Row:
    """Return the 17 fields of a quote."""
    return _last_words(market, listing) if listing.is_delisted else _live_row(market, listing)


def market_cap(listing: Listing, price: float) -> float | None:
    """Return price times shares, with the crumbs of binary arithmetic; null where nobody counts shares."""
    return None if listing.shares is None else number(price * listing.shares)


def _live_row(market: Market, listing: Listing) -> Row:
    tape, digits = market.tape(listing), listing.digits
    price, previous = round(tape.price, digits), round(tape.previous_close, digits)
    return {
        "symbol": listing.symbol,
        "name": listing.name,
        "price": number(price),
        "changePercentage": number((price - previous) / previous * 100, CHANGE_DIGITS),
        "change": number(price - previous, digits),
        "volume": number(tape.volume, CHANGE_DIGITS) if listing.kind == "crypto" else int(tape.volume),
        "dayLow": number(tape.day_low, digits),
        "dayHigh": number(tape.day_high, digits),
        "yearHigh": number(tape.year_high, digits),
        "yearLow": number(tape.year_low, digits),
        "marketCap": market_cap(listing, price),
        "priceAvg50": number(tape.average_50, digits + 2),
        "priceAvg200": number(tape.average_200, digits + 3),
        "exchange": listing.exchange.code,
        "open": number(tape.open, digits),
        "previousClose": number(previous),
        "timestamp": tape.traded_at,
    }


def _last_words(market: Market, listing: Listing) -> Row:
    """Return the quote of a delisted company: the price it ended at, and mostly nulls."""
    price = number(listing.price)
    return {
        "symbol": listing.symbol,
        "name": listing.name,
        "price": price,
        "changePercentage": 0,
        "change": 0,
        "volume": 0,
        "dayLow": None,
        "dayHigh": None,
        "yearHigh": None,
        "yearLow": None,
        "marketCap": None,
        "priceAvg50": price,
        "priceAvg200": None,
        "exchange": listing.exchange.code,
        "open": None,
        "previousClose": price,
        "timestamp": market.traded_at(listing),
    }


def _search_row(listing: Listing) -> Row:
    return {
        "symbol": listing.symbol,
        "name": listing.name,
        "currency": listing.exchange.currency,
        "exchangeFullName": listing.exchange.full_name,
        "exchange": listing.exchange.code,
    }
