"""The service that is a member of the presence channels: endless sessions, one after the other, and their demand."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from daemon.contracts import Catalogue, Clock, DemandSink
from daemon.presence.feed import DemandFeed
from daemon.presence.journal import Journal
from daemon.presence.membership import STABLE_SECONDS, Patience
from daemon.presence.metadata import DEFAULT_RULES, ViewerRules
from daemon.presence.pacing import Backoff, TokenBucket
from daemon.presence.roster import Roster
from daemon.presence.session import Session
from daemon.service import wait_for_any

LOOK_SECONDS = 60.0
"""How late a flag that changed without a ``wake`` is seen."""


@dataclass(frozen=True, slots=True)
class TopicStatus:
    """One topic: its distinct viewers, and whether that is current or the last view of a topic that is silent."""

    viewers: int
    confirmed: bool


@dataclass(frozen=True, slots=True)
class PresenceStatus:
    """What health checks and the dashboard show."""

    enabled: bool
    connected: bool
    topics: Mapping[str, TopicStatus]
    session_age_seconds: float | None
    reconnects: Mapping[str, int]
    """By cause, how often a connection ended or could not be made."""
    drops: Mapping[str, int]
    """By reason, how many untrusted things were dropped."""


class PresenceListener:
    """Keeps the roster of who views what, and tells the sink what changes.

    While it is not enabled, no channel is joined and everybody has left. A connection that is down changes nothing for
    ``presence_grace_seconds``.

    Args:
        url: Base URL of the project (``https://ref.supabase.co``).
        key: The service key: a ``service_role`` JWT or an ``sb_secret_...`` key. Never logged.
        topics: The private topics to join, without ``realtime:``.
        catalogue: Decides which pairs may be asked for.
        sink: Takes the changes, without blocking and without raising.
        clock: Time.
        rng: For jitter.
        enabled: Whether to track presence now; asked after every ``wake``.
        leave_grace_seconds: How long a viewer who left still counts.
        presence_grace_seconds: How long the last view of a silent topic stands.
        coalesce_seconds: How long a change that is no first view waits for others.
        rules: Who counts as a viewer, and for how much.
        patience: How long a session bears with the other side.
        bucket: Bounds connections.
    """

    name = "presence"

    def __init__(
        self,
        *,
        url: str,
        key: str,
        topics: Sequence[str],
        catalogue: Catalogue,
        sink: DemandSink,
        clock: Clock,
        rng: random.Random,
        enabled: Callable[[], bool],
        leave_grace_seconds: float = 30.0,
        presence_grace_seconds: float = 300.0,
        coalesce_seconds: float = 1.0,
        rules: ViewerRules = DEFAULT_RULES,
        patience: Patience | None = None,
        bucket: TokenBucket | None = None,
    ) -> None:
        self._url = url
        self._key = key
        self._topics = tuple(topics)
        self._clock = clock
        self._rng = rng
        self._enabled = enabled
        self._patience = patience or Patience()
        self._bucket = bucket or TokenBucket()
        self._backoff = Backoff(rng, self._patience.retry_low_seconds, self._patience.retry_high_seconds)
        self._retry_at = clock.monotonic()
        self._presence_key = f"refreshd-{rng.getrandbits(32):08x}"
        self._journal = Journal(clock, url)
        roster = Roster(
            leave_grace_seconds=leave_grace_seconds,
            presence_grace_seconds=presence_grace_seconds,
            max_pairs=rules.max_pairs,
            full_weight_pairs=rules.full_weight_pairs,
            unverified_viewers=rules.unverified_viewers,
        )
        self._feed = DemandFeed(
            self._topics,
            catalogue=catalogue,
            sink=sink,
            clock=clock,
            roster=roster,
            coalesce_seconds=coalesce_seconds,
            rules=rules,
        )
        self._woken = asyncio.Event()
        self._session: Session | None = None
        self._unsettled: set[str] = set()
        """Topics of the session of which nothing has been heard yet, good or bad."""
        self._confirmed: set[str] = set()
        self._connected_at: float | None = None

    def wake(self) -> None:
        """Look at once whether presence is to be tracked."""
        self._woken.set()
        self._obey()

    def status(self) -> PresenceStatus:
        """Return how things are."""
        topics = {topic: TopicStatus(self._feed.viewers_in(topic), topic in self._confirmed) for topic in self._topics}
        return PresenceStatus(
            enabled=self._enabled(),
            connected=bool(self._confirmed),
            topics=topics,
            session_age_seconds=self._session.age_seconds if self._session else None,
            reconnects=self._journal.reconnects,
            drops=dict(self._feed.drops),
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Be a member of the channels until ``stop``; nothing leaves the roster because of it."""
        self._journal.check_key(self._key)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_connected(stop))
            group.create_task(self._keep_time(stop))
        self._feed.flush()

    async def _keep_connected(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            await self._once(stop)

    async def _keep_time(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            seconds_left = self._feed.seconds_left()
            await wait_for_any(stop, self._feed.sooner, LOOK_SECONDS if seconds_left is None else seconds_left)
            self._feed.tick()
            self._obey()

    async def _once(self, stop: asyncio.Event) -> None:
        """Wait for the flag, or for the next attempt to be due, or live through one session."""
        if not self._enabled():
            self._feed.drain()
            await wait_for_any(stop, self._woken, LOOK_SECONDS)
        elif (seconds := self._seconds_to_attempt()) > 0:
            await wait_for_any(stop, self._woken, seconds)
        else:
            await self._connect(stop)

    def _seconds_to_attempt(self) -> float:
        now = self._clock.monotonic()
        return max(self._retry_at - now, self._bucket.wait_seconds(now))

    async def _connect(self, stop: asyncio.Event) -> None:
        self._bucket.take(self._clock.monotonic())
        self._unsettled = set(self._topics)
        session = self._session = self._new_session()
        try:
            cause = await session.run(stop)
        finally:
            self._session = None
            self._confirmed.clear()
            for topic in self._topics:
                self._feed.lost(topic)
        self._conclude(cause, opened=session.opened)

    def _new_session(self) -> Session:
        return Session(
            url=self._url,
            key=self._key,
            topics=self._topics,
            presence_key=self._presence_key,
            watcher=self,
            clock=self._clock,
            rng=self._rng,
            drops=self._feed.drops,
            patience=self._patience,
        )

    def _conclude(self, cause: str, *, opened: bool) -> None:
        """Decide when to try again, and say what happened."""
        now = self._clock.monotonic()
        connected_at, self._connected_at = self._connected_at, None
        if cause == "disabled" and connected_at is not None:
            self._journal.left()
        if cause in {"stopped", "disabled"}:
            return
        if connected_at is not None and now - connected_at >= STABLE_SECONDS:
            self._backoff.reset()
        self._retry_at = now + self._backoff.next_delay()
        if opened:
            self._journal.disconnected(cause, was_of_use=connected_at is not None)
        else:
            self._journal.unreachable(cause)

    def _obey(self) -> None:
        if self._session is not None and not self._enabled():
            self._session.end("disabled")

    # --- what the session learns ---

    async def take_state(self, topic: str, payload: dict[str, Any]) -> None:
        """The full state of a topic."""
        await self._feed.take_state(topic, payload)
        self._confirmed.add(topic)
        self._journal.channel_confirmed(topic)
        self._settle(topic)

    async def take_diff(self, topic: str, payload: Any) -> None:
        """What changed in a topic."""
        await self._feed.take_diff(topic, payload)

    def channel_lost(self, topic: str, cause: str, detail: str) -> None:
        """A topic alone failed."""
        self._confirmed.discard(topic)
        self._feed.lost(topic)
        self._journal.channel_lost(topic, cause, detail)
        self._settle(topic)

    def _settle(self, topic: str) -> None:
        """Say once per session that it is of use, when something has been heard of every topic."""
        self._unsettled.discard(topic)
        if not self._unsettled and self._confirmed and self._connected_at is None:
            self._connected_at = self._clock.monotonic()
            viewers = sum(self._feed.viewers_in(each) for each in self._topics)
            self._journal.connected(topics=len(self._confirmed), viewers=viewers)
            self._journal.check_key(self._key)
