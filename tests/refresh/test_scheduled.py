"""Schedules: the daemon computes when they fire, the database queues what is due then."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from structlog.testing import capture_logs

from daemon.refresh.scheduled import ScheduledWork
from daemon.store.clock import DatabaseClock
from daemon.store.database import Database
from tests.rows import make_ready

NEXT = "select next_scheduled_at from data_type_state_v2 where data_type = 'profile'"


async def no_other_schedule(owner: Database) -> None:
    await owner.execute("update data_type_registry_v2 set refresh_strategy = 'on-demand'")


async def schedule(owner: Database, expression: str) -> None:
    await owner.execute(
        "update data_type_registry_v2 set refresh_strategy = 'scheduled', refresh_schedule = $1"
        " where data_type = 'profile'",
        expression,
    )


async def test_a_missing_firing_is_computed_and_nothing_is_queued_before_it(
    owner: Database, database: Database
) -> None:
    await make_ready(owner)
    await schedule(owner, "30 3 * * *")
    work = asyncio.Event()
    clock = DatabaseClock()

    await ScheduledWork(database, clock, work.set).turn()

    moment = await owner.fetchval(NEXT)
    assert timedelta(0) < moment - clock.now() <= timedelta(days=1)
    assert (moment.hour, moment.minute) == (3, 30)
    assert not work.is_set()


async def test_a_schedule_that_has_fired_queues_its_work_and_gets_its_next_firing(
    owner: Database, database: Database
) -> None:
    await make_ready(owner)
    await no_other_schedule(owner)
    await schedule(owner, "*/5 * * * *")
    await owner.execute("update data_type_state_v2 set next_scheduled_at = now() where data_type = 'profile'")
    work = asyncio.Event()
    scheduled = ScheduledWork(database, DatabaseClock(), work.set)

    with capture_logs() as lines:
        await scheduled.turn()
        await scheduled.turn()

    assert work.is_set()
    assert [line["event"] for line in lines] == ["scheduled_work_queued", "schedule_set"]
    assert await owner.fetchval("select count(*) from api_call_queue_v2_pending where priority = -1") == 2
    assert await owner.fetchval(NEXT) is not None


async def test_a_schedule_that_never_fires_is_told_once_and_stops_nobody_else(
    owner: Database, database: Database
) -> None:
    await make_ready(owner)
    await no_other_schedule(owner)
    await schedule(owner, "0 0 31 2 *")
    await owner.execute(
        "update data_type_registry_v2 set refresh_strategy = 'scheduled', refresh_schedule = '* * * * *'"
        " where data_type = 'quote'"
    )
    scheduled = ScheduledWork(database, DatabaseClock(), lambda: None)

    with capture_logs() as lines:
        await scheduled.turn()
        await scheduled.turn()

    assert [(line["event"], line["data_type"]) for line in lines] == [
        ("schedule_refused", "profile"),
        ("schedule_set", "quote"),
    ]
    assert await owner.fetchval(NEXT) is None
