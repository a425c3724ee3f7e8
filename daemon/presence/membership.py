"""One topic on one connection: joined, watched, and joined again by itself when it alone fails."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from realtime import NotConnectedError, RealtimeSubscribeStates
from realtime.types import RealtimeChannelOptions

from daemon.contracts import Clock
from daemon.presence.client import PresenceChannel, PresenceClient, handle_control
from daemon.presence.frames import Frame
from daemon.presence.metadata import Drops
from daemon.presence.pacing import Backoff
from daemon.service import wait_or_stop

STABLE_SECONDS = 60.0
"""What lived this long has recovered: the next failure is a first one."""

CAUSES = {
    RealtimeSubscribeStates.CHANNEL_ERROR: "channel_error",
    RealtimeSubscribeStates.CLOSED: "channel_closed",
    RealtimeSubscribeStates.TIMED_OUT: "join_timeout",
}


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a session bears with the other side, in seconds."""

    heartbeat_seconds: float = 10.0
    silence_seconds: float = 25.0
    """Without any frame, heartbeat replies included, the connection is in doubt."""
    join_seconds: float = 10.0
    state_seconds: float = 10.0
    """From the join's reply to ``presence_state``; beyond it, the connection is in doubt."""
    close_seconds: float = 1.0
    retry_low_seconds: float = 1.0
    retry_high_seconds: float = 30.0


class Watcher(Protocol):
    """Takes what a session learns. Must not raise; a failure ends the session."""

    async def take_state(self, topic: str, payload: dict[str, Any]) -> None:
        """The full state of a topic."""

    async def take_diff(self, topic: str, payload: Any) -> None:
        """What changed in a topic."""

    def channel_lost(self, topic: str, cause: str, detail: str) -> None:
        """A topic alone failed; it will be joined again while the connection lives, and its next state comes first."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all memberships of a session share."""

    client: PresenceClient
    watcher: Watcher
    patience: Patience
    clock: Clock
    rng: random.Random
    drops: Drops
    turn: asyncio.Lock
    """Held while a join waits for its reply: the server serves them one after the other, heartbeats included."""
    doubt: Callable[[str], None]
    """Ends the session."""


class Membership:
    """Keeps one topic joined.

    Args:
        topic: Without ``realtime:``.
        options: How to join.
        surroundings: What is shared with the other topics of the session.
    """

    def __init__(self, topic: str, options: RealtimeChannelOptions, surroundings: Surroundings) -> None:
        self.topic = topic
        self.confirmed = False
        """Whether the channel is joined and its state has come."""
        self.failures = 0
        """In a row, without a state in between."""
        self._options = options
        self._around = surroundings
        patience = surroundings.patience
        self._backoff = Backoff(surroundings.rng, patience.retry_low_seconds, patience.retry_high_seconds)
        self._channel: PresenceChannel | None = None
        self._ended: asyncio.Future[tuple[str, str]] = asyncio.get_running_loop().create_future()
        self._settled = asyncio.Event()
        """The state has come, or the channel has ended."""

    async def keep(self, over: asyncio.Event, tried: Callable[[], None]) -> None:
        """Join, and join again after each failure, until ``over``; ``tried`` is called after each failure."""
        while not over.is_set():
            cause, detail = await self._once()
            self.failures += 1
            self._around.watcher.channel_lost(self.topic, cause, detail)
            tried()
            await wait_or_stop(over, self._backoff.next_delay())

    async def take(self, frame: Frame, raw: bytes) -> None:
        """Take a frame of this topic."""
        channel = self._channel
        if channel is None:
            return
        match frame.event:
            case "presence_state" if channel.is_joined:  # or a join that times out could overtake its own state
                await self._take_state(frame.payload)
            case "presence_diff":
                await self._around.watcher.take_diff(self.topic, frame.payload)
            case "phx_close" | "phx_error" if not channel.concerns(frame):
                self._around.drops["stale_close"] += 1
            case "phx_reply" | "phx_close" | "phx_error" | "system":
                if not handle_control(channel, raw):
                    self._around.drops["malformed_frame"] += 1
            case _:
                self._around.drops["unexpected_event"] += 1

    async def _take_state(self, payload: Any) -> None:
        if not isinstance(payload, dict):
            self._around.drops["malformed_state"] += 1
            return
        self._settled.set()
        await self._around.watcher.take_state(self.topic, payload)
        self.confirmed = True
        self.failures = 0

    async def _once(self) -> tuple[str, str]:
        """Live one life of the channel; return why it ended, as a word and in the server's words."""
        self._ended = asyncio.get_running_loop().create_future()
        self._settled.clear()
        try:
            async with self._around.turn:
                await self._join()
            joined_at = self._around.clock.monotonic()
            await self._expect_state()
            ending = await self._ended
            if self._around.clock.monotonic() - joined_at >= STABLE_SECONDS:
                self._backoff.reset()
            return ending
        finally:
            self.confirmed = False
            await self._retire()

    async def _join(self) -> None:
        """Join with a fresh channel and wait for the reply; a channel that fails or is late has ended."""
        self._channel = self._around.client.open_channel(self.topic, self._options)
        try:
            async with asyncio.timeout(self._around.patience.join_seconds):
                await self._channel.subscribe(self._note)
        except TimeoutError:
            self._end("join_timeout", "")
        except NotConnectedError:
            self._end("not_connected", "")

    async def _expect_state(self) -> None:
        """Doubt the whole connection where a join succeeds and its state does not come."""
        if not await wait_or_stop(self._settled, self._around.patience.state_seconds):
            self._around.doubt("no_presence_state")

    async def _retire(self) -> None:
        channel, self._channel = self._channel, None
        if channel is not None:
            await self._around.client.discard(channel)

    def _note(self, state: RealtimeSubscribeStates, error: Exception | None) -> None:
        if state is not RealtimeSubscribeStates.SUBSCRIBED:
            self._end(CAUSES[state], str(error or ""))

    def _end(self, cause: str, detail: str) -> None:
        self._settled.set()
        if not self._ended.done():
            self._ended.set_result((cause, detail))
