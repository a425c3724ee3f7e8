"""Signs of life of the parts: each says when it will be back, and whoever is not back by then is stuck."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping

SLACK_SECONDS = 60.0
"""So much later than it said may a part be: several statements that all take as long as they may, on a busy machine."""


class Pulse:
    """The signs of life of one part, which may have several loops.

    Args:
        monotonic: Seconds that only go forward.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._back_by: dict[str, float] = {}

    def beat(self, rest_seconds: float = 0.0, *, loop: str = "") -> None:
        """Say that a loop is alive, and will be again within ``rest_seconds``, give or take ``SLACK_SECONDS``."""
        self._back_by[loop] = self._monotonic() + rest_seconds + SLACK_SECONDS

    @property
    def overdue_seconds(self) -> float:
        """For how long one of the loops has been stuck; 0 where none is, or none has begun."""
        return max(self._monotonic() - min(self._back_by.values()), 0.0) if self._back_by else 0.0


def stuck(parts: Iterable[object]) -> Mapping[str, float]:
    """Return the names of the parts that are stuck, and for how many seconds; a part without a pulse never is."""
    pulses = {str(getattr(part, "name", part)): getattr(part, "pulse", None) for part in parts}
    return {
        name: pulse.overdue_seconds
        for name, pulse in pulses.items()
        if isinstance(pulse, Pulse) and pulse.overdue_seconds > 0
    }
