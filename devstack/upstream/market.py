"""The simulated market: what is listed, what it trades at now, and whether trading goes on at all.

It never sleeps unless it is told to, or told to keep the hours of its exchanges; while it does, prices, volumes and the
times of the last trades stand still.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime

from devstack.upstream.listings import Listing, listings
from devstack.upstream.prices import BAR_SECONDS, DAY_SECONDS, Prices
from devstack.upstream.trading_days import last_trading
from devstack.upstream.walk import seeded

BUSY_CAP, QUIET_CAP = 50e9, 5e9
BUSY_SECONDS, USUAL_SECONDS, QUIET_SECONDS = 1, 5, 30
DELISTED_FROM, DELISTED_WITHIN_SECONDS = 1_650_000_000, 50_000_000


@dataclass(frozen=True, slots=True)
class Tape:
    """What the market says about one listing at one moment. Nothing is rounded."""

    price: float
    previous_close: float
    open: float
    day_low: float
    day_high: float
    year_low: float
    year_high: float
    average_50: float
    average_200: float
    volume: float
    traded_at: int
    """Epoch seconds of the last trade."""


class Market:
    """All listings and what they trade at.

    Args:
        clock: Returns epoch seconds.
        seed: Another seed is another history.
        is_open: Whether trading goes on; a closed market stands at the moment at which it was closed.
        keeps_hours: Whether every exchange trades by its hours, weekends and holidays only, instead of always.
    """

    def __init__(
        self, clock: Callable[[], float], *, seed: int = 1, is_open: bool = True, keeps_hours: bool = False
    ) -> None:
        self.listings: Mapping[str, Listing] = listings()
        self.keeps_hours = keeps_hours
        self._clock = clock
        self._prices = Prices(seed)
        self._closed_at = None if is_open else clock()

    @property
    def is_open(self) -> bool:
        """Whether trading goes on."""
        return self._closed_at is None

    @is_open.setter
    def is_open(self, is_open: bool) -> None:
        if is_open != self.is_open:
            self._closed_at = None if is_open else self._clock()

    def now(self) -> datetime:
        """Return the time, whether or not trading goes on."""
        return datetime.fromtimestamp(self._clock(), UTC)

    def today(self, listing: Listing) -> date:
        """Return the day up to which there is news of a listing."""
        return datetime.fromtimestamp(self.traded_at(listing), UTC).date() if listing.is_delisted else self.now().date()

    def traded_at(self, listing: Listing) -> int:
        """Return the epoch second of the last trade."""
        if listing.is_delisted:
            return DELISTED_FROM + seeded(listing.symbol, "delisted").randrange(DELISTED_WITHIN_SECONDS)
        moment = self._clock() if self._closed_at is None else self._closed_at
        if self.keeps_hours:
            moment = last_trading(listing.exchange, moment)
        return int(moment) // _trade_seconds(listing) * _trade_seconds(listing)

    def tape(self, listing: Listing) -> Tape:
        """Return what the market says now about a listing that trades."""
        traded_at = self.traded_at(listing)
        number, second = divmod(traded_at, DAY_SECONDS)
        index, offset = divmod(second, BAR_SECONDS)
        day = self._prices.day(listing, number)
        seconds = self._prices.bar(listing, day, index)[: offset + 1]
        low, high = math.exp(min(day.lows[index], *seconds)), math.exp(max(day.highs[index], *seconds))
        before, after = day.shares_of_volume[index : index + 2]
        return Tape(
            price=math.exp(seconds[-1]),
            previous_close=day.closes[0],
            open=math.exp(day.points[0]),
            day_low=low,
            day_high=high,
            year_low=min(low, *day.closes),
            year_high=max(high, *day.closes),
            average_50=sum(day.closes[:50]) / 50,
            average_200=sum(day.closes[:200]) / 200,
            volume=day.volume * (before + (after - before) * offset / BAR_SECONDS),
            traded_at=traded_at,
        )


def _trade_seconds(listing: Listing) -> int:
    """Return how far apart the trades of a listing are: those of small companies are rarer."""
    cap = listing.price * (listing.shares or math.inf)
    if cap >= BUSY_CAP or not listing.is_company:
        return BUSY_SECONDS
    return USUAL_SECONDS if cap >= QUIET_CAP else QUIET_SECONDS
