"""A clock that stands until it is moved."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

NOW = datetime(2026, 11, 2, 15, 16, 40, tzinfo=UTC)


class StandingClock:
    """Implements daemon.contracts.Clock.

    Args:
        now: The database's time at first.
    """

    def __init__(self, now: datetime = NOW) -> None:
        self._first = now
        self._moved = 0.0

    def now(self) -> datetime:
        return self._first + timedelta(seconds=self._moved)

    def monotonic(self) -> float:
        return 1_000.0 + self._moved

    def move(self, seconds: float) -> None:
        self._moved += seconds
