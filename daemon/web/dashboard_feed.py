"""One stream of server-sent events for all watchers: what is new is encoded once, and whoever is behind skips ahead."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import orjson

KEEP_ALIVE = b": still here\n\n"
KEEP_ALIVE_SECONDS = 15.0


class Feed:
    """The latest frame, the history, and those who wait for the next.

    Args:
        max_watchers: How many may watch at the same time.
        keep_alive_seconds: After so long without anything new, watchers are told that there is nothing.
    """

    def __init__(self, *, max_watchers: int, keep_alive_seconds: float = KEEP_ALIVE_SECONDS) -> None:
        self._max_watchers = max_watchers
        self._keep_alive_seconds = keep_alive_seconds
        self._next = asyncio.Event()
        self._version = 0
        self._life = 0
        """Grows when everybody is sent away."""
        self._frame = b""
        self._history = b""
        self.arrived = asyncio.Event()
        """Set when somebody comes to watch whom nothing can be told yet."""
        self.watched = asyncio.Event()
        """Set while somebody watches."""
        self.watchers = 0

    @property
    def has_room(self) -> bool:
        """Whether one more may watch."""
        return self.watchers < self._max_watchers

    def publish(self, frame: Mapping[str, Any], history: Mapping[str, Any] | None = None) -> None:
        """Tell everybody.

        Args:
            frame: How things are now; as JSON.
            history: How they were, for those who come later, or who have missed a frame; None where that is as before.
        """
        self._frame = encode_event("look", frame)
        if history is not None:
            self._history = encode_event("history", history)
        self._version += 1
        self._wake()

    def forget(self) -> None:
        """Drop the frame: it is not the latest any more, and nobody is there to hear a newer one."""
        self._frame = b""

    def send_away(self) -> None:
        """End the stream of everybody who watches now."""
        self._life += 1
        self._wake()

    @contextmanager
    def place(self) -> Iterator[None]:
        """Count somebody as a watcher; ask first whether there is room."""
        self.watchers += 1
        self.watched.set()
        if not self._frame:
            self.arrived.set()
        try:
            yield
        finally:
            self.watchers -= 1
            if self.watchers == 0:
                self.watched.clear()

    async def frames(self) -> AsyncGenerator[bytes, None]:
        """Yield what is new as soon as it is, and a comment where nothing is for long, until all are sent away.

        Whoever takes a frame later than the next one is published skips ahead: the history has what was missed.
        """
        life, seen = self._life, None
        while life == self._life:
            if self._frame and seen != self._version:
                follows = seen is not None and self._version == seen + 1
                seen = self._version
                yield self._frame if follows else self._history + self._frame
                continue
            try:
                async with asyncio.timeout(self._keep_alive_seconds):
                    await self._next.wait()
            except TimeoutError:
                yield KEEP_ALIVE

    def _wake(self) -> None:
        self._next.set()
        self._next = asyncio.Event()


def encode_event(name: str, data: Mapping[str, Any]) -> bytes:
    """Return an event of ``text/event-stream``: JSON has no line ends of its own, whatever the texts in it hold."""
    return b"event: " + name.encode() + b"\ndata: " + orjson.dumps(data, default=str) + b"\n\n"
