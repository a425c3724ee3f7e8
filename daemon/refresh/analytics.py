"""Demand into the database: ``active_subscriptions_v2`` and the priorities of pending jobs, in batches of changes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeVar

import structlog

from daemon.contracts import Clock, DemandChange, Pair, Standing, StoreUnavailableError, Subscription
from daemon.outage import Outage
from daemon.pulse import Pulse
from daemon.refresh.demand import DemandBook
from daemon.service import wait_or_stop
from daemon.store.database import Database
from daemon.store.demand import report_subscriptions, touch_subscriptions, update_job_demand

TOUCH_SECONDS = 60.0
REWRITE_SECONDS = 240.0
"""After so long without a touch, rows may have expired (they do after five minutes): all of them are written again."""

LARGEST_WRITE = 2_000
"""Rows in one statement: the next ones follow in the next."""

T = TypeVar("T")

log = structlog.get_logger()


@dataclass(slots=True)
class _Source:
    shard: str
    rows: set[Subscription] = field(default_factory=set)
    """What the table should hold."""
    unwritten: dict[Subscription, bool] = field(default_factory=dict)
    """What has changed since it was written: the last word on a subscription holds."""
    confirmed: bool = False


class SubscriptionWriter:
    """The service that writes changes of demand, coalesced; an outage of the database loses none.

    Args:
        database: Where they are written.
        holder: This life of this daemon: what another listener has taken over is not written any more.
        book: What the pairs are worth when they are written.
        clock: The database's time.
        flush_seconds: How long changes are collected.
    """

    name = "analytics"

    def __init__(
        self, database: Database, holder: str, book: DemandBook, clock: Clock, *, flush_seconds: float
    ) -> None:
        self._database = database
        self._holder = holder
        self._book = book
        self._clock = clock
        self._flush_seconds = flush_seconds
        self._sources: dict[str, _Source] = {}
        self._unwritten: set[str] = set()
        self._untouched: set[str] = set()
        """Sources that have just been confirmed: their rows may be as old as the memory of them."""
        self._moved: set[Pair] = set()
        self._touched_at = clock.monotonic()
        self.outage = Outage("subscriptions")
        self.pulse = Pulse(clock.monotonic)

    def note_demand(self, change: DemandChange) -> None:
        """Take in a change."""
        self._moved.update(change.viewers)
        if change.standing is Standing.HANDED_OVER:
            self._forget(change.source)
            return
        source = self._sources.setdefault(change.source, _Source(change.shard))
        source.shard = change.shard
        source.rows.difference_update(change.left)
        source.rows.update(change.joined)
        source.unwritten.update(dict.fromkeys(change.left, False))
        if change.standing is Standing.CONFIRMED:
            source.unwritten.update(dict.fromkeys(change.joined, True))
            self._confirm(change.source, source)
        if source.unwritten:
            self._unwritten.add(change.source)

    async def run(self, stop: asyncio.Event) -> None:
        """Flush every ``flush_seconds``, and once more at the end."""
        self._touched_at = self._clock.monotonic()
        self.pulse.beat(self._flush_seconds)
        while not await wait_or_stop(stop, self._flush_seconds):
            await self._once()
            self.pulse.beat(self._flush_seconds)
        await self._once()

    def _confirm(self, name: str, source: _Source) -> None:
        if not source.confirmed:
            source.confirmed = True
            self._untouched.add(name)

    def _forget(self, name: str) -> None:
        self._sources.pop(name, None)
        self._unwritten.discard(name)
        self._untouched.discard(name)

    async def _once(self) -> None:
        try:
            await self._touch()
            await self._flush()
        except StoreUnavailableError as error:
            self.outage.failed(error)
        else:
            self.outage.passed()

    async def _flush(self) -> None:
        # Both are taken together: a pair counts as moved only once the rows behind it are written.
        moved, self._moved = self._moved, set()
        try:
            for name in list(self._unwritten):
                if (source := self._sources.get(name)) is not None:
                    await self._write(name, source)
            for pairs in _chunks(sorted(moved)):
                self.pulse.beat()
                await update_job_demand(self._database, self._book.demands(pairs))
                moved.difference_update(pairs)
        finally:
            self._moved |= moved

    async def _write(self, name: str, source: _Source) -> None:
        """Write what has changed in a source, and nothing of what changes meanwhile."""
        self._unwritten.discard(name)
        changes, source.unwritten = source.unwritten, {}
        try:
            for chunk in _chunks(list(changes.items())):
                self.pulse.beat()
                await self._report(name, source.shard, chunk)
                for subscription, _ in chunk:
                    del changes[subscription]
        finally:
            source.unwritten = changes | source.unwritten
            if source.unwritten and self._sources.get(name) is source:
                self._unwritten.add(name)

    async def _report(self, name: str, shard: str, changes: Sequence[tuple[Subscription, bool]]) -> None:
        joined = [subscription for subscription, present in changes if present]
        left = [subscription for subscription, present in changes if not present]
        if not await report_subscriptions(self._database, self._holder, shard, name, joined, left):
            log.debug("subscriptions_not_written", source=name, shard=shard, reason="the shard is another listener's")

    async def _touch(self) -> None:
        now = self._clock.monotonic()
        seconds = now - self._touched_at
        if seconds > REWRITE_SECONDS:
            self._rewrite_all()
        elif seconds >= TOUCH_SECONDS:
            await self._vouch_for(name for name, source in self._sources.items() if source.confirmed)
        else:
            await self._vouch_for(self._untouched)
            return
        self._touched_at = now

    async def _vouch_for(self, names: Iterable[str]) -> None:
        sources = {name: self._sources[name].shard for name in names}
        if sources:
            await touch_subscriptions(self._database, self._holder, [(shard, name) for name, shard in sources.items()])
            self._untouched.difference_update(sources)

    def _rewrite_all(self) -> None:
        for name, source in self._sources.items():
            if source.confirmed:
                source.unwritten = dict.fromkeys(source.rows, True) | source.unwritten
                self._unwritten.add(name)
                self._moved.update(subscription.pair for subscription in source.rows)


def _chunks(items: Sequence[T]) -> Iterator[list[T]]:
    rest = iter(items)
    while chunk := list(islice(rest, LARGEST_WRITE)):
        yield chunk
