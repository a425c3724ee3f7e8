"""From presence of many topics to demand: mirrors in, roster in the middle, changes out."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from daemon.contracts import Catalogue, Clock, DemandSink
from daemon.presence.metadata import DEFAULT_RULES, Drops, ViewerRules, read_meta
from daemon.presence.mirror import Change, Mirror
from daemon.presence.roster import Roster


class DemandFeed:
    """Tells the sink what changes: the first view of a pair at once, leaves when they are due, the rest coalesced.

    Args:
        topics: The sources.
        catalogue: Decides which pairs may be asked for.
        sink: Takes the changes.
        clock: Time.
        roster: Who looks at what.
        coalesce_seconds: How long a change that is not urgent may wait for others.
        rules: Who counts as a viewer.
    """

    def __init__(
        self,
        topics: Sequence[str],
        *,
        catalogue: Catalogue,
        sink: DemandSink,
        clock: Clock,
        roster: Roster,
        coalesce_seconds: float,
        rules: ViewerRules = DEFAULT_RULES,
    ) -> None:
        self.drops: Drops = Counter()
        self.sooner = asyncio.Event()
        """Set when ``seconds_left`` has become shorter."""
        self._sink = sink
        self._clock = clock
        self._roster = roster
        self._coalesce_seconds = coalesce_seconds
        self._flush_at: float | None = None
        self._awaited: float | None = None
        """The deadline that whoever calls ``tick`` knows of."""
        read = partial(read_meta, catalogue=catalogue, drops=self.drops, rules=rules)
        self._mirrors = {topic: Mirror(read, self.drops) for topic in topics}

    def viewers_in(self, topic: str) -> int:
        """Return the number of distinct viewers in one topic."""
        return self._roster.viewers_in(topic)

    async def take_state(self, topic: str, payload: dict[str, Any]) -> None:
        """Replace what is known of a topic, in slices between which the event loop turns."""
        self._roster.source_confirmed(topic)  # first, or the topic might be given up between two slices
        await self._apply(topic, self._mirrors[topic].apply_state(payload))

    async def take_diff(self, topic: str, payload: Any) -> None:
        """Apply a change to a topic."""
        await self._apply(topic, self._mirrors[topic].apply_diff(payload))

    def lost(self, topic: str) -> None:
        """Note that a topic is silent: what was known of it stands for a while."""
        self._mirrors[topic].await_state()
        self._roster.source_lost(topic, self._clock.monotonic())
        self._schedule()

    def drain(self) -> None:
        """Have all viewers of all topics leave, at once."""
        for topic, mirror in self._mirrors.items():
            mirror.forget()
            self._roster.drain(topic)
        self.flush()

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
                self._mirrors[topic].forget()
            self.flush()
        elif self._flush_at is not None and self._flush_at <= now:
            self.flush()

    def flush(self) -> None:
        """Tell the sink everything that has not been told."""
        self._flush_at = None
        for topic in self._roster.changed():
            self._tell(topic)

    async def _apply(self, topic: str, changes: Iterator[Change]) -> None:
        for change in changes:
            self._roster.apply(topic, change.added, change.removed, self._clock.monotonic())
            if self._roster.first_viewed(topic):
                self._tell(topic)
            self._schedule()
            await asyncio.sleep(0)

    def _tell(self, topic: str) -> None:
        change = self._roster.take_change(topic)
        if change is not None:
            self._sink(change)

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
