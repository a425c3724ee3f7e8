"""A part that cannot work for a while says so once, counts the repetitions, and says when it works again."""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

log = structlog.get_logger()


class Outage:
    """The loud beginning and end of a fault that can pass.

    Args:
        part: What cannot work, as the log names it.
        hint: What the operator can do meanwhile.
        monotonic: Seconds that only go forward.
    """

    def __init__(
        self,
        part: str,
        hint: str = "it is tried again until it works",
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._monotonic = monotonic
        self._part = part
        self._hint = hint
        self._since: float | None = None
        self._failures = 0

    @property
    def seconds(self) -> float:
        """For how long it has lasted; 0 where the last attempt succeeded."""
        return 0.0 if self._since is None else self._monotonic() - self._since

    @property
    def part(self) -> str:
        """What cannot work, as the log names it."""
        return self._part

    @property
    def lasts(self) -> bool:
        """Whether the last attempt failed."""
        return self._since is not None

    def failed(self, error: Exception) -> None:
        """Note a failure; only the first of a row is logged."""
        self._failures += 1
        if self._since is None:
            self._since = self._monotonic()
            log.warning("part_interrupted", part=self._part, error=str(error), hint=self._hint)

    def passed(self) -> None:
        """Note a success; the first after failures is logged with what they were."""
        if self._since is not None:
            seconds = round(self._monotonic() - self._since, 1)
            log.info("part_recovered", part=self._part, failures=self._failures, seconds=seconds)
        self._since, self._failures = None, 0
