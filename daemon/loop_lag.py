"""How late the event loop is: everything in the daemon waits for it."""

from __future__ import annotations

import asyncio

import structlog
from prometheus_client import CollectorRegistry, Histogram

from daemon.contracts import Clock
from daemon.service import wait_or_stop

SAMPLE_SECONDS = 0.1
BLOCKED_SECONDS = 1.0
SAY_AGAIN_SECONDS = 60.0
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)

log = structlog.get_logger()


class LoopLag:
    """Sleeps again and again, and measures how much longer that took than it should.

    Args:
        clock: Time.
        registry: Gets ``refreshd_event_loop_lag_seconds``.
    """

    name = "loop_lag"

    def __init__(self, clock: Clock, registry: CollectorRegistry) -> None:
        self._clock = clock
        self._lag = Histogram(
            "refreshd_event_loop_lag_seconds",
            "How late the event loop woke a sleeper, ten times a second",
            buckets=BUCKETS,
            registry=registry,
        )
        self._said_at = float("-inf")

    async def run(self, stop: asyncio.Event) -> None:
        """Measure until ``stop``."""
        slept_at = self._clock.monotonic()
        while not await wait_or_stop(stop, SAMPLE_SECONDS):
            now = self._clock.monotonic()
            self.note(now - slept_at - SAMPLE_SECONDS)
            slept_at = self._clock.monotonic()

    def note(self, seconds: float) -> None:
        """Count one measurement, and say so where the loop was blocked, once a minute at most."""
        self._lag.observe(max(0.0, seconds))
        now = self._clock.monotonic()
        if seconds >= BLOCKED_SECONDS and now - self._said_at >= SAY_AGAIN_SECONDS:
            self._said_at = now
            hint = (
                "the machine is overloaded, or the process was stopped, or a part of the daemon computes for too long"
            )
            log.warning("event_loop_blocked", seconds=round(seconds, 3), hint=hint)
