"""From demand to jobs: a first view is checked at once, everything viewed again when it falls due."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from daemon.contracts import Clock, DemandChange, JobFinished, Lane, Outcome, Pair, StoreUnavailableError
from daemon.outage import Outage
from daemon.pulse import Pulse
from daemon.refresh.arrivals import Arrivals
from daemon.refresh.demand import DemandBook
from daemon.refresh.timers import DueTimers
from daemon.service import wait_for_any
from daemon.store.database import Database
from daemon.store.demand import DueTime, queue_stale_pairs, read_due_times

LONGEST_WAIT_SECONDS = 60.0
LOOK_AGAIN_SECONDS = 10.0
"""A pair whose open job belongs to somebody else is looked at again after this."""

RETRY_SECONDS = 0.5
JUST_DUE_SECONDS = 0.05
"""A pair that fell due between the check and the look at its due time is checked again after this; see below."""

LARGEST_CHECK = 1_000
"""Pairs in one call: the rest follows in the next."""


class StalenessChecker:
    """The service that asks the database which viewed pairs are due, exactly when that can have changed.

    Args:
        database: Where jobs are queued.
        book: The demand; this service is the one that changes it.
        clock: For timers and for due times of the database.
        enabled: Whether event-driven checks are on; without them the sweep alone queues.
        on_queued: Called when new jobs wait.
    """

    name = "staleness"

    def __init__(
        self,
        database: Database,
        book: DemandBook,
        clock: Clock,
        *,
        enabled: Callable[[], bool],
        on_queued: Callable[[], None],
    ) -> None:
        self._database = database
        self._book = book
        self._clock = clock
        self._enabled = enabled
        self._on_queued = on_queued
        self._timers = DueTimers()
        self._just_due: set[Pair] = set()
        self._wake = asyncio.Event()
        self.outage = Outage("staleness_check")
        self.pulse = Pulse(clock.monotonic)
        self.arrivals = Arrivals(clock)

    def note_demand(self, change: DemandChange) -> None:
        """Take in a change of demand; newly viewed pairs are checked at once."""
        for pair in self._book.apply(change):
            self._timers.set(pair, 0.0)  # before whatever else is due
            self.arrivals.began(pair)
        for pair, viewers in change.viewers.items():
            if viewers == 0:
                self._timers.drop(pair)
                self._just_due.discard(pair)
                self.arrivals.left(pair)
        self._wake.set()

    def note_finished(self, finished: JobFinished) -> None:
        """Take in the end of a job: a pair that is still viewed is looked at again when it is due."""
        if finished.pair in self._book:
            seconds = (finished.next_due_at - self._clock.now()).total_seconds()
            self._timers.set(finished.pair, self._clock.monotonic() + max(seconds, 0.0))
            self._wake.set()
            if finished.outcome is not Outcome.FAILED:
                self.arrivals.fresh(finished.pair)
        elif finished.lane is not Lane.SCHEDULED and finished.outcome is not Outcome.FAILED:
            self.arrivals.unseen(finished.pair)

    def check_all(self) -> None:
        """Look at every viewed pair: flags or the registry have changed."""
        now = self._clock.monotonic()
        for pair in self._book.pairs():
            self._timers.set(pair, now)
        self._wake.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Check what is due, then sleep until the next pair is."""
        while not stop.is_set():
            self.pulse.beat(LONGEST_WAIT_SECONDS)
            await wait_for_any(stop, self._wake, self._seconds_to_next())
            if not stop.is_set():
                await self._once()

    def _seconds_to_next(self) -> float:
        at = self._timers.next_at()
        if at is None:
            return LONGEST_WAIT_SECONDS
        return min(max(at - self._clock.monotonic(), 0.0), LONGEST_WAIT_SECONDS)

    async def _once(self) -> None:
        """Check what is due now, at most so much that a first view need not wait for long; the rest is still due."""
        due = self._timers.take_due(self._clock.monotonic(), LARGEST_CHECK)
        if not due:
            return
        try:
            await self._check(due)
        except StoreUnavailableError as error:
            self.outage.failed(error)
            self._look_again(due, RETRY_SECONDS)
        else:
            self.outage.passed()

    async def _check(self, pairs: list[Pair]) -> None:
        if not self._enabled():
            self._look_again(pairs, LONGEST_WAIT_SECONDS)
            return
        if await queue_stale_pairs(self._database, self._book.demands(pairs)):
            self._on_queued()
        known = {due.pair: due for due in await read_due_times(self._database, pairs)}
        now = self._clock.monotonic()
        for pair in pairs:
            seconds = self._seconds_to_look(pair, known.get(pair))
            if pair in self._book:
                self._timers.set(pair, now + seconds)

    def _seconds_to_look(self, pair: Pair, due: DueTime | None) -> float:
        """Return when to look again: a pair due without a job has just fallen due, or may not be queued for now."""
        if due is not None and not due.has_open_job and due.due_in_seconds > 0:
            self._just_due.discard(pair)
            self.arrivals.forget(pair)
            return due.due_in_seconds
        if due is None or due.has_open_job or pair in self._just_due:
            self._just_due.discard(pair)
            return LOOK_AGAIN_SECONDS
        self._just_due.add(pair)
        return JUST_DUE_SECONDS

    def _look_again(self, pairs: list[Pair], seconds: float) -> None:
        at = self._clock.monotonic() + seconds
        for pair in pairs:
            if pair in self._book:
                self._timers.set(pair, at)
