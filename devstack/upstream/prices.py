"""Prices that move: a random walk that is a function of seed, symbol and second, so that two askers agree.

A walk of daily closes returns to its beginning after ``CYCLE_DAYS``; a day is bridged from close to close in bars, and
a bar in seconds. All of it in logarithms, so that no price can turn negative. Days are UTC days.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import accumulate, pairwise

from devstack.upstream.listings import Listing
from devstack.upstream.walk import bridge, seeded

DAY_SECONDS = 86_400
BAR_SECONDS = 240
BARS = DAY_SECONDS // BAR_SECONDS
CYCLE_DAYS = 1024
YEAR_DAYS = 365
DAILY_DEVIATION = {"crypto": 0.028, "etf": 0.010, "forex": 0.004, "index": 0.009, "commodity": 0.013}
STOCK_DEVIATION = 0.016


@dataclass(frozen=True, slots=True)
class Day:
    """One symbol on one day. ``points``, ``lows`` and ``highs`` are logarithms of prices at the edges of bars."""

    number: int
    """Days since 1970."""
    closes: list[float]
    """Prices at the end of the year's days before this one, newest first."""
    points: list[float]
    lows: list[float]
    """The lowest of the day before each bar."""
    highs: list[float]
    volume: float
    shares_of_volume: list[float]
    """Which share of the day's volume was traded before each bar."""


class Prices:
    """Draws days and bars, and keeps the last one of each symbol."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._levels: dict[str, list[float]] = {}
        self._days: dict[str, Day] = {}
        self._bars: dict[str, tuple[int, list[float]]] = {}

    def day(self, listing: Listing, number: int) -> Day:
        """Return a day of a listing."""
        day = self._days.get(listing.symbol)
        if day is None or day.number != number:
            day = self._days[listing.symbol] = self._draw_day(listing, number)
        return day

    def bar(self, listing: Listing, day: Day, index: int) -> list[float]:
        """Return the logarithm of the price at each second of a bar, within what the day says of this bar."""
        key = day.number * BARS + index
        cached = self._bars.get(listing.symbol)
        if cached is None or cached[0] != key:
            rng = seeded(self._seed, listing.symbol, key, "bar")
            deviation = _deviation(listing) / math.sqrt(DAY_SECONDS)
            low, high = day.lows[index + 1], day.highs[index + 1]
            walk = bridge(rng, BAR_SECONDS, deviation, day.points[index], day.points[index + 1])
            cached = self._bars[listing.symbol] = (key, [min(max(point, low), high) for point in walk])
        return cached[1]

    def _draw_day(self, listing: Listing, number: int) -> Day:
        rng = seeded(self._seed, listing.symbol, number, "day")
        deviation = _deviation(listing) / math.sqrt(BARS)
        opening = self._level(listing, number - 1) + rng.gauss(0.0, deviation)
        points = bridge(rng, BARS, deviation, opening, self._level(listing, number))
        lows = [min(edges) - rng.random() * deviation / 2 for edges in pairwise(points)]
        highs = [max(edges) + rng.random() * deviation / 2 for edges in pairwise(points)]
        traded = list(accumulate((0.5 + rng.random() for _ in range(BARS)), initial=0.0))
        return Day(
            number=number,
            closes=[math.exp(self._level(listing, number - ago)) for ago in range(1, YEAR_DAYS + 1)],
            points=points,
            lows=list(accumulate(lows, min, initial=opening)),
            highs=list(accumulate(highs, max, initial=opening)),
            volume=average_volume(listing) * rng.uniform(0.6, 1.5),
            shares_of_volume=[share / traded[-1] for share in traded],
        )

    def _level(self, listing: Listing, number: int) -> float:
        levels = self._levels.get(listing.symbol)
        if levels is None:
            rng = seeded(self._seed, listing.symbol, "closes")
            start = math.log(listing.price)
            levels = self._levels[listing.symbol] = bridge(rng, CYCLE_DAYS, _deviation(listing), start, start)
        return levels[number % CYCLE_DAYS]


def average_volume(listing: Listing) -> float:
    """Return how much of a listing changes hands on a usual day."""
    turnover = seeded(listing.symbol, "turnover").uniform(0.003, 0.012)
    return (listing.shares or 300_000_000_000) * turnover


def _deviation(listing: Listing) -> float:
    return DAILY_DEVIATION.get(listing.kind, STOCK_DEVIATION)
