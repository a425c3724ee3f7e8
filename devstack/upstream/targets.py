"""Endpoint ``price-target-consensus``: what no data type of the daemon's own asks for, but the example plug-in does."""

from __future__ import annotations

from collections.abc import Mapping

from devstack.upstream.market import Market
from devstack.upstream.walk import seeded
from devstack.upstream.wire import Row, number


def price_target_consensus(market: Market, params: Mapping[str, str]) -> list[Row]:
    """Answer ``price-target-consensus?symbol=A``: companies alone have targets, and they change once a month."""
    listing = market.listings.get(params["symbol"])
    if listing is None or not listing.is_company:
        return []
    rng = seeded(listing.symbol, "targets", market.today(listing).strftime("%Y-%m"))
    low, high = sorted(number(rng.uniform(50, 500), 2) for _ in range(2))
    middle = (low + high) / 2
    return [
        {
            "symbol": listing.symbol,
            "targetHigh": high,
            "targetLow": low,
            "targetConsensus": number(middle + rng.uniform(-1, 1), 2),
            "targetMedian": number(middle, 2),
        }
    ]
