"""The limits of a plan: what a client is refused or closed for. All are off unless they are asked for."""

import time
from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """What a server allows; None is no limit."""

    connections: int | None = None
    joins_per_second: int | None = None
    """Of all clients together. A join too many is refused."""
    channels_per_connection: int | None = None
    presence_messages_per_second: int | None = None
    """Of all copies delivered in one room; the channel whose presence was one too many is closed."""
    tracks_per_30_seconds: int | None = None
    """Of one client: a track or untrack too many closes its channel."""


UNLIMITED = Limits()

PRO = Limits(
    connections=500,
    joins_per_second=500,
    channels_per_connection=100,
    presence_messages_per_second=50,
    tracks_per_30_seconds=5,
)
"""A hosted project on the Pro plan, August 2026."""


class Meter:
    """Counts events in a sliding window."""

    def __init__(self, limit: int | None, seconds: float) -> None:
        self._limit = limit
        self._seconds = seconds
        self._times: deque[float] = deque()

    def allows(self, events: int = 1) -> bool:
        """Count so many events and return whether they are within the limit."""
        if self._limit is None:
            return True
        now = time.monotonic()
        while self._times and self._times[0] <= now - self._seconds:
            self._times.popleft()
        self._times.extend([now] * min(events, self._limit + 1))
        return len(self._times) <= self._limit
