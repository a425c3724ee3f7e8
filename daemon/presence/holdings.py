"""The pairs one viewer holds, over all tabs and sources, and which of them count."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter

from daemon.contracts import Pair


class Holdings:
    """One viewer's pairs by source.

    A pair is *live* in a source while at least one meta there names it, and *lingers* for the leave grace after that;
    it is *held* while it is either. At most ``limit`` pairs count: first those live anywhere, then those that only
    linger, each in the order of pairs. Which ones follows from what is held alone, never from the order of events.
    """

    __slots__ = ("_held_in", "_live_in", "_order", "_ranks", "_sources", "kept")

    def __init__(self) -> None:
        self.kept: frozenset[Pair] = frozenset()
        self._sources: dict[str, dict[Pair, int]] = {}
        """How many metas of a source name a pair; 0 while it lingers."""
        self._live_in: Counter[Pair] = Counter()
        self._held_in: Counter[Pair] = Counter()
        self._ranks: dict[Pair, bool] = {}
        self._order: list[tuple[bool, Pair]] = []
        """Every held pair as (it only lingers, pair), sorted."""

    def holds(self, source: str, pair: Pair) -> bool:
        """Whether the pair is live or lingers in this source."""
        return pair in self._sources.get(source, ())

    def holds_any(self, source: str) -> bool:
        """Whether anything is live or lingers in this source."""
        return source in self._sources

    def sources(self, pair: Pair) -> list[str]:
        """Return the sources in which the pair is live or lingers."""
        return [source for source, metas in self._sources.items() if pair in metas]

    def add(self, source: str, pair: Pair) -> None:
        """One more meta of this source names the pair."""
        metas = self._sources.setdefault(source, {})
        if pair not in metas:
            self._held_in[pair] += 1
        if not metas.get(pair):
            self._live_in[pair] += 1
        metas[pair] = metas.get(pair, 0) + 1
        self._rank(pair)

    def remove(self, source: str, pair: Pair) -> bool:
        """One meta fewer names the pair; return whether it lingers from now on."""
        metas = self._sources.get(source, {})
        if not metas.get(pair):
            return False
        metas[pair] -= 1
        if metas[pair]:
            return False
        self._live_in[pair] -= 1
        self._rank(pair)
        return True

    def release(self, source: str, pair: Pair) -> None:
        """Nothing holds the pair in this source any more."""
        metas = self._sources.get(source, {})
        if pair not in metas:
            return
        if metas.pop(pair):
            self._live_in[pair] -= 1
        self._held_in[pair] -= 1
        if not metas:
            del self._sources[source]
        self._rank(pair)

    def release_all(self, source: str) -> list[Pair]:
        """Release every pair in this source, and return them."""
        pairs = list(self._sources.get(source, ()))
        for pair in pairs:
            self.release(source, pair)
        return pairs

    def choose(self, limit: int) -> frozenset[Pair]:
        """Decide anew which pairs count; return those that began or ceased to."""
        before, self.kept = self.kept, frozenset(pair for _, pair in self._order[:limit])
        return before ^ self.kept

    def __bool__(self) -> bool:
        return bool(self._order)

    def _rank(self, pair: Pair) -> None:
        """Put the pair where it belongs in the order, or take it out."""
        old = self._ranks.pop(pair, None)
        if old is not None:
            del self._order[bisect_left(self._order, (old, pair))]
        if self._held_in[pair] > 0:
            self._ranks[pair] = lingers = self._live_in[pair] == 0
            insort(self._order, (lingers, pair))
        else:
            del self._held_in[pair], self._live_in[pair]
