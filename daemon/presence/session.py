"""One disposable life of one Realtime connection.

It ends at the first doubt about the connection, with the cause in a word; somebody else opens the next one. A channel
that fails alone is no doubt: its membership joins again while the others live on.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import structlog
from realtime.types import RealtimeChannelOptions

from daemon.contracts import Clock
from daemon.presence.client import ConnectionFailedError, PresenceClient
from daemon.presence.frames import decode_frame
from daemon.presence.membership import Membership, Patience, Surroundings, Watcher
from daemon.presence.metadata import Drops
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
    """

    def __init__(
        self,
        *,
        url: str,
        key: str,
        topics: Sequence[str],
        presence_key: str,
        watcher: Watcher,
        clock: Clock,
        rng: random.Random,
        drops: Drops,
        patience: Patience,
    ) -> None:
        self._patience = patience
        self._drops = drops
        self._clock = clock
        self._client = PresenceClient(
            url, key, reply_seconds=patience.join_seconds, close_seconds=patience.close_seconds
        )
        around = Surroundings(self._client, watcher, patience, clock, rng, drops, asyncio.Lock(), self.end)
        self._memberships = {topic: Membership(topic, _options(presence_key), around) for topic in topics}
        self._over = asyncio.Event()
        self._cause: str | None = None
        self._opened = False
        self._opened_at: float | None = None

    @property
    def opened(self) -> bool:
        """Whether there has been a connection, of use or not."""
        return self._opened

    @property
    def age_seconds(self) -> float | None:
        """How long the connection has been open, or None where it is not."""
        return None if self._opened_at is None else self._clock.monotonic() - self._opened_at

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
            self._opened_at = self._clock.monotonic()
            async with asyncio.TaskGroup() as group:
                group.create_task(self._receive())
                group.create_task(self._beat())
                for membership in self._memberships.values():
                    group.create_task(membership.keep(self._over, self._weigh))
        except ConnectionFailedError as error:
            self.end(error.cause)
        finally:
            self._opened_at = None
            await self._client.shut()

    async def _receive(self) -> None:
        """Take in frames; silence for too long, or one that cannot be taken in, ends the session."""
        try:
            while not self._over.is_set():
                async with asyncio.timeout(self._patience.silence_seconds):
                    raw = await self._client.receive()
                await self._take(raw)
                await asyncio.sleep(0)  # frames that wait already come without a turn of the event loop
        except TimeoutError:
            self.end("silence")
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
        membership = self._memberships.get(frame.topic)
        if membership is not None:
            await membership.take(frame, raw)

    async def _beat(self) -> None:
        while not await wait_or_stop(self._over, self._patience.heartbeat_seconds):
            await self._client.beat()

    def _weigh(self) -> None:
        """Give the connection up where no channel lives on it and one has been retried enough."""
        memberships = self._memberships.values()
        if any(membership.confirmed for membership in memberships):
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
