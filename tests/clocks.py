"""A clock that stands until it is moved."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


class StandingClock:
    """Implements daemon.contracts.Clock."""

    def __init__(self) -> None:
        self._seconds = 1_000.0

    def now(self) -> datetime:
        return datetime(2026, 11, 2, 15, 0, tzinfo=UTC) + timedelta(seconds=self._seconds)

    def monotonic(self) -> float:
        return self._seconds

    def move(self, seconds: float) -> None:
        self._seconds += seconds
