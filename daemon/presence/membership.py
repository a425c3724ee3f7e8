"""One topic on one connection: joined, watched, and joined again by itself when it alone fails."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from realtime.types import RealtimeChannelOptions

from daemon.presence.channel import STABLE_SECONDS, ChannelLife, Ending, Surroundings
from daemon.presence.frames import Frame
from daemon.service import wait_for_first, wait_or_stop


class Watcher(Protocol):
    """Takes what a session learns. Must not raise; a failure ends the session."""

    async def take_state(self, topic: str, payload: dict[str, Any]) -> None:
        """The full state of a topic."""

    async def take_diff(self, topic: str, payload: Any) -> None:
        """What changed in a topic."""

    def channel_lost(self, topic: str, cause: str, detail: str) -> None:
        """A topic alone failed; it will be joined again while the connection lives, and its next state comes first."""


class Membership:
    """Keeps one topic joined.

    Args:
        topic: Without ``realtime:``.
        options: How to join.
        around: What is shared with the other topics of the session.
        watcher: Takes what is learnt.
    """

    def __init__(self, topic: str, options: RealtimeChannelOptions, around: Surroundings, watcher: Watcher) -> None:
        self.topic = topic
        self.confirmed = False
        """Whether the channel is joined and its state has come."""
        self.failures = 0
        """In a row, without a state in between."""
        self._options = options
        self._around = around
        self._watcher = watcher
        self._backoff = around.new_backoff()
        self._life = ChannelLife(topic, options, around)
        self._left = asyncio.Event()

    def leave(self) -> None:
        """Have ``keep`` leave the channel and return."""
        self._left.set()
        self._life.end("left")

    async def keep(self, over: asyncio.Event, tried: Callable[[], None]) -> None:
        """Join, and join again after each failure, until ``over`` or ``leave``; ``tried`` is called after a failure."""
        while not (over.is_set() or self._left.is_set()):
            ending = await self._once()
            if self._left.is_set():
                return
            self.failures += 1
            self._watcher.channel_lost(self.topic, *ending)
            tried()
            await wait_for_first(self._backoff.next_delay(), over, self._left)

    async def take(self, frame: Frame, raw: bytes) -> None:
        """Take a frame of this topic."""
        match frame.event:
            case "presence_state" if self._life.is_joined:  # or a join that times out could overtake its own state
                await self._take_state(frame.payload)
            case "presence_state":
                self._around.drops["unexpected_event"] += 1
            case "presence_diff":
                await self._watcher.take_diff(self.topic, frame.payload)
            case _:
                self._life.take_control(frame, raw)

    async def _take_state(self, payload: Any) -> None:
        if not isinstance(payload, dict):
            self._around.drops["malformed_state"] += 1
            return
        self._life.settled.set()
        await self._watcher.take_state(self.topic, payload)
        self.confirmed = self._life.is_joined
        self.failures = 0

    async def _once(self) -> Ending:
        """Live one life of the channel; return why it ended."""
        self._life = ChannelLife(self.topic, self._options, self._around)
        try:
            if await self._life.join():
                await self._expect_state()
            joined_at = self._around.clock.monotonic()
            ending = await self._life.ended()
            if self._around.clock.monotonic() - joined_at >= STABLE_SECONDS:
                self._backoff.reset()
            return ending
        finally:
            self.confirmed = False
            await self._life.retire(leave=self._left.is_set())

    async def _expect_state(self) -> None:
        """Doubt the whole connection where a join succeeds and its state does not come."""
        if not await wait_or_stop(self._life.settled, self._around.patience.state_seconds):
            self._around.doubt("no_presence_state")
