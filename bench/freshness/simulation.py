"""One policy on one trace, with exact times: due pairs wait, budgets admit, answers come after a latency."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import pairwise
from typing import ClassVar

import numpy as np

from bench.freshness.budget import Budget
from bench.freshness.orders import MINUTE, Order
from bench.freshness.world import BANDS, SYMBOLS, TYPES, Floats
from daemon.refresh.demand import LONG_RUN_SECONDS
from daemon.refresh.policy import Lead
from daemon.refresh.prices import ADAPT_SECONDS, first_view_chance

EVERYBODY = SYMBOLS
"""The column of the global types, which all viewers look at."""

CONCURRENCY = 16
_AGE = 1e-12
"""Weighs a second of waiting: enough to decide between equals, too little for anything else."""

_TTL = np.array([kind.ttl_seconds for kind in TYPES])
_CALLS = [kind.calls for kind in TYPES]
_BYTES = [kind.size_bytes for kind in TYPES]
_GLOBAL = np.array([kind.is_global for kind in TYPES])
_OWN = [row for row, kind in enumerate(TYPES) if not kind.is_global]
_SHARED = [row for row, kind in enumerate(TYPES) if kind.is_global]


class _Kind(IntEnum):
    DUE = 0
    ANSWERED = 1
    LOOK = 2
    ADAPT = 3
    MINUTE = 4


@dataclass(frozen=True, slots=True)
class Report:
    """What a policy reached."""

    staleness: float
    """S: stale viewer-seconds / viewer-seconds."""
    by_type: dict[str, float]
    by_band: dict[str, float]
    wait_p50_seconds: float
    """Of viewers that found a pair stale: from the join to fresh."""
    wait_p99_seconds: float
    longest_wait_seconds: float
    never_fresh_share: float
    """Of all that viewers looked at."""
    wasted_share: float
    """Of the refreshes: nobody looked before the next one."""
    calls_share: float
    bytes_share: float
    stale_viewer_seconds: float
    viewer_seconds: float


@dataclass(slots=True)
class _Waiting:
    waits: list[float] = field(default_factory=list)
    never: int = 0
    looked: int = 0
    longest: float = 0.0
    open: dict[tuple[int, int], list[tuple[float, float]]] = field(default_factory=dict)


class Simulation:
    """Takes in joins and leaves in the order of time; see :mod:`bench.freshness.run` for who drives it.

    Args:
        order: The policy.
        budget: What may be spent.
        fresh_until: By (type, symbol), what the world begins with.
        usual_viewers: By symbol, how many look on average: what a daemon knows that has been running for a day.
        latency_seconds: From a call to its answer.
        batched: Whether one call can carry a hundred quotes.
        seconds: The end of the trace.
        seed: For the draw of first views.
    """

    def __init__(
        self,
        order: Order,
        budget: Budget,
        fresh_until: Floats,
        usual_viewers: Floats,
        *,
        latency_seconds: float,
        batched: bool,
        seconds: float,
        seed: int,
    ) -> None:
        shape = (len(TYPES), SYMBOLS + 1)
        self.now = 0.0
        self._order = order
        self._budget = budget
        self._latency = latency_seconds
        self._seconds = seconds
        self._chance = np.random.default_rng([seed, 4])
        self._sizes = [100 if batched and kind.name == "quote" else 1 for kind in TYPES]
        self._viewers = np.zeros(SYMBOLS + 1)
        self._fresh_until = np.full(shape, np.inf)
        self._fresh_until[_OWN, :SYMBOLS] = fresh_until[_OWN]
        self._fresh_until[_SHARED, EVERYBODY] = fresh_until[_SHARED, 0]
        self._first = np.isnan(self._fresh_until)
        self._fresh_until[self._first] = 0.0
        self._due_at = self._fresh_until.copy()
        self._since = np.full(shape, np.inf)
        """When a pair began to wait; infinite where it does not."""
        self._key = np.full(shape, -np.inf)
        self._best = np.full(len(TYPES), -np.inf)
        self._best_is_known = np.ones(len(TYPES), dtype=bool)
        self._asked = np.zeros(shape, dtype=bool)
        self._running = 0
        self._looked_at = np.zeros(SYMBOLS + 1)
        self._viewed = np.zeros(SYMBOLS + 1)
        self._stale = np.zeros(shape)
        self._viewed_before = np.full(shape, np.nan)
        self._refreshes = self._wasted = 0
        self._leads = [Lead() for _ in TYPES]
        self._first_views: list[tuple[float, int, int]] = []
        self._events: list[tuple[float, int, int, int]] = []
        self._batches: dict[int, list[int]] = {}
        """By a negative number that stands for them, the quotes in one call."""
        self._look_at = np.inf
        self._tagged = _Waiting()
        self._usual = None if order.usual is None else np.append(usual_viewers, usual_viewers.sum())
        self._usual_worth = np.zeros(len(TYPES))
        self._worth = self._priced()
        self._viewers_matter = not order.everything
        expires = (self._fresh_until > 0) | order.everything
        for row, column in zip(*np.nonzero(expires & np.isfinite(self._fresh_until)), strict=True):
            self._note_due(int(row), int(column))
        heapq.heappush(self._events, (ADAPT_SECONDS, _Kind.ADAPT, 0, 0))
        heapq.heappush(self._events, (0.0, _Kind.MINUTE, 0, 0))

    # --- the trace ---------------------------------------------------------------------------------------------------

    def advance(self, until: float) -> None:
        """Let everything happen that happens before ``until``."""
        events = self._events
        while events and events[0][0] < until:
            at, kind, row, column = heapq.heappop(events)
            self.now = at
            self._handlers[kind](self, row, column)
            self._work()
        self.now = until

    def move(self, symbol: int, change: int) -> None:
        """Somebody comes (1) or goes (-1)."""
        for column in (symbol, EVERYBODY):
            self._account(column)
            before = self._viewers[column]
            self._viewers[column] = before + change
            if self._viewers_matter:
                self._follow(column, came=change > 0)
        self._work()

    def replace(self, viewers: Floats) -> None:
        """Everybody's number may be another one from now on."""
        self._account(slice(None))
        self._viewers[:SYMBOLS] = viewers
        self._viewers[EVERYBODY] = viewers.sum()
        if self._viewers_matter and not self._order.every_minute:
            waits = np.isfinite(self._since)
            self._since[waits & (self._viewers == 0)[None, :]] = np.inf
            new = (self._due_at <= self.now) & (self._viewers > 0)[None, :] & ~np.isfinite(self._since) & ~self._asked
            new[_GLOBAL, :SYMBOLS] = False
            self._since[new] = self.now
            for row, column in zip(*np.nonzero(new & self._first), strict=True):
                heapq.heappush(self._first_views, (self.now, int(row), int(column)))
            self._rank_all()
        self._work()

    def tag(self, symbol: int, end: float) -> None:
        """Follow what one viewer sees who has just come."""
        for rows, column in ((_OWN, symbol), (_SHARED, EVERYBODY)):
            for row in rows:
                self._tagged.looked += 1
                if self._fresh_until[row, column] <= self.now:
                    self._tagged.open.setdefault((int(row), column), []).append((self.now, end))

    def report(self) -> Report:
        """Close the books."""
        self._account(slice(None))
        for waiting in self._tagged.open.values():
            for since, end in waiting:
                self._tagged.longest = max(self._tagged.longest, min(end, self._seconds) - since)
                self._tagged.never += end <= self._seconds
        refreshed = ~np.isnan(self._viewed_before)
        unseen = refreshed & (self._viewed[None, :] <= self._viewed_before)
        self._wasted += int(unseen.sum())
        own = self._stale[:, :SYMBOLS]
        viewed = float(self._viewed[:SYMBOLS].sum())
        edges = (0, *BANDS)
        waits = np.array(self._tagged.waits or [0.0])
        allowance = self._budget.allowance
        total = viewed * len(TYPES)
        return Report(
            staleness=float(self._stale.sum()) / total,
            by_type={kind.name: float(self._stale[row].sum()) / viewed for row, kind in enumerate(TYPES)},
            by_band={
                f"{first + 1}-{last}": float(own[:, first:last].sum())
                / max(float(self._viewed[first:last].sum()) * len(_OWN), 1e-9)
                for first, last in pairwise(edges)
            },
            wait_p50_seconds=float(np.quantile(waits, 0.5)),
            wait_p99_seconds=float(np.quantile(waits, 0.99)),
            longest_wait_seconds=self._tagged.longest,
            never_fresh_share=self._tagged.never / max(self._tagged.looked, 1),
            wasted_share=self._wasted / max(self._refreshes, 1),
            calls_share=self._budget.calls / (allowance.calls_per_minute * self._seconds / 60),
            bytes_share=self._budget.bytes / (allowance.bytes_per_30_days * self._seconds / 2_592_000),
            stale_viewer_seconds=float(self._stale.sum()),
            viewer_seconds=total,
        )

    # --- what happens ------------------------------------------------------------------------------------------------

    def _fall_due(self, row: int, column: int) -> None:
        if self._due_at[row, column] == self.now and not self._asked[row, column] and not self._order.every_minute:
            self._queue(row, column)

    def _answered(self, row: int, column: int) -> None:
        """One answer; ``column`` is what was asked."""
        members = [column] if column >= 0 else self._batches.pop(column)
        for member in members:
            self._account(member)
            self._refreshed(row, member)
        self._running -= 1
        self._leads[row].measure(self._latency)

    def _refreshed(self, row: int, column: int) -> None:
        if self._viewed_before[row, column] == self._viewed[column]:
            self._wasted += 1
        self._refreshes += 1
        self._viewed_before[row, column] = self._viewed[column]
        self._asked[row, column] = self._first[row, column] = False
        self._fresh_until[row, column] = self.now - self._latency + _TTL[row]
        lead = min(self._leads[row].seconds, _TTL[row] / 4) if self._order.before_expiry else 0.0
        self._due_at[row, column] = self._fresh_until[row, column] - lead
        self._note_due(row, column)
        for since, end in self._tagged.open.pop((row, column), ()):
            waited = min(end, self.now) - since
            self._tagged.longest = max(self._tagged.longest, waited)
            if end > self.now:
                self._tagged.waits.append(waited)
            else:
                self._tagged.never += 1

    def _adapt(self, _row: int, _column: int) -> None:
        self._budget.adapt(self.now)
        self._worth = self._priced()
        self._rank_all()
        heapq.heappush(self._events, (self.now + ADAPT_SECONDS, _Kind.ADAPT, 0, 0))

    def _minute(self, _row: int, _column: int) -> None:
        if self._order.every_minute:
            waits = (self._fresh_until <= self.now) & (self._viewers > 0)[None, :] & ~self._asked
            self._since = np.where(waits, np.minimum(self._since, self.now), np.inf)
            self._rank_all()
        heapq.heappush(self._events, (self.now + MINUTE, _Kind.MINUTE, 0, 0))

    def _look(self, _row: int, _column: int) -> None:
        self._look_at = np.inf

    # --- the queue ---------------------------------------------------------------------------------------------------

    def _note_due(self, row: int, column: int) -> None:
        if self._due_at[row, column] < self._seconds and not self._order.every_minute:
            heapq.heappush(self._events, (float(self._due_at[row, column]), _Kind.DUE, row, column))

    def _queue(self, row: int, column: int) -> None:
        if self._viewers_matter and self._viewers[column] == 0:
            return
        self._since[row, column] = self.now
        if self._first[row, column]:
            heapq.heappush(self._first_views, (self.now, row, column))
        self._rank(row, column)

    def _follow(self, column: int, *, came: bool) -> None:
        """Let what waits follow its viewers; the first one queues what is due."""
        if self._order.every_minute:
            return
        for row in _SHARED if column == EVERYBODY else _OWN:
            if self._since[row, column] != np.inf:
                if self._viewers[column] == 0:
                    self._since[row, column] = np.inf
                self._rank(row, column)
            elif came and self._due_at[row, column] <= self.now and not self._asked[row, column]:
                self._queue(int(row), column)

    def _rank(self, row: int, column: int) -> None:
        since = self._since[row, column]
        old = self._key[row, column]
        if since == np.inf:
            key = -np.inf
        else:
            viewers = self._viewers[column] if self._viewers_matter else 1.0
            worth = self._worth[row] * viewers
            if self._usual is not None:
                worth += self._usual_worth[row] * self._usual[column]
            key = worth * (1 + _AGE * (self._seconds - since))
        self._key[row, column] = key
        if key >= self._best[row]:
            self._best[row] = key
        elif old == self._best[row]:
            self._best_is_known[row] = False

    def _rank_all(self) -> None:
        viewers = self._viewers if self._viewers_matter else np.ones(SYMBOLS + 1)
        waits = np.isfinite(self._since)
        age = np.where(waits, self._seconds - self._since, 0.0)
        worth = self._worth[:, None] * viewers[None, :]
        if self._usual is not None:
            worth += self._usual_worth[:, None] * self._usual[None, :]
        self._key = np.where(waits, worth * (1 + _AGE * age), -np.inf)
        self._best = self._key.max(axis=1)
        self._best_is_known[:] = True

    def _priced(self) -> Floats:
        shares = 1.0 / np.array(self._sizes, dtype=np.float64)
        self._costs = [
            self._budget.prices.cost(self._budget.allowance, kind.calls * share, kind.size_bytes)
            for kind, share in zip(TYPES, shares, strict=True)
        ]
        if self._order.usual is not None:
            self._usual_worth = self._order.usual(np.array(self._costs))
        return self._order.worth(np.array(self._costs))

    def _pick(self) -> tuple[int, int] | None:
        """Return what goes next."""
        best = self._pick_best()
        first = self._oldest_first_view() if self._order.lane else None
        if best is None or first is None:
            return best
        chance = first_view_chance(self._costs[first[0]], self._costs[best[0]])
        return first if self._chance.random() < chance else best

    def _oldest_first_view(self) -> tuple[int, int] | None:
        while self._first_views:
            since, row, column = self._first_views[0]
            if self._since[row, column] == since and self._first[row, column]:
                return row, column
            heapq.heappop(self._first_views)
        return None

    def _pick_best(self) -> tuple[int, int] | None:
        for row in np.flatnonzero(~self._best_is_known):
            self._best[row] = self._key[row].max()
            self._best_is_known[row] = True
        best = int(self._best.argmax())
        if self._best[best] == -np.inf:
            return None
        return best, int(self._key[best].argmax())

    def _work(self) -> None:
        """Ask for what goes next, as long as slots and budgets allow."""
        if self._look_at < np.inf:
            return
        while self._running < CONCURRENCY and (picked := self._pick()) is not None:
            row, column = picked
            calls = _CALLS[row]
            if self._budget.calls_left(self.now) < calls or not self._budget.may_spend_bytes(self.now):
                self._look_at = self._budget.next_at(self.now, calls)
                heapq.heappush(self._events, (self._look_at, _Kind.LOOK, 0, 0))
                return
            members = self._members(row, column)
            self._budget.spend(self.now, calls, _BYTES[row] * len(members))
            for member in members:
                self._asked[row, member] = True
                self._since[row, member] = np.inf
                self._rank(row, member)
            self._running += 1
            self._ask(row, members)

    def _members(self, row: int, column: int) -> list[int]:
        if self._sizes[row] == 1:
            return [column]
        waiting = np.flatnonzero(self._key[row] > -np.inf)
        best = waiting[np.argsort(-self._key[row, waiting])][: self._sizes[row]]
        room = self._budget.bytes_paced(self.now) / _BYTES[row]
        members = [column, *(int(member) for member in best if member != column)]
        return members[: max(1, int(min(room, self._sizes[row])))]

    def _ask(self, row: int, members: list[int]) -> None:
        if len(members) == 1:
            heapq.heappush(self._events, (self.now + self._latency, _Kind.ANSWERED, row, members[0]))
            return
        name = -1 - self._budget.calls
        self._batches[name] = members
        heapq.heappush(self._events, (self.now + self._latency, _Kind.ANSWERED, row, name))

    # --- the books ---------------------------------------------------------------------------------------------------

    def _account(self, column: int | slice) -> None:
        """Bring the viewer-seconds of a column up to now."""
        last = self._looked_at[column]
        seconds = self.now - last
        viewers = self._viewers[column]
        self._viewed[column] += viewers * seconds
        if self._usual is not None:
            kept = np.exp(-seconds / LONG_RUN_SECONDS)
            self._usual[column] = viewers + (self._usual[column] - viewers) * kept
        stale = np.clip(self.now - np.maximum(last, self._fresh_until[:, column]), 0.0, None)
        self._stale[:, column] += viewers * stale
        self._looked_at[column] = self.now

    _handlers: ClassVar[dict[int, Callable[[Simulation, int, int], None]]] = {
        _Kind.DUE: _fall_due,
        _Kind.ANSWERED: _answered,
        _Kind.LOOK: _look,
        _Kind.ADAPT: _adapt,
        _Kind.MINUTE: _minute,
    }
