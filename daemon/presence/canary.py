"""A session's broadcast to itself: the only proof that messages still come through when nothing happens."""

from __future__ import annotations

import asyncio
import secrets
from typing import Any

import structlog
from realtime.types import RealtimeChannelOptions

from daemon.presence.channel import ChannelLife, Ending, Surroundings
from daemon.presence.frames import Frame
from daemon.service import wait_for_first, wait_or_stop

TOPIC_PREFIX = "refreshd:canary:"
"""On a topic of its own: in a lobby, every page would hear it."""

EVENT = "canary"
MAX_DETAIL_LENGTH = 256
OPTIONS: RealtimeChannelOptions = {
    "config": {
        "broadcast": {"ack": False, "self": True},
        "presence": {"key": "", "enabled": False},
        "private": True,
    }
}

log = structlog.get_logger()


class Canary:
    """Keeps a private topic of its own joined and sends to it; a broadcast that does not come back is a doubt.

    A server that refuses the topic is no doubt: it is logged once, and tried again.
    """

    def __init__(self, around: Surroundings) -> None:
        self.topic = f"{TOPIC_PREFIX}{secrets.token_hex(8)}"
        self._around = around
        self._backoff = around.new_backoff()
        self._life = ChannelLife(self.topic, OPTIONS, around)
        self._heard = asyncio.Event()
        self._song = ""
        self._failed = False

    async def keep(self, over: asyncio.Event) -> None:
        """Sing until ``over``."""
        while not over.is_set():
            ending = await self._once(over)
            if ending is not None:
                self._tell(ending)
                await wait_or_stop(over, self._backoff.next_delay())

    def take(self, frame: Frame, raw: bytes) -> None:
        """Take a frame of the topic."""
        if frame.event != "broadcast":
            self._life.take_control(frame, raw)
        elif isinstance(frame.payload, dict) and frame.payload.get("payload") == {"song": self._song}:
            self._heard.set()

    async def _once(self, over: asyncio.Event) -> Ending | None:
        """Sing as long as the channel lives; return why it ended, None where the session did."""
        self._life = ChannelLife(self.topic, OPTIONS, self._around)
        try:
            joined = await self._life.join()
            while joined and not over.is_set() and not self._life.settled.is_set():
                await self._sing(over)
            return None if over.is_set() else await self._life.ended()
        finally:
            await self._life.retire(leave=False)

    async def _sing(self, over: asyncio.Event) -> None:
        patience = self._around.patience
        self._song = secrets.token_hex(8)
        self._heard.clear()
        payload: dict[str, Any] = {"song": self._song}
        await self._life.broadcast(EVENT, payload)
        await wait_for_first(patience.canary_reply_seconds, over, self._heard, self._life.settled)
        if not (over.is_set() or self._heard.is_set() or self._life.settled.is_set()):
            self._around.doubt("canary_unanswered")
            return
        self._backoff.reset()
        await wait_for_first(patience.canary_seconds, over, self._life.settled)

    def _tell(self, ending: Ending) -> None:
        if not self._failed:
            self._failed = True
            hint = "the connection is watched by its heartbeats alone until it works"
            log.warning("canary_lost", cause=ending.cause, detail=ending.detail[:MAX_DETAIL_LENGTH], hint=hint)
