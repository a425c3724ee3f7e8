"""Endpoints ``available-exchanges``, ``all-exchange-market-hours`` and ``exchange-market-hours``.

An exchange on which simulated symbols trade follows the simulated market: around the clock, or "CLOSED", or by its own
hours, weekends and holidays, as the others always do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, time

from devstack.upstream.listings import Exchange, exchanges
from devstack.upstream.market import Market
from devstack.upstream.trading_days import is_trading, sessions_on
from devstack.upstream.wire import Row

CLOSED = "CLOSED"
AROUND_THE_CLOCK = ((time(0, 0), time(23, 59)),)


def available_exchanges(_market: Market, _params: Mapping[str, str]) -> list[Row]:
    """Answer ``available-exchanges``. Those without a suffix say "N/A"; an unknown delay is null."""
    return [
        {
            "exchange": exchange.code,
            "name": exchange.name,
            "countryName": exchange.country,
            "countryCode": exchange.country_code,
            "symbolSuffix": exchange.suffix,
            "delay": exchange.delay or None,
        }
        for exchange in exchanges().values()
        if exchange.available
    ]


def all_market_hours(market: Market, _params: Mapping[str, str]) -> list[Row]:
    """Answer ``all-exchange-market-hours``."""
    traded = {listing.exchange.code for listing in market.listings.values()}
    return [_hours(market, exchange, exchange.code in traded) for exchange in exchanges().values()]


def market_hours(market: Market, params: Mapping[str, str]) -> list[Row]:
    """Answer ``exchange-market-hours?exchange=A``."""
    return [row for row in all_market_hours(market, {}) if row["exchange"] == params["exchange"]]


def _hours(market: Market, exchange: Exchange, simulated: bool) -> Row:
    now = market.now().astimezone(exchange.zone)
    if simulated and not (market.is_open and market.keeps_hours):
        return _row(exchange, now, AROUND_THE_CLOCK if market.is_open else (), market.is_open)
    return _row(exchange, now, sessions_on(exchange, now.date()), is_trading(exchange, now))


def _row(exchange: Exchange, now: datetime, sessions: Sequence[tuple[time, time]], is_open: bool) -> Row:
    offset = f"{now:%z}"
    texts = [tuple(f"{moment:%I:%M %p} {offset[:3]}:{offset[3:]}" for moment in session) for session in sessions]
    first = texts[0] if texts else (CLOSED, CLOSED)
    row: Row = {"exchange": exchange.code, "name": exchange.name, "openingHour": first[0], "closingHour": first[1]}
    if len(texts) > 1:
        row |= {"openingAdditional": texts[1][0], "closingAdditional": texts[1][1]}
    return row | {"timezone": exchange.zone.key, "isMarketOpen": is_open}
