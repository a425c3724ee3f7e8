"""What the upstream counts: calls, bytes, and the sliding minute in which only so many calls are answered."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from typing import NamedTuple

WINDOW_SECONDS = 60.0
SEEN = 10_000


class Seen(NamedTuple):
    """One call that came in. ``status`` is 0 where no whole answer went out."""

    at: float
    """Monotonic seconds of its arrival."""
    endpoint: str
    params: Mapping[str, str]
    """Never the key."""
    status: int
    agent: str = ""
    """Who called, by its own word."""


class Meter:
    """Counts what comes in and what goes out."""

    def __init__(self) -> None:
        self.calls = 0
        self.calls_by_endpoint: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()
        self.bytes_sent = 0
        self.max_calls_per_60s = 0
        self.seen: deque[Seen] = deque(maxlen=SEEN)
        self._arrivals: deque[float] = deque()

    def arrived(self, at: float, endpoint: str) -> None:
        """Count a call that comes in."""
        self.calls += 1
        self.calls_by_endpoint[endpoint] += 1
        self._arrivals.append(at)
        _forget(self._arrivals, at)
        self.max_calls_per_60s = max(self.max_calls_per_60s, len(self._arrivals))

    def answered(self, call: Seen) -> None:
        """Remember what became of a call."""
        self.statuses[call.status] += 1
        self.seen.append(call)


class CallLimit:
    """So many calls in any 60 seconds; a call that was refused does not count."""

    def __init__(self, calls_per_minute: int) -> None:
        self.calls_per_minute = calls_per_minute
        self._admitted: deque[float] = deque()

    def admit(self, at: float) -> float | None:
        """Admit a call, or return the seconds after which one more will be admitted."""
        _forget(self._admitted, at)
        excess = len(self._admitted) - self.calls_per_minute
        if excess >= 0:
            return self._admitted[excess] + WINDOW_SECONDS - at if self._admitted else WINDOW_SECONDS
        self._admitted.append(at)
        return None


def _forget(moments: deque[float], now: float) -> None:
    while moments and moments[0] <= now - WINDOW_SECONDS:
        moments.popleft()
