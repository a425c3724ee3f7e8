"""Endless sessions, one after the other, for the topics of one connection."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from daemon.contracts import Clock
from daemon.presence.channel import STABLE_SECONDS, Patience
from daemon.presence.feed import DemandFeed
from daemon.presence.journal import Journal
from daemon.presence.pacing import Backoff, Pacer, TokenBucket
from daemon.presence.service_key import seconds_until_expiry, warn_of_expiry
from daemon.presence.session import Session
from daemon.service import wait_for_any

LOOK_SECONDS = 60.0
RENEWED = frozenset({"renewed", "key_changed", "catalogue_changed"})
"""Ends of a session that nobody is to blame for."""

KEY_MARGIN_SECONDS = 300.0
"""A session ends so long before its key does: a fresh key is read for the next one."""

LIFETIME_JITTER = 0.2


@dataclass(frozen=True, slots=True)
class Line:
    """What all connections of a listener share."""

    url: str
    key: Callable[[], str]
    """Reads the service key, for every session anew."""
    presence_key: str
    feed: DemandFeed
    clock: Clock
    rng: random.Random
    patience: Patience
    pacer: Pacer
    session_seconds: float
    """How old a session may get, give or take a fifth."""


class Connection:
    """Keeps its topics joined, whatever happens to the socket.

    Args:
        number: Tells the connections of a listener apart.
        line: What is shared.
        bucket: Bounds how often the server is dialled.
        journal: Says what happens.
    """

    def __init__(self, number: int, line: Line, bucket: TokenBucket, journal: Journal) -> None:
        self.number = number
        self.journal = journal
        self.topics: dict[str, None] = {}
        self.confirmed: set[str] = set()
        """Topics whose last word is a state of the session that lives."""
        self._line = line
        self._bucket = bucket
        patience = line.patience
        self._backoff = Backoff(line.rng, patience.retry_low_seconds, patience.retry_high_seconds)
        self._retry_at = line.clock.monotonic()
        self._woken = asyncio.Event()
        self._session: Session | None = None
        self._session_key = ""
        self._unsettled: set[str] = set()
        """Topics of the session of which nothing has been heard yet, good or bad."""
        self._connected_at: float | None = None
        self._renewal: asyncio.TimerHandle | None = None
        """A renewal that waits for the bucket while the session lives on."""

    @property
    def age_seconds(self) -> float | None:
        """How long the connection has been open; None where it is not."""
        return self._session.age_seconds if self._session is not None else None

    def add(self, topic: str) -> None:
        """Join one more topic."""
        self.topics[topic] = None
        if self._session is not None:
            self._session.add(topic)
        self._woken.set()

    def drop(self, topic: str) -> None:
        """Leave a topic; without any, there is no connection."""
        self.topics.pop(topic, None)
        self.confirmed.discard(topic)
        self._unsettled.discard(topic)
        self.journal.channel_dropped(topic)
        if self._session is not None:
            self._session.drop(topic)
            if not self.topics:
                self._session.end("idle")

    def renew(self, cause: str) -> None:
        """Begin a new session, for a reason that is nobody's fault: only once the bucket allows one at once."""
        if self._session is None or self._renewal is not None:
            return
        seconds = self._bucket.wait_seconds(self._line.clock.monotonic())
        if seconds > 0:
            self._renewal = asyncio.get_running_loop().call_later(seconds, self._renew_again, cause)
        else:
            self._session.end(cause)

    def _renew_again(self, cause: str) -> None:
        self._renewal = None
        self.renew(cause)

    def renew_for(self, key: str) -> None:
        """Begin a new session where the one that lives was opened with another key."""
        if key != self._session_key:
            self.renew("key_changed")

    async def run(self, stop: asyncio.Event) -> None:
        """Be a member of the topics until ``stop``."""
        while not stop.is_set():
            await self._once(stop)

    async def _once(self, stop: asyncio.Event) -> None:
        """Wait for topics, or for the next attempt to be due, or live through one session."""
        if not self.topics:
            await wait_for_any(stop, self._woken, LOOK_SECONDS)
        elif (seconds := self._seconds_to_attempt()) > 0:
            await wait_for_any(stop, self._woken, seconds)
        else:
            await self._connect(stop)

    def _seconds_to_attempt(self) -> float:
        now = self._line.clock.monotonic()
        return max(self._retry_at - now, self._bucket.wait_seconds(now))

    async def _connect(self, stop: asyncio.Event) -> None:
        self._bucket.take(self._line.clock.monotonic())
        self._unsettled = set(self.topics)
        session = self._session = self._new_session()
        try:
            cause = await session.run(stop)
        finally:
            self._session = None
            if self._renewal is not None:
                self._renewal.cancel()
                self._renewal = None
            self.confirmed.clear()
            for topic in self.topics:
                self._line.feed.lost(topic)
        self._conclude(cause, opened=session.opened)

    def _new_session(self) -> Session:
        line = self._line
        self._session_key = line.key()
        return Session(
            url=line.url,
            key=self._session_key,
            topics=self.topics,
            presence_key=line.presence_key,
            watcher=self,
            clock=line.clock,
            rng=line.rng,
            drops=line.feed.drops,
            patience=line.patience,
            pacer=line.pacer,
            lifetime_seconds=self._lifetime_seconds(),
        )

    def _lifetime_seconds(self) -> float:
        """Return how old the next session may get: not as old as its key, unless there is no newer one."""
        seconds = self._line.session_seconds * (1 + self._line.rng.uniform(-LIFETIME_JITTER, LIFETIME_JITTER))
        left = seconds_until_expiry(self._session_key, self._line.clock.now()) - KEY_MARGIN_SECONDS
        return min(seconds, left) if left > 0 else seconds

    def _conclude(self, cause: str, *, opened: bool) -> None:
        """Decide when to try again, and say what happened."""
        now = self._line.clock.monotonic()
        connected_at, self._connected_at = self._connected_at, None
        if cause == "idle" and connected_at is not None:
            self.journal.left()
        if cause in {"stopped", "idle"}:
            return
        if connected_at is not None and now - connected_at >= STABLE_SECONDS:
            self._backoff.reset()
        if cause in RENEWED:
            self.journal.renewed(cause)
            return
        self._retry_at = now + self._backoff.next_delay()
        if opened:
            self.journal.disconnected(cause, was_of_use=connected_at is not None)
        else:
            self.journal.unreachable(cause)

    # --- what the session learns ---

    async def take_state(self, topic: str, payload: dict[str, Any]) -> None:
        """The full state of a topic."""
        await self._line.feed.take_state(topic, payload)
        if topic in self.topics:
            self.confirmed.add(topic)
            self.journal.channel_confirmed(topic)
            self._settle(topic)

    async def take_diff(self, topic: str, payload: Any) -> None:
        """What changed in a topic."""
        await self._line.feed.take_diff(topic, payload)

    def channel_lost(self, topic: str, cause: str, detail: str) -> None:
        """A topic alone failed."""
        self.confirmed.discard(topic)
        self._line.feed.lost(topic)
        self.journal.channel_lost(topic, cause, detail)
        self._settle(topic)

    def _settle(self, topic: str) -> None:
        """Say once per session that it is of use, when something has been heard of every topic."""
        self._unsettled.discard(topic)
        if not self._unsettled and self.confirmed and self._connected_at is None:
            self._connected_at = self._line.clock.monotonic()
            viewers = sum(self._line.feed.viewers_in(each) for each in self.topics)
            self.journal.connected(topics=len(self.confirmed), viewers=viewers)
            warn_of_expiry(self._session_key, self._line.clock.now())
