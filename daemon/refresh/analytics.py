"""Demand into the database: ``active_subscriptions_v2`` and the priorities of pending jobs, in batches of changes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from daemon.contracts import Clock, DemandChange, Pair, StoreUnavailableError, Subscription
from daemon.outage import Outage
from daemon.refresh.demand import DemandBook
from daemon.service import wait_or_stop
from daemon.store.database import Database
from daemon.store.demand import touch_subscriptions, update_job_demand, write_subscriptions

TOUCH_SECONDS = 60.0


class SubscriptionWriter:
    """The service that writes changes of demand, coalesced; an outage of the database loses none.

    Args:
        database: Where they are written.
        book: What the pairs are worth when they are written.
        clock: The database's time.
        flush_seconds: How long changes are collected.
    """

    name = "analytics"

    def __init__(self, database: Database, book: DemandBook, clock: Clock, *, flush_seconds: float) -> None:
        self._database = database
        self._book = book
        self._clock = clock
        self._flush_seconds = flush_seconds
        self._present: dict[str, dict[Subscription, bool]] = {}
        self._moved: set[Pair] = set()
        self._sources: set[str] = set()
        self._started_at = clock.now()
        self._touched_at = clock.monotonic()
        self._outage = Outage("subscriptions")

    def note_demand(self, change: DemandChange) -> None:
        """Take in a change; the last word on a subscription holds."""
        pending = self._present.setdefault(change.source, {})
        pending.update(dict.fromkeys(change.left, False))
        pending.update(dict.fromkeys(change.joined, True))
        self._moved.update(change.viewers)
        self._sources.add(change.source)

    async def run(self, stop: asyncio.Event) -> None:
        """Flush every ``flush_seconds``, and once more at the end."""
        self._started_at = self._clock.now()
        while not await wait_or_stop(stop, self._flush_seconds):
            await self._once()
        await self._once()

    async def _once(self) -> None:
        try:
            await self._flush()
            await self._touch()
        except StoreUnavailableError as error:
            self._outage.failed(error)
        else:
            self._outage.passed()

    async def _flush(self) -> None:
        for source in list(self._present):
            pending = self._present.pop(source)
            try:
                await write_subscriptions(self._database, source, _where(pending, True), _where(pending, False))
            except StoreUnavailableError:
                self._present[source] = pending | self._present.get(source, {})
                raise
        moved, self._moved = self._moved, set()
        if moved:
            try:
                await update_job_demand(self._database, self._book.demands(moved))
            except StoreUnavailableError:
                self._moved |= moved
                raise

    async def _touch(self) -> None:
        if self._clock.monotonic() - self._touched_at < TOUCH_SECONDS:
            return
        for source in sorted(self._sources):
            await touch_subscriptions(self._database, source, self._started_at)
        self._touched_at = self._clock.monotonic()


def _where(pending: dict[Subscription, bool], present: bool) -> Iterable[Subscription]:
    return (subscription for subscription, here in pending.items() if here is present)
