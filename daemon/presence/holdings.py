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

    __slots__ = ("_lingering", "_live", "_only", "_sources", "kept", "verified")

    def __init__(self, *, verified: bool) -> None:
        self.verified = verified
        """Whether a ticket says who the viewer is."""
        self.kept: tuple[Pair, ...] = ()
        """The pairs that count, as last chosen. Not a set, which takes seven times the memory for a handful."""
        self._only: tuple[str, tuple[Pair, ...]] | None = None
        """The source and the pairs of a viewer with one meta, as nearly all have: the three below are empty then."""
        self._sources: dict[str, dict[Pair, int]] | None = None
        """How many metas of a source name a pair; 0 while it lingers."""
        self._live: list[Pair] | None = None
        """The pairs that are live anywhere, sorted."""
        self._lingering: list[Pair] | None = None
        """The other pairs that are held, sorted; None for none, as mostly."""

    def __bool__(self) -> bool:
        return bool(self._only or self._live or self._lingering)

    def holds(self, source: str, pair: Pair) -> bool:
        """Whether the pair is live or lingers in this source."""
        if self._only is not None:
            return source == self._only[0] and pair in self._only[1]
        return pair in self._metas(source)

    def holds_any(self, source: str) -> bool:
        """Whether anything is live or lingers in this source."""
        if self._only is not None:
            return source == self._only[0]
        return source in (self._sources or ())

    def sources(self, pair: Pair) -> list[str]:
        """Return the sources in which the pair is live or lingers."""
        if self._only is not None:
            return [self._only[0]] if pair in self._only[1] else []
        return [source for source, metas in (self._sources or {}).items() if pair in metas]

    def add(self, source: str, pairs: tuple[Pair, ...]) -> None:
        """One more meta of this source names these pairs: sorted, none twice, at least one."""
        if not self:
            self._only = (source, pairs)
            return
        self._spread_out()
        for pair in pairs:
            self._add(source, pair)

    def remove(self, source: str, pair: Pair) -> bool:
        """One meta fewer names the pair; return whether it lingers from now on."""
        self._spread_out()
        metas = self._metas(source)
        if not metas.get(pair):
            return False
        lingered = self._only_lingers(pair)
        metas[pair] -= 1
        self._reorder(pair, lingered)
        return metas[pair] == 0

    def release(self, source: str, pair: Pair) -> None:
        """Nothing holds the pair in this source any more."""
        self._spread_out()
        metas = self._metas(source)
        if pair not in metas:
            return
        lingered = self._only_lingers(pair)
        del metas[pair]
        if not metas and self._sources is not None:
            del self._sources[source]
        self._reorder(pair, lingered)

    def release_all(self, source: str) -> list[Pair]:
        """Release every pair in this source, and return them."""
        self._spread_out()
        pairs = list(self._metas(source))
        for pair in pairs:
            self.release(source, pair)
        return pairs

    def choose(self, limit: int) -> set[Pair]:
        """Decide anew which pairs count; return those that began or ceased to."""
        self._draw_together(limit)
        before = self.kept
        if self._only is not None:
            self.kept = self._only[1][:limit]
        else:
            live = (self._live or ())[:limit]
            self.kept = (*live, *(self._lingering or ())[: limit - len(live)])
        return set(before).symmetric_difference(self.kept)

    def _spread_out(self) -> None:
        """Take the one meta apart, before anything but it is held."""
        if self._sources is None:
            self._sources, self._live = {}, []
        if self._only is not None:
            (source, pairs), self._only = self._only, None
            self._sources[source] = dict.fromkeys(pairs, 1)
            self._live = list(pairs)

    def _draw_together(self, limit: int) -> None:
        """Where all that is held is in one source, each pair once, hold it as one meta, unless that is much."""
        if self._sources is None or self._lingering or len(self._sources) != 1:
            return
        ((source, metas),) = self._sources.items()
        if len(metas) <= limit and all(count == 1 for count in metas.values()):
            self._only = (source, tuple(self._live or ()))
            self._sources = self._live = None

    def _metas(self, source: str) -> dict[Pair, int]:
        return (self._sources or {}).get(source, {})

    def _add(self, source: str, pair: Pair) -> None:
        assert self._sources is not None
        lingered = self._only_lingers(pair)
        metas = self._sources.setdefault(source, {})
        metas[pair] = metas.get(pair, 0) + 1
        self._reorder(pair, lingered)

    def _only_lingers(self, pair: Pair) -> bool | None:
        """Whether a held pair is live nowhere; None where it is not held."""
        counts = [metas[pair] for metas in (self._sources or {}).values() if pair in metas]
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
        pairs = (self._lingering if lingered else self._live) or []
        del pairs[bisect_left(pairs, pair)]
        if lingered and not pairs:
            self._lingering = None

    def _put_in(self, pair: Pair, *, lingers: bool) -> None:
        if lingers and self._lingering is None:
            self._lingering = []
        pairs = self._lingering if lingers else self._live
        assert pairs is not None
        insort(pairs, pair)
