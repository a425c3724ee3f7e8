"""Who looks at what: seeded traces of viewers, and the state in which the world begins.

A page shows one symbol with every data type. Symbols are popular by Zipf's law with the exponent 1, viewers come as a
Poisson process and stay for an exponential time, and their number is in balance from the first second on. The daemon
has been running for a day: what was visited within it has been fetched, and is of any age up to its TTL.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

SYMBOLS = 20_000
MEDIAN_SESSION_SECONDS = 180.0
MEAN_SESSION_SECONDS = MEDIAN_SESSION_SECONDS / math.log(2)
HISTORY_SECONDS = 86_400.0
BANDS = (100, 1_000, 5_000, SYMBOLS)
"""The last rank of each band of popularity."""

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Viewed = NDArray[np.float32]
"""Viewer-seconds by (step, symbol): hundreds of millions of them."""


@dataclass(frozen=True, slots=True)
class Type:
    """A data type, as the registry has it."""

    name: str
    ttl_seconds: float
    size_bytes: float
    calls: int = 1
    batch_size: int = 1
    is_global: bool = False


TYPES = (
    Type("quote", 60.0, 2_000),
    Type("profile", 86_400.0, 5_000),
    Type("financial-statements", 30 * 86_400.0, 500_000, calls=3),
    Type("ratios-ttm", 86_400.0, 50_000),
    Type("dividend-history", 90 * 86_400.0, 100_000),
    Type("shares-float", 86_400.0, 500),
    Type("revenue-segmentation", 365 * 86_400.0, 150_000),
    Type("grades-historical", 30 * 86_400.0, 30_000),
    Type("exchange-variants", 86_400.0, 80_000),
    Type("available-exchanges", 86_400.0, 10_000, is_global=True),
    Type("exchange-market-status", 300.0, 20_000, is_global=True),
)


@dataclass(frozen=True)
class World:
    """One trace: everything follows from the seed.

    Args:
        viewers: How many look at once, on average.
        seconds: For how long.
        seed: Where chance begins.
    """

    viewers: int
    seconds: float
    seed: int = 1

    @cached_property
    def popularity(self) -> Floats:
        """By symbol, the share of the viewers that come for it."""
        weights = 1.0 / np.arange(1, SYMBOLS + 1)
        shares: Floats = weights / weights.sum()
        return shares

    @property
    def joins_per_second(self) -> float:
        """How many viewers come."""
        return self.viewers / MEAN_SESSION_SECONDS

    @cached_property
    def at_first(self) -> Integers:
        """By symbol, how many look from the first second on."""
        return np.random.default_rng([self.seed, 0]).poisson(self.popularity * self.viewers)

    @cached_property
    def fresh_until(self) -> Floats:
        """By (type, symbol), when what is stored at the start expires: 0 is stale, NaN never fetched."""
        chance = np.random.default_rng([self.seed, 1])
        never = np.exp(-self.popularity * self.joins_per_second * HISTORY_SECONDS)
        visited = (chance.random((len(TYPES), SYMBOLS)) >= never) | (self.at_first > 0)[None, :]
        until = np.full((len(TYPES), SYMBOLS), np.nan)
        for row, kind in enumerate(TYPES):
            left = kind.ttl_seconds - chance.random(SYMBOLS) * min(kind.ttl_seconds, HISTORY_SECONDS)
            until[row] = np.where(visited[row], left if kind.ttl_seconds >= HISTORY_SECONDS else 0.0, np.nan)
            if kind.ttl_seconds < HISTORY_SECONDS:
                until[row] = np.where(self.at_first > 0, left, until[row])
            if kind.is_global:
                until[row] = left[0]
        return until

    @cached_property
    def sessions(self) -> tuple[Floats, Floats, Integers]:
        """The start, the end and the symbol of every viewer, by start."""
        chance = np.random.default_rng([self.seed, 2])
        present = int(self.at_first.sum())
        coming = chance.poisson(self.joins_per_second * self.seconds)
        starts = np.concatenate([np.zeros(present), np.sort(chance.random(coming) * self.seconds)])
        ends = starts + chance.exponential(MEAN_SESSION_SECONDS, present + coming)
        symbols = np.repeat(np.arange(SYMBOLS), self.at_first)
        return starts, ends, np.concatenate([symbols, chance.choice(SYMBOLS, coming, p=self.popularity)])

    def counts(self) -> Iterator[tuple[Integers, Integers]]:
        """Yield, second by second, the viewers of every symbol and those of them who have just come."""
        chance = np.random.default_rng([self.seed, 3])
        coming = self.popularity * self.joins_per_second
        staying = math.exp(-1 / MEAN_SESSION_SECONDS)
        joined = viewers = self.at_first
        for _ in range(int(self.seconds)):
            yield viewers, joined
            joined = chance.poisson(coming)
            viewers = chance.binomial(viewers, staying) + joined
