"""How many lines the log takes, of each kind and in all: a burst, then so many a second; the rest is counted."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

BURST = 3_000
LINES_PER_SECOND = 250.0
"""journald takes 10,000 lines in 30 seconds of one service by default, and then drops whatever comes."""

LOUD_BURST = 1_000
LOUD_LINES_PER_SECOND = 50.0
"""What is kept of that for warnings and above, whatever flood there is below."""

TELL_SECONDS = 10.0
MAX_KINDS = 1_000

UNBOUNDED = frozenset({"log_lines_suppressed"})


class _Bucket:
    def __init__(self, burst: float, per_second: float, now: float) -> None:
        self._burst = self._left = burst
        self._per_second = per_second
        self._at = now

    def has_room(self, now: float) -> bool:
        self._left = min(self._left + (now - self._at) * self._per_second, self._burst)
        self._at = now
        return self._left >= 1

    def take(self) -> None:
        self._left -= 1


class LogRate:
    """Decides line by line. Not thread-safe: every line is written from the event loop's thread.

    Args:
        burst: Lines that may come at once, of one kind and of all below warning.
        lines_per_second: How many may follow in the long run.
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
        now = monotonic()
        self._quiet = _Bucket(burst, lines_per_second, now)
        self._loud = _Bucket(LOUD_BURST, LOUD_LINES_PER_SECOND, now)
        self._kinds: dict[str, _Bucket] = {}
        self._suppressed: dict[str, int] = {}
        self._tell_at = 0.0
        self.suppressed_lines = 0

    def admits(self, kind: str, *, is_loud: bool = False) -> bool:
        """Return whether a line of this kind may be written now.

        Args:
            kind: The event, or the library that speaks.
            is_loud: Whether it is a warning or above.
        """
        if kind in UNBOUNDED:
            return True
        now = self._monotonic()
        if kind not in self._kinds and len(self._kinds) >= MAX_KINDS:
            self._kinds.clear()
        of_kind = self._kinds.setdefault(kind, _Bucket(self._burst, self._lines_per_second, now))
        of_all = self._loud if is_loud else self._quiet
        if of_kind.has_room(now) and of_all.has_room(now):
            of_kind.take()
            of_all.take()
            return True
        if not self._suppressed:
            self._tell_at = now + TELL_SECONDS
        self._suppressed[kind] = self._suppressed.get(kind, 0) + 1
        self.suppressed_lines += 1
        return False

    def take_suppressed(self) -> Iterator[tuple[str, int]]:
        """Yield by kind how many lines were left out, some seconds after the first of them; then begin afresh."""
        if self._suppressed and self._monotonic() >= self._tell_at:
            told, self._suppressed = self._suppressed, {}
            yield from told.items()
