"""The pairs one viewer holds, over all tabs and sources, and which of them count."""

from __future__ import annotations

from bisect import bisect_left, insort

from daemon.contracts import Pair


class Holdings:
    """One viewer's pairs by source.

    A pair is *live* in a source while at least one meta there names it, and *lingers* for the leave grace after that;
    it is *held* while it is either. A limited number of pairs counts: first those live anywhere, then those that only
    linger, each in the order of pairs. Which ones follows from what is held alone, never from the order of events.
    """

    __slots__ = ("_lingering", "_live", "_sources", "kept", "verified")

    def __init__(self, *, verified: bool) -> None:
        self.verified = verified
        """Whether a ticket says who the viewer is."""
        self.kept: tuple[Pair, ...] = ()
        """The pairs that count, as last chosen. Not a set, which takes seven times the memory for a handful."""
        self._sources: dict[str, dict[Pair, int]] = {}
        """How many metas of a source name a pair; 0 while it lingers."""
        self._live: list[Pair] = []
        """The pairs that are live anywhere, sorted."""
        self._lingering: list[Pair] | None = None
        """The other pairs that are held, sorted; None for none, as mostly."""

    def __bool__(self) -> bool:
        return bool(self._live or self._lingering)

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
        lingered = self._only_lingers(pair)
        metas = self._sources.setdefault(source, {})
        metas[pair] = metas.get(pair, 0) + 1
        self._reorder(pair, lingered)

    def remove(self, source: str, pair: Pair) -> bool:
        """One meta fewer names the pair; return whether it lingers from now on."""
        metas = self._sources.get(source, {})
        if not metas.get(pair):
            return False
        lingered = self._only_lingers(pair)
        metas[pair] -= 1
        self._reorder(pair, lingered)
        return metas[pair] == 0

    def release(self, source: str, pair: Pair) -> None:
        """Nothing holds the pair in this source any more."""
        metas = self._sources.get(source, {})
        if pair not in metas:
            return
        lingered = self._only_lingers(pair)
        del metas[pair]
        if not metas:
            del self._sources[source]
        self._reorder(pair, lingered)

    def release_all(self, source: str) -> list[Pair]:
        """Release every pair in this source, and return them."""
        pairs = list(self._sources.get(source, ()))
        for pair in pairs:
            self.release(source, pair)
        return pairs

    def choose(self, limit: int) -> set[Pair]:
        """Decide anew which pairs count; return those that began or ceased to."""
        before, self.kept = self.kept, (*self._live, *(self._lingering or ()))[:limit]
        return set(before).symmetric_difference(self.kept)

    def _only_lingers(self, pair: Pair) -> bool | None:
        """Whether a held pair is live nowhere; None where it is not held."""
        counts = [metas[pair] for metas in self._sources.values() if pair in metas]
        return not any(counts) if counts else None

    def _reorder(self, pair: Pair, lingered: bool | None) -> None:
        """Move the pair from where it was in the order to where it is now."""
        lingers = self._only_lingers(pair)
        if lingers is lingered:
            return
        if lingered is not None:
            self._take_out(pair, lingered=lingered)
        if lingers is not None:
            self._put_in(pair, lingers=lingers)

    def _take_out(self, pair: Pair, *, lingered: bool) -> None:
        pairs = self._lingering or [] if lingered else self._live
        del pairs[bisect_left(pairs, pair)]
        if lingered and not pairs:
            self._lingering = None

    def _put_in(self, pair: Pair, *, lingers: bool) -> None:
        if lingers and self._lingering is None:
            self._lingering = [pair]
        else:
            insort(self._lingering or [] if lingers else self._live, pair)
