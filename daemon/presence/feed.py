"""From presence of many topics to demand: mirrors in, roster in the middle, changes out."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from daemon.contracts import (
    Catalogue,
    Clock,
    DemandChange,
    DemandSink,
    KnownViewer,
    Pair,
    Standing,
    Subscription,
)
from daemon.presence.collection import building
from daemon.presence.metadata import USER_PREFIX, Drops, View, ViewerRules, read_meta
from daemon.presence.mirror import Change, Mirror
from daemon.presence.roster import Roster

LARGE_STATE = 1_000
"""Presences from which a state is worth holding the garbage collector off."""

DRAINED_AT_ONCE = 200
"""Viewers that leave between two turns of the event loop."""


@dataclass(slots=True)
class _Topic:
    shard: str
    mirror: Mirror
    standing: Standing
    state_size: int = 0
    """Presences in the last state, counted by key."""
    is_given_up: bool = False
    """Whether a silence has outlasted the grace: the viewers from before it go, whatever comes."""


class DemandFeed:
    """Tells the sink what changes: the first view of a pair at once, leaves when they are due, the rest coalesced.

    Args:
        catalogue: Decides which pairs may be asked for.
        sink: Takes the changes.
        clock: Time.
        roster: Who looks at what.
        coalesce_seconds: How long a change that is not urgent may wait for others.
        rules: Who counts as a viewer.
    """

    def __init__(
        self,
        *,
        catalogue: Catalogue,
        sink: DemandSink,
        clock: Clock,
        roster: Roster,
        coalesce_seconds: float,
        rules: ViewerRules,
    ) -> None:
        self.drops: Drops = Counter()
        self.sooner = asyncio.Event()
        """Set when ``seconds_left`` has become shorter."""
        self._catalogue = catalogue
        self._sink = sink
        self._clock = clock
        self._roster = roster
        self._coalesce_seconds = coalesce_seconds
        self._flush_at: float | None = None
        self._awaited: float | None = None
        """The deadline that whoever calls ``tick`` knows of."""
        self._read = partial(read_meta, catalogue=catalogue, drops=self.drops, rules=rules)
        self._rules = rules
        self._topics: dict[str, _Topic] = {}

    @property
    def largest_state(self) -> int:
        """Presences in the largest of the topics' last states, counted by key."""
        return max((topic.state_size for topic in self._topics.values()), default=0)

    def viewers_in(self, topic: str) -> int:
        """Return the number of distinct viewers in one topic."""
        return self._roster.viewers_in(topic)

    async def open(self, topic: str, shard: str, known: Sequence[KnownViewer] = ()) -> None:
        """Begin with a topic, as it is remembered: what no state confirms within the presence grace, goes.

        Pairs that may not be asked for any more are told as left.
        """
        mirror = Mirror(self._read, self.drops)
        standing = Standing.REMEMBERED if known else Standing.CONFIRMED
        opened = self._topics[topic] = _Topic(shard, mirror, standing)
        for change in mirror.remember(map(self._remembered, known)):
            self._roster.apply(topic, change.added, change.removed, self._clock.monotonic())
            await asyncio.sleep(0)
            if self._topics.get(topic) is not opened:
                return
        if known:
            age_seconds = min(viewer.seen_seconds_ago for viewer in known)
            self._roster.source_lost(topic, self._clock.monotonic() - age_seconds)
        left = [Subscription(each.viewer, pair) for each in known for pair in each.pairs - self._allowed(each.pairs)]
        self._tell(topic, forbidden=left)
        self._schedule()

    async def close(self, topic: str, *, handed_over: bool = False) -> None:
        """Make all viewers of a topic leave at once, in slices; their rows stay where the topic is ``handed_over``."""
        closed = self._topics[topic]
        closed.mirror.forget()
        if handed_over:
            closed.standing = Standing.HANDED_OVER
        await self._let_go(topic, closed)
        self._tell(topic)
        del self._topics[topic]
        self._schedule()

    async def take_state(self, topic: str, payload: dict[str, Any]) -> None:
        """Replace what is known of a topic, in slices between which the event loop turns."""
        taken = self._topics.get(topic)
        if taken is None:
            return
        taken.state_size = len(payload)
        if taken.is_given_up and not await self._let_go(topic, taken):
            return
        self._roster.source_confirmed(topic)  # first, or the topic might be given up between two slices
        if taken.standing is Standing.REMEMBERED:
            taken.standing = Standing.CONFIRMED
            self._sink(DemandChange(topic, {}, shard=taken.shard))
        with building() if len(payload) > LARGE_STATE else nullcontext():
            await self._apply(topic, taken, taken.mirror.apply_state(payload))

    async def _let_go(self, topic: str, taken: _Topic) -> bool:
        """Have all viewers of a topic leave, in slices; return whether the topic is still this one."""
        while not self._roster.drain(topic, DRAINED_AT_ONCE):
            self._tell(topic)
            await asyncio.sleep(0)
        taken.is_given_up = False
        return self._topics.get(topic) is taken

    async def take_diff(self, topic: str, payload: Any) -> None:
        """Apply a change to a topic."""
        taken = self._topics.get(topic)
        if taken is not None:
            await self._apply(topic, taken, taken.mirror.apply_diff(payload))

    def lost(self, topic: str) -> None:
        """Note that a topic is silent: what was known of it stands for a while."""
        lost = self._topics.get(topic)
        if lost is not None:
            lost.mirror.await_state()
            self._roster.source_lost(topic, self._clock.monotonic())
            self._schedule()

    def seconds_left(self) -> float | None:
        """Return how long it is until ``tick`` has something to do; None where that is not known."""
        self._awaited = self._deadline()
        return None if self._awaited is None else max(0.0, self._awaited - self._clock.monotonic())

    def tick(self) -> None:
        """Do what is due: leaves and lost topics whose time has passed, changes that have waited long enough."""
        now = self._clock.monotonic()
        deadline = self._roster.next_deadline()
        if deadline is not None and deadline <= now:
            for topic in self._roster.expire(now):
                self._topics[topic].mirror.forget()
                self._topics[topic].is_given_up = True
            self.flush()
        elif self._flush_at is not None and self._flush_at <= now:
            self.flush()

    def flush(self) -> None:
        """Tell the sink everything that has not been told."""
        self._flush_at = None
        for topic in self._roster.changed():
            self._tell(topic)

    async def _apply(self, topic: str, taken: _Topic, changes: Iterator[Change]) -> None:
        for change in changes:
            self._roster.apply(topic, change.added, change.removed, self._clock.monotonic())
            if self._roster.first_viewed(topic):
                self._tell(topic)
            self._schedule()
            await asyncio.sleep(0)
            if self._topics.get(topic) is not taken:  # closed meanwhile
                return

    def _remembered(self, known: KnownViewer) -> View:
        return View(known.viewer, tuple(sorted(self._allowed(known.pairs))), self._was_verified(known.viewer))

    def _was_verified(self, viewer: str) -> bool:
        """Whether a remembered viewer had a ticket: where they are required, nobody else is called a user."""
        return self._rules.ticket_required and viewer.startswith(USER_PREFIX)

    def _allowed(self, pairs: frozenset[Pair]) -> set[Pair]:
        return {pair for pair in pairs if self._catalogue.resolve(*pair) == pair}

    def _tell(self, topic: str, *, forbidden: Sequence[Subscription] = ()) -> None:
        told = self._topics[topic]
        change = self._roster.take_change(topic)
        if told.standing is Standing.HANDED_OVER:
            change = replace(change or DemandChange(topic, {}), joined=(), left=())
        elif forbidden:
            change = change or DemandChange(topic, {})
            change = replace(change, left=[*change.left, *forbidden])
        if change is not None:
            self._sink(replace(change, shard=told.shard, standing=told.standing))

    def _schedule(self) -> None:
        """See to it that what waits is told, and that leaves are seen in time."""
        if self._flush_at is None and self._roster.changed():
            self._flush_at = self._clock.monotonic() + self._coalesce_seconds
        deadline = self._deadline()
        if deadline is not None and (self._awaited is None or deadline < self._awaited):
            self._awaited = deadline
            self.sooner.set()

    def _deadline(self) -> float | None:
        return min((at for at in (self._flush_at, self._roster.next_deadline()) if at is not None), default=None)
