"""Work that nobody has to look at: types whose schedule has fired, below everything that is viewed."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from daemon.contracts import Clock
from daemon.schedule import ScheduleError, next_firing
from daemon.store.database import Database
from daemon.store.upkeep import Schedule, queue_scheduled, read_open_schedules, write_next_firing

log = structlog.get_logger()


class ScheduledWork:
    """One turn at a time; a :class:`Periodic` takes the turns.

    Args:
        database: Where schedules and queue are.
        clock: Schedules fire by the database's clock, in UTC.
        on_work: Called when jobs were queued.
    """

    def __init__(self, database: Database, clock: Clock, on_work: Callable[[], None]) -> None:
        self._database = database
        self._clock = clock
        self._on_work = on_work
        self._refused: dict[str, str] = {}

    async def turn(self) -> None:
        """Compute the firings that are missing, then go on with every round that is due.

        Raises:
            StoreUnavailableError: When PostgreSQL does not answer.
        """
        for schedule in await read_open_schedules(self._database):
            await self._set_next(schedule)
        if queued := await queue_scheduled(self._database):
            log.info("scheduled_work_queued", jobs=queued)
            self._on_work()

    async def _set_next(self, schedule: Schedule) -> None:
        """Say once what is wrong with a schedule that cannot fire; its type is left alone until it is changed."""
        try:
            moment = next_firing(schedule.expression, self._clock.now())
        except ScheduleError as error:
            if self._refused.get(schedule.data_type) != schedule.expression:
                self._refused[schedule.data_type] = schedule.expression
                hint = f"run `refreshd types set {schedule.data_type} --schedule CRON`"
                log.warning("schedule_refused", data_type=schedule.data_type, error=str(error), hint=hint)
            return
        await write_next_firing(self._database, schedule, moment)
        log.info("schedule_set", data_type=schedule.data_type, schedule=schedule.expression, next_at=moment.isoformat())
