"""Distinct viewers per pair and what they weigh, as they come and go, and what of it has not been reported yet.

Weights are counted in whole units, so that what was added can be taken away again for months without drifting.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from daemon.contracts import DemandChange, Pair, Subscription

UNITS = 1_000_000
"""The weight of one viewer."""


class _Demand(NamedTuple):
    viewers: int
    units: int


_NO_DEMAND = _Demand(0, 0)


@dataclass(slots=True)
class _Pending:
    """What happened in one source since its last report, net."""

    rows: dict[Subscription, bool] = field(default_factory=dict)
    """True joined, False left."""
    moved: set[Pair] = field(default_factory=set)
    first_view: bool = False


class Tally:
    """The rows (source, viewer, pair) that count, and the numbers that follow from them.

    A row is O(1); a viewer whose weight changes costs one step for each of their pairs.

    Args:
        unverified_viewers: What all unverified viewers of a pair together weigh at most; None for no bound.
    """

    def __init__(self, unverified_viewers: int | None = None) -> None:
        self._most_unverified = math.inf if unverified_viewers is None else unverified_viewers * UNITS
        self._rows: dict[str, dict[str, tuple[Pair, ...]]] = {}
        """By source and viewer; a viewer has a handful of pairs, for which a set would take seven times the memory."""
        self._holders: dict[Pair, dict[str, int]] = {}
        """By pair and viewer, in how many sources the row counts."""
        self._shares: dict[str, int] = {}
        """The units of a viewer on each of their pairs, where they are not all of them."""
        self._units: dict[bool, dict[Pair, int]] = {True: {}, False: {}}
        """What the viewers of a pair weigh together, by whether they are verified."""
        self._reported: dict[Pair, _Demand] = {}
        self._pending: dict[str, _Pending] = {}

    def viewers(self, pair: Pair) -> int:
        """Return the number of distinct viewers of a pair, over all sources."""
        return len(self._holders.get(pair, ()))

    def weight(self, pair: Pair) -> float:
        """Return what all viewers of a pair weigh together: at most their number, and 0 only where that is."""
        return self._demand(pair).units / UNITS

    def viewers_in(self, source: str) -> int:
        """Return the number of distinct viewers in one source."""
        return len(self._rows.get(source, ()))

    def set_row(self, source: str, viewer: str, pair: Pair, *, counts: bool, verified: bool) -> None:
        """Make a row count or not; nothing happens where it already does. A viewer is verified in all rows or none."""
        pairs = self._rows.get(source, {}).get(viewer, ())
        if (pair in pairs) is counts:
            return
        pending = self._pending.setdefault(source, _Pending())
        self._note(pending, Subscription(viewer, pair), joined=counts)
        if counts:
            self._rows.setdefault(source, {})[viewer] = (*pairs, pair)
            if self._count_up(pair, viewer, pending):
                self._weigh(pair, self._share(viewer), verified=verified)
        else:
            self._drop_row(source, viewer, pair)
            if self._count_down(pair, viewer, pending):
                self._weigh(pair, -self._share(viewer), verified=verified)

    def share_rows(self, source: str, viewer: str, pairs: tuple[Pair, ...]) -> None:
        """Hold a viewer's rows in a source as ``pairs``, which the caller holds too, where they are the same ones."""
        rows = self._rows.get(source, {})
        if len(rows.get(viewer, ())) == len(pairs) > 0 and set(rows[viewer]) == set(pairs):
            rows[viewer] = pairs

    def set_share(self, source: str, viewer: str, pairs: Collection[Pair], units: int, *, verified: bool) -> None:
        """Have a viewer weigh so many units on each of ``pairs``, which are all they count for."""
        more = units - self._share(viewer)
        if units == UNITS:
            self._shares.pop(viewer, None)
        else:
            self._shares[viewer] = units
        if more and pairs:
            self._pending.setdefault(source, _Pending()).moved.update(pairs)
            for pair in pairs:
                self._weigh(pair, more, verified=verified)

    def changed(self) -> Iterable[str]:
        """Return the sources that have something to report."""
        return tuple(self._pending)

    def first_viewed(self, source: str) -> bool:
        """Whether something to report is the first view of a pair."""
        pending = self._pending.get(source)
        return pending is not None and pending.first_view

    def take_change(self, source: str) -> DemandChange | None:
        """Return what is new in a source since this was last asked, net; None where nothing is."""
        pending = self._pending.pop(source, None)
        if pending is None:
            return None
        news = {pair: demand for pair in pending.moved if (demand := self._demand(pair)) != self._told(pair)}
        if not news and not pending.rows:
            return None
        for pair, demand in news.items():
            self._report(pair, demand)
        joined = [row for row, came in pending.rows.items() if came]
        left = [row for row, came in pending.rows.items() if not came]
        viewers = {pair: demand.viewers for pair, demand in news.items()}
        weights = {pair: units / UNITS for pair, (number, units) in news.items() if units != number * UNITS}
        return DemandChange(source, viewers, joined, left, weights=weights)

    def _demand(self, pair: Pair) -> _Demand:
        unverified = min(self._units[False].get(pair, 0), self._most_unverified)
        return _Demand(self.viewers(pair), self._units[True].get(pair, 0) + int(unverified))

    def _told(self, pair: Pair) -> _Demand:
        return self._reported.get(pair, _NO_DEMAND)

    def _report(self, pair: Pair, demand: _Demand) -> None:
        if demand.viewers:
            self._reported[pair] = demand
        else:
            self._reported.pop(pair, None)

    def _share(self, viewer: str) -> int:
        return self._shares.get(viewer, UNITS)

    def _weigh(self, pair: Pair, more: int, *, verified: bool) -> None:
        units = self._units[verified]
        total = units.get(pair, 0) + more
        if total:
            units[pair] = total
        else:
            del units[pair]

    def _note(self, pending: _Pending, row: Subscription, *, joined: bool) -> None:
        if row in pending.rows:  # it came and went, or went and came, since the last report
            del pending.rows[row]
        else:
            pending.rows[row] = joined

    def _count_up(self, pair: Pair, viewer: str, pending: _Pending) -> bool:
        """Count one source more; return whether it is the viewer's first for this pair."""
        holders = self._holders.setdefault(pair, {})
        holders[viewer] = holders.get(viewer, 0) + 1
        if holders[viewer] > 1:
            return False
        pending.moved.add(pair)
        pending.first_view |= pair not in self._reported
        return True

    def _count_down(self, pair: Pair, viewer: str, pending: _Pending) -> bool:
        """Count one source fewer; return whether it was the viewer's last for this pair."""
        holders = self._holders[pair]
        holders[viewer] -= 1
        if holders[viewer]:
            return False
        del holders[viewer]
        pending.moved.add(pair)
        if not holders:
            del self._holders[pair]
        return True

    def _drop_row(self, source: str, viewer: str, pair: Pair) -> None:
        viewers = self._rows[source]
        if rest := tuple(each for each in viewers[viewer] if each != pair):
            viewers[viewer] = rest
        else:
            del viewers[viewer]
        if not viewers:
            del self._rows[source]
