"""One disposable life of one Realtime connection.

It ends at the first doubt about the connection, with the cause in a word; somebody else opens the next one. A channel
that fails alone is no doubt: its membership joins again while the others live on.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable

import structlog
from realtime.types import PHOENIX_CHANNEL, RealtimeChannelOptions

from daemon.contracts import Clock
from daemon.presence.canary import Canary
from daemon.presence.channel import Patience, Surroundings
from daemon.presence.client import ConnectionFailedError, PresenceClient
from daemon.presence.frames import decode_frame
from daemon.presence.membership import Membership, Watcher
from daemon.presence.metadata import Drops
from daemon.presence.pacing import Pacer
from daemon.service import wait_for_any, wait_or_stop

MAX_CONTROL_BYTES = 64 * 1024
"""Only presence frames may be larger."""

HOPELESS_FAILURES = 3
"""How often a channel is retried alone on a connection that carries no other."""

LOOK_SECONDS = 3600.0

log = structlog.get_logger()


class Session:
    """One connection with its topics, watched from outside.

    Args:
        url: Base URL of the project.
        key: The service key.
        topics: The private topics to be a member of, without ``realtime:``.
        presence_key: What the server calls this member; it never tracks anything.
        watcher: Takes what is learnt.
        clock: Time.
        rng: For jitter.
        drops: Grows by what is dropped, by reason.
        patience: How long to bear with the other side.
        pacer: Spaces the joins of all sessions.
        lifetime_seconds: After this the session ends by itself (``renewed``): the next one heals what drifted.
    """

    def __init__(
        self,
        *,
        url: str,
        key: str,
        topics: Iterable[str],
        presence_key: str,
        watcher: Watcher,
        clock: Clock,
        rng: random.Random,
        drops: Drops,
        patience: Patience,
        pacer: Pacer,
        lifetime_seconds: float = LOOK_SECONDS,
    ) -> None:
        self._patience = patience
        self._drops = drops
        self._clock = clock
        self._watcher = watcher
        self._lifetime_seconds = lifetime_seconds
        self._options = _options(presence_key)
        self._client = PresenceClient(
            url, key, reply_seconds=patience.join_seconds, close_seconds=patience.close_seconds
        )
        self._around = Surroundings(self._client, patience, clock, rng, drops, pacer, asyncio.Lock(), self.end)
        self._memberships: dict[str, Membership] = {}
        self._canary = Canary(self._around) if patience.canary_seconds else None
        self._group: asyncio.TaskGroup | None = None
        self._over = asyncio.Event()
        self._cause: str | None = None
        self._opened = False
        self._opened_at: float | None = None
        self._heard_at = self._answered_at = 0.0
        for topic in topics:
            self.add(topic)

    @property
    def opened(self) -> bool:
        """Whether there has been a connection, of use or not."""
        return self._opened

    @property
    def age_seconds(self) -> float | None:
        """How long the connection has been open, or None where it is not."""
        return None if self._opened_at is None else self._clock.monotonic() - self._opened_at

    def add(self, topic: str) -> None:
        """Join one more topic, now or as soon as there is a connection."""
        membership = self._memberships[topic] = Membership(topic, self._options, self._around, self._watcher)
        self._keep(membership)

    def drop(self, topic: str) -> None:
        """Leave a topic: nothing of it is told any more."""
        membership = self._memberships.pop(topic, None)
        if membership is not None:
            membership.leave()

    def end(self, cause: str) -> None:
        """Have the session end; the first cause counts."""
        if self._cause is None:
            self._cause = cause
        self._over.set()

    async def run(self, stop: asyncio.Event) -> str:
        """Open the connection and keep it until ``stop`` or a doubt; return the cause, ``stopped`` for ``stop``.

        The connection is closed and nothing is left running when this returns, raises or is cancelled.
        """
        async with asyncio.TaskGroup() as group:
            life = group.create_task(self._live())
            while self._cause is None:
                if await wait_for_any(stop, self._over, LOOK_SECONDS):
                    self.end("stopped")
            life.cancel()
        return self._cause

    async def _live(self) -> None:
        try:
            await self._client.open()
            self._opened = True
            self._opened_at = self._heard_at = self._answered_at = self._clock.monotonic()
            async with asyncio.TaskGroup() as group:
                self._group = group
                group.create_task(self._receive())
                group.create_task(self._beat())
                group.create_task(self._watch_answers())
                group.create_task(self._grow_old())
                for membership in self._memberships.values():
                    self._keep(membership)
                if self._canary is not None:  # after the topics that somebody waits for
                    group.create_task(self._canary.keep(self._over))
        except ConnectionFailedError as error:
            self.end(error.cause)
        finally:
            self._group = None
            self._opened_at = None
            await self._client.shut()

    def _keep(self, membership: Membership) -> None:
        if self._group is not None:
            self._group.create_task(membership.keep(self._over, self._weigh))

    async def _receive(self) -> None:
        """Take in frames; one that cannot be taken in ends the session."""
        try:
            while not self._over.is_set():
                raw = await self._client.receive()
                self._heard_at = self._clock.monotonic()
                await self._take(raw)
                await asyncio.sleep(0)  # frames that wait already come without a turn of the event loop
        except ConnectionFailedError as error:
            self.end(error.cause)
        except Exception:  # what was taken in is unknown now: the next session's state heals it
            log.exception("presence_frame_failed")
            self.end("frame_failed")

    async def _take(self, raw: bytes) -> None:
        frame = decode_frame(raw)
        if frame is None or (len(raw) > MAX_CONTROL_BYTES and not frame.event.startswith("presence_")):
            self._drops["malformed_frame"] += 1
            return
        if frame.topic == PHOENIX_CHANNEL:
            self._answered_at = self._heard_at
        elif self._canary is not None and frame.topic == self._canary.topic:
            self._canary.take(frame, raw)
        elif (membership := self._memberships.get(frame.topic)) is not None:
            await membership.take(frame, raw)

    async def _beat(self) -> None:
        while not await wait_or_stop(self._over, self._patience.heartbeat_seconds):
            await self._client.beat()

    async def _watch_answers(self) -> None:
        """End the session when heartbeats go unanswered, whether or not anything else comes in."""
        while (seconds := self._answered_at + self._patience.silence_seconds - self._clock.monotonic()) > 0:
            if await wait_or_stop(self._over, seconds):
                return
        self.end("heartbeat_unanswered" if self._heard_at > self._answered_at else "silence")

    async def _grow_old(self) -> None:
        if not await wait_or_stop(self._over, self._lifetime_seconds):
            self.end("renewed")

    def _weigh(self) -> None:
        """Give the connection up where no channel lives on it and one has been retried enough."""
        memberships = self._memberships.values()
        if not memberships or any(membership.confirmed for membership in memberships):
            return
        if all(membership.failures for membership in memberships) and any(
            membership.failures >= HOPELESS_FAILURES for membership in memberships
        ):
            self.end("channels_failed")


def _options(presence_key: str) -> RealtimeChannelOptions:
    """Return how to join: private, presence always asked for by name (servers differ in what absence means)."""
    return {
        "config": {
            "broadcast": {"ack": False, "self": False},
            "presence": {"key": presence_key, "enabled": True},
            "private": True,
        }
    }
