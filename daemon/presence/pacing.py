"""How soon to try again: jittered back-off, and a bound on connections that holds whatever the other side does."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field

from daemon.contracts import Clock


@dataclass(slots=True)
class Backoff:
    """Delays that double from ``low_seconds`` to ``high_seconds``, each drawn between ``low_seconds`` and that."""

    rng: random.Random
    low_seconds: float = 1.0
    high_seconds: float = 30.0
    failures: int = 0

    def next_delay(self) -> float:
        """Count a failure and return how long to wait after it."""
        self.failures = min(self.failures + 1, 30)
        return self.rng.uniform(self.low_seconds, min(self.high_seconds, self.low_seconds * 2**self.failures))

    def reset(self) -> None:
        """Begin anew, as after a success that lasted."""
        self.failures = 0


@dataclass(slots=True)
class TokenBucket:
    """At most ``limit`` takings in any ``window_seconds``.

    A quarter of them may be taken in a burst and the rest trickles in over the window: a plain count of the last window
    would hold as well, but would leave minutes without any attempt after a bad start.
    """

    limit: int = 20
    window_seconds: float = 600.0
    _tokens: float = field(init=False)
    _counted_at: float | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self._tokens = self._burst

    @property
    def _burst(self) -> float:
        return max(1, self.limit // 4)

    @property
    def _seconds_per_token(self) -> float:
        return self.window_seconds / max(1, self.limit - self._burst)

    def wait_seconds(self, now: float) -> float:
        """Return how long it is until the next taking; 0 where it is possible now."""
        self._refill(now)
        return max(0.0, 1 - self._tokens) * self._seconds_per_token

    def take(self, now: float) -> None:
        """Count one taking."""
        self._refill(now)
        self._tokens -= 1

    def _refill(self, now: float) -> None:
        since = now - self._counted_at if self._counted_at is not None else 0.0
        self._tokens = min(self._burst, self._tokens + since / self._seconds_per_token)
        self._counted_at = now


@dataclass(slots=True)
class Pacer:
    """Turns that come at most ``per_second``, in the order in which they were asked for."""

    clock: Clock
    per_second: float
    _next_at: float = field(init=False, default=0.0)

    async def turn(self) -> None:
        """Wait for the next turn."""
        now = self.clock.monotonic()
        at = max(now, self._next_at)
        self._next_at = at + 1 / self.per_second
        await asyncio.sleep(at - now)
