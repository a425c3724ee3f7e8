"""Demand: how many distinct viewers each pair has, and what refreshing it is therefore worth."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping

from daemon.contracts import DataType, DemandChange, Pair
from daemon.refresh.policy import HORIZON_SECONDS, MEAN_SESSION_SECONDS, gain
from daemon.store.demand import PairDemand

LONG_RUN_SECONDS = 1_800.0
"""What was half an hour ago counts for 1/e of what is now, in what is usual."""

FreshSeconds = Callable[[Pair, float], float]
"""From a pair and its TTL to how long an answer of now would be fresh."""

_FORGOTTEN = 0.05
"""Pairs that so few look at in the long run are like pairs that nobody ever looked at."""
_SPARE = 1_000
_FORGET_SECONDS = 60.0


class DemandBook:
    """The current viewers of every pair that has any, what they weigh, and what is usual for the pair.

    Args:
        types: Gives the registry as it was last loaded.
        mean_session_seconds: Gives how long somebody looks at a page, as far as that is known.
        monotonic: Gives seconds that only go forward.
        fresh_seconds: Gives how long an answer of now would be fresh; the TTL where nothing else is known.
        long_run_seconds: What was so long ago counts for 1/e of what is now, in what is usual.
        horizon_seconds: How far into the future what is usual counts.
    """

    def __init__(
        self,
        types: Callable[[], Mapping[str, DataType]],
        mean_session_seconds: Callable[[], float] = lambda: MEAN_SESSION_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
        fresh_seconds: FreshSeconds = lambda _pair, ttl_seconds: ttl_seconds,
        *,
        long_run_seconds: float = LONG_RUN_SECONDS,
        horizon_seconds: float = HORIZON_SECONDS,
    ) -> None:
        self._types = types
        self._mean_session_seconds = mean_session_seconds
        self._monotonic = monotonic
        self._fresh_seconds = fresh_seconds
        self._long_run_seconds = long_run_seconds
        self._horizon_seconds = horizon_seconds
        self._viewers: dict[Pair, int] = {}
        self._weights: dict[Pair, float] = {}
        """Of the pairs whose viewers weigh less than their number."""
        self._usual: dict[Pair, tuple[float, float]] = {}
        """The mean weight of the viewers in the long run, and when it was that."""
        self._forget_at = 0.0

    def use(self, *, long_run_seconds: float, horizon_seconds: float) -> None:
        """Reckon with another memory of what is usual, and another horizon."""
        self._long_run_seconds = long_run_seconds
        self._horizon_seconds = horizon_seconds

    def __len__(self) -> int:
        return len(self._viewers)

    def __contains__(self, pair: object) -> bool:
        return pair in self._viewers

    def pairs(self) -> list[Pair]:
        """Return all pairs that somebody views."""
        return list(self._viewers)

    def viewers(self) -> Mapping[Pair, int]:
        """Return how many distinct viewers each pair has now."""
        return dict(self._viewers)

    def apply(self, change: DemandChange) -> list[Pair]:
        """Take in a change; return the pairs that nobody viewed before."""
        now = self._monotonic()
        for pair in change.viewers:
            self._usual[pair] = (self._usual_at(pair, now), now)
        first = [pair for pair, viewers in change.viewers.items() if viewers > 0 and pair not in self._viewers]
        for pair, viewers in change.viewers.items():
            if viewers > 0:
                self._viewers[pair] = viewers
            else:
                self._viewers.pop(pair, None)
            self._weights.pop(pair, None)
        self._weights.update(change.weights)
        if len(self._usual) > 2 * len(self._viewers) + _SPARE and now >= self._forget_at:
            self._forget(now)
        return first

    def usual_viewers(self, pair: Pair) -> float:
        """Return what the viewers of a pair weigh in the long run: an exponentially weighted mean."""
        return self._usual_at(pair, self._monotonic())

    def demands(self, pairs: Iterable[Pair]) -> list[PairDemand]:
        """Return what is wanted of those pairs, 0 viewers included; a type that left the registry is left out."""
        types, mean = self._types(), self._mean_session_seconds()
        return [
            PairDemand(pair, self._viewers.get(pair, 0), self._gain(pair, known, mean))
            for pair in pairs
            if (known := types.get(pair.data_type)) is not None
        ]

    def _gain(self, pair: Pair, known: DataType, mean_session_seconds: float) -> float:
        fresh_seconds = self._fresh_seconds(pair, known.ttl_seconds)
        usual = self.usual_viewers(pair)
        return gain(known.weight, self._weight(pair), fresh_seconds, mean_session_seconds, usual, self._horizon_seconds)

    def _weight(self, pair: Pair) -> float:
        return self._weights.get(pair, float(self._viewers.get(pair, 0)))

    def _usual_at(self, pair: Pair, now: float) -> float:
        mean, at = self._usual.get(pair, (0.0, now))
        weight = self._weight(pair)
        return weight + (mean - weight) * math.exp((at - now) / self._long_run_seconds)

    def _forget(self, now: float) -> None:
        self._forget_at = now + _FORGET_SECONDS
        for pair in [pair for pair in self._usual if pair not in self._viewers]:
            if self._usual_at(pair, now) < _FORGOTTEN:
                del self._usual[pair]
