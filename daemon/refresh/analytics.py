"""Demand into the database: ``active_subscriptions_v2`` and the priorities of pending jobs, in batches of changes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from datetime import timedelta
from itertools import islice
from typing import TypeVar

from daemon.contracts import Clock, DemandChange, Pair, StoreUnavailableError, Subscription
from daemon.outage import Outage
from daemon.refresh.demand import DemandBook
from daemon.service import wait_or_stop
from daemon.store.database import Database
from daemon.store.demand import touch_subscriptions, update_job_demand, write_subscriptions

TOUCH_SECONDS = 60.0
REWRITE_SECONDS = 240.0
"""After so long without a touch, rows may have expired (they do after five minutes): all of them are written again."""

LARGEST_WRITE = 2_000
"""Rows in one statement: the next ones follow in the next."""

T = TypeVar("T")


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
        self._present: dict[str, set[Subscription]] = {}
        """By source, what the table should hold."""
        self._unwritten: dict[str, dict[Subscription, bool]] = {}
        """By source, what has changed since it was written: the last word on a subscription holds."""
        self._moved: set[Pair] = set()
        self._started_at = self._touched_at = clock.now()
        self._outage = Outage("subscriptions")

    def note_demand(self, change: DemandChange) -> None:
        """Take in a change."""
        present = self._present.setdefault(change.source, set())
        present.difference_update(change.left)
        present.update(change.joined)
        unwritten = self._unwritten.setdefault(change.source, {})
        unwritten.update(dict.fromkeys(change.left, False))
        unwritten.update(dict.fromkeys(change.joined, True))
        self._moved.update(change.viewers)

    async def run(self, stop: asyncio.Event) -> None:
        """Flush every ``flush_seconds``, and once more at the end."""
        self._started_at = self._touched_at = self._clock.now() - timedelta(seconds=1)
        while not await wait_or_stop(stop, self._flush_seconds):
            await self._once()
        await self._once()

    async def _once(self) -> None:
        try:
            await self._touch()
            await self._flush()
        except StoreUnavailableError as error:
            self._outage.failed(error)
        else:
            self._outage.passed()

    async def _flush(self) -> None:
        # Both are taken together: a pair counts as moved only once the rows behind it are written.
        unwritten, self._unwritten = self._unwritten, {}
        moved, self._moved = self._moved, set()
        try:
            for source, changes in unwritten.items():
                for chunk in _chunks(list(changes.items())):
                    await self._write(source, chunk)
                    for subscription, _ in chunk:
                        del changes[subscription]
            for pairs in _chunks(sorted(moved)):
                await update_job_demand(self._database, self._book.demands(pairs))
                moved.difference_update(pairs)
        except BaseException:
            self._moved |= moved
            for source, changes in unwritten.items():
                self._unwritten[source] = changes | self._unwritten.get(source, {})
            raise

    async def _write(self, source: str, changes: Sequence[tuple[Subscription, bool]]) -> None:
        joined = [subscription for subscription, present in changes if present]
        left = [subscription for subscription, present in changes if not present]
        await write_subscriptions(self._database, source, joined, left)

    async def _touch(self) -> None:
        now = self._clock.now()
        seconds = (now - self._touched_at).total_seconds()
        if seconds < TOUCH_SECONDS:
            return
        for source, present in self._present.items():
            if seconds > REWRITE_SECONDS:
                rewritten = dict.fromkeys(present, True)
                self._unwritten[source] = rewritten | self._unwritten.get(source, {})
                self._moved.update(subscription.pair for subscription in present)
            else:
                await touch_subscriptions(self._database, source, self._started_at)
        self._touched_at = now


def _chunks(items: Sequence[T]) -> Iterator[list[T]]:
    rest = iter(items)
    while chunk := list(islice(rest, LARGEST_WRITE)):
        yield chunk
