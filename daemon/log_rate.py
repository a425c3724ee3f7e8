"""How many lines of one kind the log takes: a burst, then so many a second; the rest is counted and told."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

BURST = 3_000
LINES_PER_SECOND = 300.0
"""About what journald takes by default: 10,000 lines in 30 seconds of one service."""
TELL_SECONDS = 10.0

UNBOUNDED = frozenset({"log_lines_suppressed"})


class LogRate:
    """Decides line by line, by event and level. Not thread-safe: every line is written from the event loop's thread.

    Args:
        burst: Lines of one kind that may come at once.
        lines_per_second: How many of them may follow in the long run.
        monotonic: Seconds that only go forward.
    """

    def __init__(
        self,
        burst: int = BURST,
        lines_per_second: float = LINES_PER_SECOND,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._burst = burst
        self._lines_per_second = lines_per_second
        self._monotonic = monotonic
        self._left: dict[str, tuple[float, float]] = {}
        """By kind how many lines may come, and when that was so."""
        self._suppressed: dict[str, int] = {}
        self._tell_at = 0.0
        self.suppressed_lines = 0

    def admits(self, kind: str) -> bool:
        """Return whether a line of this kind may be written now."""
        if kind in UNBOUNDED:
            return True
        now = self._monotonic()
        left, at = self._left.get(kind, (float(self._burst), now))
        left = min(left + (now - at) * self._lines_per_second, float(self._burst))
        if left < 1:
            self._left[kind] = (left, now)
            if not self._suppressed:
                self._tell_at = now + TELL_SECONDS
            self._suppressed[kind] = self._suppressed.get(kind, 0) + 1
            self.suppressed_lines += 1
            return False
        self._left[kind] = (left - 1, now)
        return True

    def take_suppressed(self) -> Iterator[tuple[str, int]]:
        """Yield by kind how many lines were left out, some seconds after the first of them; then begin afresh."""
        if self._suppressed and self._monotonic() >= self._tell_at:
            told, self._suppressed = self._suppressed, {}
            yield from told.items()
