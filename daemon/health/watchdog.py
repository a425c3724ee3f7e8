"""The sign of life for systemd: given while every part gives its own, and withheld when one is stuck."""

from __future__ import annotations

import asyncio
from typing import Protocol

import structlog

from daemon.contracts import Verdict
from daemon.service import wait_or_stop
from daemon.systemd import Notifier

LONGEST_INTERVAL_SECONDS = 10.0

log = structlog.get_logger()


class Judge(Protocol):
    """What is asked of :class:`daemon.health.judge.Health`."""

    def alive(self) -> Verdict:
        """Return whether every part gives signs of life."""
        ...

    def summary(self) -> str:
        """Return the line for ``systemctl status``."""
        ...


class Watchdog:
    """The service that tells systemd how the daemon is.

    Args:
        notifier: Where it is told.
        health: How the daemon is.
    """

    name = "watchdog"

    def __init__(self, notifier: Notifier, health: Judge) -> None:
        self._notifier = notifier
        self._health = health
        self._is_stuck = False
        self._status = ""

    async def run(self, stop: asyncio.Event) -> None:
        """Tell at least three times within the watchdog's time, until ``stop``."""
        within = self._notifier.watchdog_seconds
        interval = LONGEST_INTERVAL_SECONDS if within is None else min(within / 3, LONGEST_INTERVAL_SECONDS)
        while True:
            self._tell()
            if await wait_or_stop(stop, interval):
                return

    def _tell(self) -> None:
        alive = self._health.alive()
        if alive.is_good:
            self._notifier.alive()
        elif not self._is_stuck:
            hint = "systemd's watchdog ends the process and starts it afresh; without one, do so"
            log.critical("part_stuck", reason=alive.reason, hint=hint)
        self._is_stuck = not alive.is_good
        if (status := self._health.summary()) != self._status:
            self._status = status
            self._notifier.status(status)
