"""S of the last hours, overall and by type: a ring in memory, so that a page that is opened has something to draw."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

EVERY_SECONDS = 30.0
POINTS = 720
"""Six hours."""
MAX_TYPES = 50
"""So many data types are remembered at most."""


class Point(NamedTuple):
    """S at one moment: None where nobody looked at anything, or it was not known."""

    at: float
    """Unix time."""
    overall: float | None
    by_type: Mapping[str, float | None]


class History:
    """Takes a point now and then, and forgets the oldest.

    Args:
        every_seconds: How far apart points are.
        points: How many are kept.
    """

    def __init__(self, every_seconds: float = EVERY_SECONDS, points: int = POINTS) -> None:
        self.every_seconds = every_seconds
        self._points: deque[Point] = deque(maxlen=points)
        self._due_at = float("-inf")

    def is_due(self, monotonic: float) -> bool:
        """Return whether it is time for the next point."""
        return monotonic >= self._due_at

    def note(self, monotonic: float, point: Point) -> bool:
        """Take a point where it is time for one; return whether it was taken.

        One that is not later than the last, since the clock was set back, is passed over.
        """
        if not self.is_due(monotonic) or (self._points and point.at <= self._points[-1].at):
            return False
        self._due_at = monotonic + self.every_seconds
        self._points.append(point)
        return True

    def columns(self) -> Mapping[str, Any]:
        """Return everything as the columns that a chart takes."""
        names = sorted({name for point in self._points for name in point.by_type})[:MAX_TYPES]
        return {
            "every_seconds": self.every_seconds,
            "at": [round(point.at, 1) for point in self._points],
            "overall": [_short(point.overall) for point in self._points],
            "by_type": {name: [_short(point.by_type.get(name)) for point in self._points] for name in names},
        }


def point_of(at: float, freshness: Sequence[Mapping[str, Any]] | None) -> Point:
    """Return S from what is viewed of each type and how fresh that is; a point of unknowns for None."""
    rows = freshness or ()
    by_type = {row["data_type"]: _staleness(row["viewers"], row["fresh_viewers"]) for row in rows}
    viewers, fresh = sum(row["viewers"] for row in rows), sum(row["fresh_viewers"] for row in rows)
    return Point(at, _staleness(viewers, fresh), by_type)


def _staleness(viewers: int, fresh: int) -> float | None:
    return None if viewers == 0 else 1 - fresh / viewers


def _short(share: float | None) -> float | None:
    return None if share is None else round(share, 5)
