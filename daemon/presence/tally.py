"""Distinct viewers per pair, counted as they come and go, and what of it has not been reported yet."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from daemon.contracts import DemandChange, Pair, Subscription


@dataclass(slots=True)
class _Pending:
    """What happened in one source since its last report, net."""

    rows: dict[Subscription, bool] = field(default_factory=dict)
    """True joined, False left."""
    moved: set[Pair] = field(default_factory=set)
    first_view: bool = False


class Tally:
    """The rows (source, viewer, pair) that count, and the numbers that follow from them. Every step is O(1)."""

    def __init__(self) -> None:
        self._rows: dict[str, dict[str, set[Pair]]] = {}
        self._holders: dict[Pair, dict[str, int]] = {}
        """By pair and viewer, in how many sources the row counts."""
        self._reported: dict[Pair, int] = {}
        self._pending: dict[str, _Pending] = {}

    def viewers(self, pair: Pair) -> int:
        """Return the number of distinct viewers of a pair, over all sources."""
        return len(self._holders.get(pair, ()))

    def viewers_in(self, source: str) -> int:
        """Return the number of distinct viewers in one source."""
        return len(self._rows.get(source, ()))

    def set_row(self, source: str, viewer: str, pair: Pair, *, counts: bool) -> None:
        """Make a row count or not; nothing happens where it already does."""
        pairs = self._rows.get(source, {}).get(viewer, ())
        if (pair in pairs) is counts:
            return
        pending = self._pending.setdefault(source, _Pending())
        self._note(pending, Subscription(viewer, pair), joined=counts)
        if counts:
            self._rows.setdefault(source, {}).setdefault(viewer, set()).add(pair)
            self._count_up(pair, viewer, pending)
        else:
            self._drop_row(source, viewer, pair)
            self._count_down(pair, viewer, pending)

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
        viewers = {pair: self.viewers(pair) for pair in pending.moved if self._is_news(pair)}
        if not viewers and not pending.rows:
            return None
        for pair, number in viewers.items():
            self._report(pair, number)
        joined = [row for row, came in pending.rows.items() if came]
        left = [row for row, came in pending.rows.items() if not came]
        return DemandChange(source, viewers, joined, left)

    def _is_news(self, pair: Pair) -> bool:
        return self.viewers(pair) != self._reported.get(pair, 0)

    def _report(self, pair: Pair, number: int) -> None:
        if number:
            self._reported[pair] = number
        else:
            self._reported.pop(pair, None)

    def _note(self, pending: _Pending, row: Subscription, *, joined: bool) -> None:
        if row in pending.rows:  # it came and went, or went and came, since the last report
            del pending.rows[row]
        else:
            pending.rows[row] = joined

    def _count_up(self, pair: Pair, viewer: str, pending: _Pending) -> None:
        holders = self._holders.setdefault(pair, {})
        holders[viewer] = holders.get(viewer, 0) + 1
        if holders[viewer] == 1:
            pending.moved.add(pair)
            pending.first_view |= pair not in self._reported

    def _count_down(self, pair: Pair, viewer: str, pending: _Pending) -> None:
        holders = self._holders[pair]
        holders[viewer] -= 1
        if holders[viewer]:
            return
        del holders[viewer]
        pending.moved.add(pair)
        if not holders:
            del self._holders[pair]

    def _drop_row(self, source: str, viewer: str, pair: Pair) -> None:
        viewers = self._rows[source]
        viewers[viewer].discard(pair)
        if not viewers[viewer]:
            del viewers[viewer]
        if not viewers:
            del self._rows[source]
