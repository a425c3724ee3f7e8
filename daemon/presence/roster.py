"""Who looks at what, over all sources: tabs united, viewers counted once, leaves and outages given time.

Times are monotonic seconds that never go back from one call to the next.
"""

from __future__ import annotations

import math
from collections import OrderedDict, defaultdict
from collections.abc import Iterable
from heapq import heappop, heappush
from itertools import islice
from typing import NamedTuple

from daemon.contracts import DemandChange, Pair
from daemon.presence.holdings import Holdings
from daemon.presence.metadata import FULL_WEIGHT_PAIRS, MAX_PAIRS, View
from daemon.presence.tally import UNITS, Tally

EXPIRED_AT_ONCE = 500
"""Rows, or viewers of a lost source, let go between two turns of the event loop."""


class _Row(NamedTuple):
    source: str
    viewer: str
    pair: Pair


class Roster:
    """The union of what all sources say, kept up to date by increments.

    A viewer who leaves a pair counts for ``leave_grace_seconds`` more, unless back by then. A source that is lost is
    unknown, not empty: its last view stands for ``presence_grace_seconds``, then its viewers go at once.

    Args:
        leave_grace_seconds: How long a viewer that left a pair in a source still counts there.
        presence_grace_seconds: How long the last view of a lost source stands.
        max_pairs: How many pairs one viewer counts for, over all sources (see :class:`Holdings` for which).
        full_weight_pairs: A viewer who counts for more pairs weighs this number, spread evenly over them.
        unverified_viewers: What all unverified viewers of a pair together weigh at most; None for no bound.
    """

    def __init__(
        self,
        *,
        leave_grace_seconds: float = 30.0,
        presence_grace_seconds: float = 300.0,
        max_pairs: int = MAX_PAIRS,
        full_weight_pairs: int = FULL_WEIGHT_PAIRS,
        unverified_viewers: int | None = None,
    ) -> None:
        self._leave_grace_seconds = leave_grace_seconds
        self._presence_grace_seconds = presence_grace_seconds
        self._max_pairs = max_pairs
        self._full_weight_pairs = full_weight_pairs
        self._tally = Tally(unverified_viewers)
        self._holdings: dict[str, Holdings] = {}
        self._members: defaultdict[str, set[str]] = defaultdict(set)
        """By source, the viewers that hold something there."""
        self._lingering: OrderedDict[_Row, float] = OrderedDict()
        """When a row ends. One grace for all, so the order of insertion is the order of deadlines."""
        self._lost: dict[str, float] = {}
        """Until when the last view of a silent source stands."""
        self._lost_in_order: list[tuple[float, str]] = []
        """A heap of the same, in which entries that hold no more are passed over."""

    def apply(self, source: str, added: Iterable[View], removed: Iterable[View], now: float) -> None:
        """Take in metas that came and, after them, metas that went."""
        touched: defaultdict[str, set[Pair]] = defaultdict(set)
        for view in added:
            touched[view.viewer].update(self._add(source, view))
        for view in removed:
            touched[view.viewer] |= self._remove(source, view, now)
        for viewer, pairs in touched.items():
            if pairs:
                self._settle(source, viewer, pairs)

    def source_lost(self, source: str, now: float) -> None:
        """Note that a source is silent; its last view stands for a while, counted from the first such note."""
        if source in self._members and source not in self._lost:
            deadline = self._lost[source] = now + self._presence_grace_seconds
            heappush(self._lost_in_order, (deadline, source))

    def source_confirmed(self, source: str) -> None:
        """Note that a full state of the source has been applied: what is known is current."""
        self._lost.pop(source, None)

    def drain(self, source: str, limit: int | None = None) -> bool:
        """Make viewers of a source leave, now and without grace, at most ``limit`` of them; return whether all have."""
        self._drain(source, limit)
        return source not in self._members

    def _drain(self, source: str, limit: int | None) -> int:
        viewers = list(islice(self._members.get(source, ()), limit))
        for viewer in viewers:
            pairs = self._holdings[viewer].release_all(source)
            for pair in pairs:
                self._lingering.pop(_Row(source, viewer, pair), None)
            self._settle(source, viewer, pairs)
        return len(viewers)

    def expire(self, now: float) -> list[str]:
        """Let go of what has had its time; return the lost sources that are being given up.

        Does a bounded amount of work: ``next_deadline`` stays in the past until all is done.
        """
        left, given_up = EXPIRED_AT_ONCE, []
        while left and next(iter(self._lingering.values()), math.inf) <= now:
            self._end(next(iter(self._lingering)))
            left -= 1
        while left and self._next_lost()[0] <= now:
            given_up.append(self._next_lost()[1])
            left -= self._drain(given_up[-1], left)
        return given_up

    def next_deadline(self) -> float | None:
        """Return when ``expire`` has something to do next, or None."""
        deadline = min(next(iter(self._lingering.values()), math.inf), self._next_lost()[0])
        return None if deadline == math.inf else deadline

    def _next_lost(self) -> tuple[float, str]:
        """Return the deadline and the name of the lost source that is given up next."""
        while self._lost_in_order:
            deadline, source = self._lost_in_order[0]
            if self._lost.get(source) == deadline:
                return deadline, source
            heappop(self._lost_in_order)
        return math.inf, ""

    def changed(self) -> Iterable[str]:
        """Return the sources that may have a change to take."""
        return self._tally.changed()

    def first_viewed(self, source: str) -> bool:
        """Whether the change to take from a source holds the first view of a pair."""
        return self._tally.first_viewed(source)

    def take_change(self, source: str) -> DemandChange | None:
        """Return what changed in a source since this was last asked, net; None where nothing did."""
        return self._tally.take_change(source)

    def viewers(self, pair: Pair) -> int:
        """Return the number of distinct viewers of a pair."""
        return self._tally.viewers(pair)

    def weight(self, pair: Pair) -> float:
        """Return what all viewers of a pair weigh together."""
        return self._tally.weight(pair)

    def viewers_in(self, source: str) -> int:
        """Return the number of distinct viewers in a source."""
        return self._tally.viewers_in(source)

    def _add(self, source: str, view: View) -> Iterable[Pair]:
        if not view.pairs:
            return ()
        holdings = self._holdings.get(view.viewer)
        if holdings is None:
            holdings = self._holdings[view.viewer] = Holdings(verified=view.verified)
        self._members[source].add(view.viewer)
        holdings.add(source, view.pairs)
        for pair in view.pairs:
            self._lingering.pop(_Row(source, view.viewer, pair), None)
        return view.pairs

    def _remove(self, source: str, view: View, now: float) -> set[Pair]:
        """Take a meta away; return the pairs that linger from now on."""
        holdings = self._holdings.get(view.viewer)
        if holdings is None:
            return set()
        ceased = {pair for pair in view.pairs if holdings.remove(source, pair)}
        for pair in ceased:
            self._lingering[_Row(source, view.viewer, pair)] = now + self._leave_grace_seconds
        return ceased

    def _end(self, row: _Row) -> None:
        """End a row that lingered."""
        del self._lingering[row]
        self._holdings[row.viewer].release(row.source, row.pair)
        self._settle(row.source, row.viewer, [row.pair])

    def _settle(self, source: str, viewer: str, touched: Iterable[Pair]) -> None:
        """Bring the tally in line with what one viewer holds after ``touched`` changed in ``source``."""
        holdings = self._holdings[viewer]
        switched = holdings.choose(self._max_pairs)
        for pair in switched.union(touched):
            concerned = {source, *holdings.sources(pair)} if pair in switched else (source,)
            for each in concerned:
                counts = pair in holdings.kept and holdings.holds(each, pair)
                self._tally.set_row(each, viewer, pair, counts=counts, verified=holdings.verified)
        if switched:
            self._tally.share_rows(source, viewer, holdings.kept)
            units = self._units(len(holdings.kept))
            self._tally.set_share(source, viewer, holdings.kept, units, verified=holdings.verified)
        if source in self._members and not holdings.holds_any(source):
            self._leave(source, viewer)
        if not holdings:
            del self._holdings[viewer]

    def _units(self, pairs: int) -> int:
        """Return what a viewer of so many pairs weighs on each of them."""
        return UNITS if pairs <= self._full_weight_pairs else UNITS * self._full_weight_pairs // pairs

    def _leave(self, source: str, viewer: str) -> None:
        self._members[source].discard(viewer)
        if not self._members[source]:
            del self._members[source]
            self._lost.pop(source, None)
