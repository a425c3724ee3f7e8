"""A part that does the same thing again and again, and says when it last worked."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from daemon.contracts import Clock, StoreUnavailableError
from daemon.outage import Outage
from daemon.pulse import Pulse
from daemon.service import wait_or_stop

RETRY_SECONDS = 1.0
"""After a turn that failed, until it works again."""


class Periodic:
    """A service around one coroutine function; an outage of PostgreSQL is survived, anything else is a crash.

    Args:
        name: The service's name.
        interval_seconds: From the end of one turn to the start of the next.
        turn: The work.
        clock: For the time of the last success.
    """

    def __init__(self, name: str, interval_seconds: float, turn: Callable[[], Awaitable[None]], clock: Clock) -> None:
        self.name = name
        self.interval_seconds = interval_seconds
        self.last_success_monotonic: float | None = None
        self.pulse = Pulse(clock.monotonic)
        self._turn = turn
        self._clock = clock
        self.outage = Outage(name)

    async def run(self, stop: asyncio.Event) -> None:
        """Take a turn at once, then one every interval."""
        while not stop.is_set():
            self.pulse.beat()
            await self._once()
            seconds = RETRY_SECONDS if self.outage.lasts else self.interval_seconds
            self.pulse.beat(seconds)
            await wait_or_stop(stop, seconds)

    async def _once(self) -> None:
        try:
            await self._turn()
        except StoreUnavailableError as error:
            self.outage.failed(error)
        else:
            self.outage.passed()
            self.last_success_monotonic = self._clock.monotonic()
