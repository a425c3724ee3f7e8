"""One life of one channel: joined once, watched, and thrown away at its end."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from realtime import NotConnectedError, RealtimeSubscribeStates
from realtime.types import RealtimeChannelOptions

from daemon.contracts import Clock
from daemon.presence.client import PresenceChannel, PresenceClient, handle_control
from daemon.presence.frames import Frame
from daemon.presence.metadata import Drops
from daemon.presence.pacing import Backoff, Pacer

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
    """Without any frame, or without an answer to a heartbeat, the connection is in doubt."""
    join_seconds: float = 10.0
    state_seconds: float = 10.0
    """From the join's reply to ``presence_state``; beyond it, the connection is in doubt."""
    canary_seconds: float = 20.0
    """Between two broadcasts of a session to itself; 0 for none."""
    canary_reply_seconds: float = 10.0
    """For its own broadcast to come back; beyond it, the connection is in doubt."""
    close_seconds: float = 1.0
    retry_low_seconds: float = 1.0
    retry_high_seconds: float = 30.0


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all channels of a session share."""

    client: PresenceClient
    patience: Patience
    clock: Clock
    rng: random.Random
    drops: Drops
    pacer: Pacer
    """Spaces the joins of all sessions."""
    turn: asyncio.Lock
    """Held while a join waits for its reply: the server serves them one after the other, heartbeats included."""
    doubt: Callable[[str], None]
    """Ends the session."""

    def new_backoff(self) -> Backoff:
        """Return the pace at which one channel is joined again."""
        return Backoff(self.rng, self.patience.retry_low_seconds, self.patience.retry_high_seconds)


class Ending(NamedTuple):
    """Why a channel ended: a word fit for a metric, and the server's own words."""

    cause: str
    detail: str


class ChannelLife:
    """One join of one topic, until the channel ends.

    Args:
        topic: Without ``realtime:``.
        options: How to join.
        around: What is shared with the other channels of the session.
    """

    def __init__(self, topic: str, options: RealtimeChannelOptions, around: Surroundings) -> None:
        self._topic = topic
        self._options = options
        self._around = around
        self._channel: PresenceChannel | None = None
        self._ended: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()
        self.settled = asyncio.Event()
        """It has ended, or what it was joined for has come (which whoever joined it says)."""

    @property
    def is_joined(self) -> bool:
        """Whether the server has said yes and the channel has not ended since."""
        return self._channel is not None and self._channel.is_joined and not self._ended.done()

    async def join(self) -> bool:
        """Join when it is our turn; return whether it worked. A join that fails or is late has ended."""
        async with self._around.turn:
            await self._around.pacer.turn()
            if self._ended.done():
                return False
            self._channel = self._around.client.open_channel(self._topic, self._options)
            try:
                async with asyncio.timeout(self._around.patience.join_seconds):
                    await self._channel.subscribe(self._note)
            except TimeoutError:
                self.end("join_timeout")
            except NotConnectedError:
                self.end("not_connected")
        return self.is_joined

    async def ended(self) -> Ending:
        """Wait for the end, and return why."""
        return await asyncio.shield(self._ended)

    def end(self, cause: str, detail: str = "") -> None:
        """Have it end; the first cause counts."""
        if not self._ended.done():
            self._ended.set_result(Ending(cause, detail))
        self.settled.set()

    async def broadcast(self, event: str, payload: dict[str, object]) -> None:
        """Send to all members of the channel."""
        if self._channel is not None:
            await self._channel.send_broadcast(event, payload)

    def take_control(self, frame: Frame, raw: bytes) -> None:
        """Take a reply, close, error or system frame; whatever else it is, is counted."""
        match frame.event:
            case _ if self._channel is None:
                return
            case "phx_close" | "phx_error" if not self._channel.concerns(frame):
                self._around.drops["stale_close"] += 1
            case "phx_reply" | "phx_close" | "phx_error" | "system":
                if not handle_control(self._channel, raw):
                    self._around.drops["malformed_frame"] += 1
            case _:
                self._around.drops["unexpected_event"] += 1

    async def retire(self, *, leave: bool) -> None:
        """Wait for the end of what the library runs for it; tell the server first where it is to ``leave``."""
        channel, self._channel = self._channel, None
        if channel is None:
            return
        if leave:
            await self._around.client.leave(channel)
        await self._around.client.discard(channel)

    def _note(self, state: RealtimeSubscribeStates, error: Exception | None) -> None:
        if state is not RealtimeSubscribeStates.SUBSCRIBED:
            self.end(CAUSES[state], str(error or ""))
