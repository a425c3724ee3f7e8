"""The two budgets as the daemon keeps them: calls in a sliding window, bytes at the pace that lasts for 30 days."""

from __future__ import annotations

import math
from collections import deque

from daemon.refresh.prices import Allowance, Prices

WINDOW_SECONDS = 62.0
"""A minute, and the two seconds within which a reservation must be sent."""

PARTS = 10
LEAST_PACE = 10
BURST_SHARE = 0.5
"""Calls are paced: in a tenth of the window, a tenth of them (or ten), or half of what the window has left."""

BUFFER = 0.95
_SECONDS_IN_30_DAYS = 2_592_000.0


class Budget:
    """What may be spent now.

    Args:
        allowance: The plan.
        bytes_count: Whether bytes are limited at all.
    """

    def __init__(self, allowance: Allowance, *, bytes_count: bool) -> None:
        self.allowance = allowance
        self.prices = Prices(1.0, 1.0 if bytes_count else 0.0)
        self.calls = 0
        self.bytes = 0.0
        self._bytes_count = bytes_count
        self._spent: deque[tuple[float, int, float]] = deque()
        self._calls_in_window = 0
        self._bytes_in_window = 0.0
        self._level = 0.0
        self._lately: deque[tuple[float, int]] = deque()
        self._calls_lately = 0
        self._level_at = 0.0

    def calls_left(self, now: float) -> int:
        """Return how many calls may be made: what the window has left, at its pace."""
        left = self._window_left(now)
        while self._lately and self._lately[0][0] <= now - WINDOW_SECONDS / PARTS:
            self._calls_lately -= self._lately.popleft()[1]
        pace = max(LEAST_PACE, math.ceil(self.allowance.calls_per_minute / PARTS), int(left * BURST_SHARE))
        return min(left, pace - self._calls_lately)

    def _window_left(self, now: float) -> int:
        while self._spent and self._spent[0][0] <= now - WINDOW_SECONDS:
            _, calls, size = self._spent.popleft()
            self._calls_in_window -= calls
            self._bytes_in_window -= size
        return int(self.allowance.calls_per_minute) - self._calls_in_window

    def may_spend_bytes(self, now: float) -> bool:
        """Return whether the bytes keep pace: one answer may run ahead, the next then waits."""
        if not self._bytes_count:
            return True
        pace = self.allowance.bytes_per_30_days * BUFFER / _SECONDS_IN_30_DAYS
        self._level += pace * (now - self._level_at)
        self._level_at = now
        return self._level > 0

    def next_at(self, now: float, calls: int) -> float:
        """Return when asking for ``calls`` again makes sense, if nothing else is spent."""
        at = now
        if self._window_left(now) < calls:
            at = self._spent[0][0] + WINDOW_SECONDS
        elif self.calls_left(now) < calls:
            at = self._lately[0][0] + WINDOW_SECONDS / PARTS
        if not self.may_spend_bytes(now):
            pace = self.allowance.bytes_per_30_days * BUFFER / _SECONDS_IN_30_DAYS
            at = max(at, now - self._level / pace)
        return at + 1e-6

    def bytes_paced(self, now: float) -> float:
        """Return how many bytes keep the pace."""
        return self._level if self._bytes_count and self.may_spend_bytes(now) else math.inf

    def spend(self, now: float, calls: int, size_bytes: float) -> None:
        """Take note of calls that are made now."""
        self._spent.append((now, calls, size_bytes))
        self._lately.append((now, calls))
        self._calls_lately += calls
        self._calls_in_window += calls
        self._bytes_in_window += size_bytes
        self._level -= size_bytes
        self.calls += calls
        self.bytes += size_bytes

    def adapt(self, now: float) -> None:
        """Move the prices by what was used lately, as every ``ADAPT_SECONDS``."""
        self._window_left(now)
        if not self._bytes_count:
            return
        pace = self.allowance.bytes_per_30_days * BUFFER / _SECONDS_IN_30_DAYS
        calls_share = self._calls_in_window / self.allowance.calls_per_minute
        self.prices = self.prices.adapted(calls_share, self._bytes_in_window / (pace * WINDOW_SECONDS))
