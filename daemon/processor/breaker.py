"""The circuit breaker: closed, open, half-open with exactly one probe, for all processes together.

The state is one row of ``upstreams_v2``; a process caches it for a second at most. Each process counts the attempts it
made itself, and opens the breaker for everybody when they go wrong.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from uuid import UUID

import structlog

from daemon.contracts import CallRefusedError, Clock
from daemon.store import budgets
from daemon.store.database import Database

CACHE_SECONDS = 1.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class BreakerLimits:
    """When the breaker opens, and for how long."""

    failures_in_a_row: int = 5
    window_seconds: float = 60.0
    window_attempts: int = 20
    window_failed_share: float = 0.5
    open_seconds: float = 30.0
    longest_open_seconds: float = 300.0
    probe_seconds: float = 15.0


class FailureWindow:
    """Counts attempts; pure, with the clock passed in."""

    def __init__(self, limits: BreakerLimits) -> None:
        self._limits = limits
        self._in_a_row = 0
        self._attempts: deque[tuple[float, bool]] = deque()
        self._failures = 0
        """Of those attempts, kept so that an attempt costs the same however many came before it."""

    def record(self, *, failed: bool, now: float) -> bool:
        """Take in an attempt; return whether the breaker has to open: too many in a row, or too large a share."""
        self._in_a_row = self._in_a_row + 1 if failed else 0
        self._attempts.append((now, failed))
        self._failures += failed
        while self._attempts[0][0] < now - self._limits.window_seconds:
            self._failures -= self._attempts.popleft()[1]
        many = len(self._attempts) >= self._limits.window_attempts
        return self._in_a_row >= self._limits.failures_in_a_row or (
            many and self._failures >= self._limits.window_failed_share * len(self._attempts)
        )

    def clear(self) -> None:
        """Forget everything: the breaker has opened or closed."""
        self._in_a_row = 0
        self._failures = 0
        self._attempts.clear()


class Breaker:
    """One process's hand on the breaker of one upstream.

    Args:
        database: Where the one row is.
        upstream: Its key.
        limits: When it opens, and for how long.
        clock: For the window and the cache.
    """

    def __init__(self, database: Database, upstream: str, limits: BreakerLimits, clock: Clock) -> None:
        self._database = database
        self._upstream = upstream
        self._limits = limits
        self._clock = clock
        self._window = FailureWindow(limits)
        self._row: budgets.BreakerRow | None = None
        self._row_read_at = 0.0
        self._state = "closed"
        self.refused = 0
        self._refused_before = 0

    async def admit(self) -> UUID | None:
        """Let a call through; return the probe it carries, None while the breaker is closed.

        Raises:
            CallRefusedError: While the breaker is open, or half-open and somebody else probes.
        """
        row = await self._read()
        if row.state == "closed":
            return None
        probe = None
        if row.open_for_seconds <= 0:
            probe = await budgets.acquire_probe(self._database, self._upstream, self._limits.probe_seconds)
            self._row = None
        if probe is None:
            self.refused += 1
            raise CallRefusedError("breaker", min(max(row.open_for_seconds, CACHE_SECONDS), self._limits.open_seconds))
        log.info("breaker_probed", upstream=self._upstream)
        return probe

    async def succeeded(self, probe: UUID | None) -> None:
        """Note that the upstream answered; a good probe closes the breaker."""
        self._window.record(failed=False, now=self._clock.monotonic())
        if probe is not None and await budgets.close_breaker(self._database, self._upstream, probe):
            self._window.clear()
            self._row = None
            log.info("breaker_closed", upstream=self._upstream, refused=self.refused - self._refused_before)

    async def failed(self, probe: UUID | None, reason: str, *, at_once: bool = False) -> None:
        """Note that the upstream could not be used; opens the breaker at once, or when there were too many."""
        tripped = self._window.record(failed=True, now=self._clock.monotonic())
        if not (tripped or at_once or probe is not None):
            return
        limits = self._limits
        seconds = await budgets.trip_breaker(
            self._database, self._upstream, reason, probe, limits.open_seconds, limits.longest_open_seconds
        )
        self._window.clear()
        self._row = None
        if seconds is not None:
            say = log.error if at_once else log.warning
            say("breaker_opened", upstream=self._upstream, reason=reason, seconds=seconds)

    async def undecided(self, probe: UUID | None) -> None:
        """Note that a call came to nothing that says anything about the upstream; its probe is given back."""
        if probe is not None:
            await budgets.return_probe(self._database, self._upstream, probe)
            self._row = None

    async def _read(self) -> budgets.BreakerRow:
        now = self._clock.monotonic()
        if self._row is None or now - self._row_read_at > CACHE_SECONDS:
            self._row = await budgets.read_breaker(self._database, self._upstream)
            self._row_read_at = now
            if self._row.state != self._state:
                self._window.clear()  # what was counted before says nothing about now
                if self._state == "closed":
                    self._refused_before = self.refused
            self._state = self._row.state
        return self._row
