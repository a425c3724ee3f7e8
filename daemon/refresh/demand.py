"""Demand: how many distinct viewers each pair has, and what refreshing it is therefore worth."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from daemon.contracts import DataType, DemandChange, Pair
from daemon.refresh.policy import MEAN_SESSION_SECONDS, gain
from daemon.store.demand import PairDemand


class DemandBook:
    """The current viewers of every pair that has any, and what they weigh.

    Args:
        types: Gives the registry as it was last loaded.
        mean_session_seconds: Gives how long somebody looks at a page, as far as that is known.
    """

    def __init__(
        self,
        types: Callable[[], Mapping[str, DataType]],
        mean_session_seconds: Callable[[], float] = lambda: MEAN_SESSION_SECONDS,
    ) -> None:
        self._types = types
        self._mean_session_seconds = mean_session_seconds
        self._viewers: dict[Pair, int] = {}
        self._weights: dict[Pair, float] = {}
        """Of the pairs whose viewers weigh less than their number."""

    def __len__(self) -> int:
        return len(self._viewers)

    def __contains__(self, pair: object) -> bool:
        return pair in self._viewers

    def pairs(self) -> list[Pair]:
        """Return all pairs that somebody views."""
        return list(self._viewers)

    def apply(self, change: DemandChange) -> list[Pair]:
        """Take in a change; return the pairs that nobody viewed before."""
        first = [pair for pair, viewers in change.viewers.items() if viewers > 0 and pair not in self._viewers]
        for pair, viewers in change.viewers.items():
            if viewers > 0:
                self._viewers[pair] = viewers
            else:
                self._viewers.pop(pair, None)
            self._weights.pop(pair, None)
        self._weights.update(change.weights)
        return first

    def demands(self, pairs: Iterable[Pair]) -> list[PairDemand]:
        """Return what is wanted of those pairs, 0 viewers included; a type that left the registry is left out."""
        types, mean = self._types(), self._mean_session_seconds()
        return [
            PairDemand(pair, viewers, gain(known.weight, self._weights.get(pair, viewers), known.ttl_seconds, mean))
            for pair in pairs
            if (known := types.get(pair.data_type)) is not None
            for viewers in (self._viewers.get(pair, 0),)
        ]
