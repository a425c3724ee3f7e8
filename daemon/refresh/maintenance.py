"""Retention: once a day, and once at the start, old rows go in small steps."""

from __future__ import annotations

import asyncio
from collections import Counter

import structlog

from daemon.contracts import Clock, StoreUnavailableError
from daemon.outage import Outage
from daemon.pulse import Pulse
from daemon.schedule import next_firing
from daemon.service import wait_or_stop
from daemon.store.database import Database
from daemon.store.upkeep import remove_old_rows

PAUSE_SECONDS = 0.2
"""Between two steps: whoever works meanwhile comes first."""
RETRY_SECONDS = 60.0
"""After a turn that could not do everything."""

log = structlog.get_logger()


class Maintenance:
    """The service.

    Args:
        database: Whose rows are removed.
        clock: The schedule is by the database's clock, in UTC.
        schedule: A cron expression.
    """

    name = "maintenance"

    def __init__(self, database: Database, clock: Clock, schedule: str) -> None:
        self.last_success_monotonic: float | None = None
        self.pulse = Pulse(clock.monotonic)
        self._database = database
        self._clock = clock
        self._schedule = schedule
        self.outage = Outage(self.name)

    async def run(self, stop: asyncio.Event) -> None:
        """Take a turn at once, then whenever the schedule fires; a turn that failed is taken again soon."""
        while not stop.is_set():
            self.pulse.beat()
            done = await self._once(stop)
            seconds = self._seconds_to_next() if done else RETRY_SECONDS
            self.pulse.beat(seconds)
            await wait_or_stop(stop, seconds)

    async def _once(self, stop: asyncio.Event) -> bool:
        """Remove what there is; return whether nothing was left."""
        removed: Counter[str] = Counter()
        try:
            while True:
                self.pulse.beat()
                step = await remove_old_rows(self._database)
                removed.update(step.rows)
                if not step.more or step.not_done or await wait_or_stop(stop, PAUSE_SECONDS):
                    break
        except StoreUnavailableError as error:
            self.outage.failed(error)
            return False
        self.outage.passed()
        if removed.total():
            log.info("old_rows_removed", **removed)
        if step.not_done:
            log.warning("maintenance_incomplete", not_done=list(step.not_done), retry_in_seconds=RETRY_SECONDS)
            return False
        self.last_success_monotonic = self._clock.monotonic()
        return True

    @property
    def interval_seconds(self) -> float:
        """How far apart the next two firings are."""
        first = next_firing(self._schedule, self._clock.now())
        return (next_firing(self._schedule, first) - first).total_seconds()

    def _seconds_to_next(self) -> float:
        now = self._clock.now()
        return max((next_firing(self._schedule, now) - now).total_seconds(), 1.0)
