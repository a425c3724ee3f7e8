"""The checker: a first view at once, everything again when it is due, and no outage loses a pair."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from daemon.contracts import DemandChange, JobFinished, Outcome, Pair
from daemon.refresh.demand import DemandBook
from daemon.refresh.staleness import JUST_DUE_SECONDS, LOOK_AGAIN_SECONDS, RETRY_SECONDS, StalenessChecker
from daemon.store.catalogue import StoredCatalogue
from daemon.store.database import Database
from daemon.store.demand import DueTime
from daemon.store.flags import set_flags
from tests.clocks import StandingClock
from tests.rows import counts, make_ready

QUOTE = Pair("AAPL", "quote")
VIEWED = DemandChange("viewers:0", {QUOTE: 1})


async def make_checker(owner: Database, database: Database) -> tuple[StalenessChecker, StandingClock, asyncio.Event]:
    await make_ready(owner)
    catalogue = StoredCatalogue()
    await catalogue.load(database)
    clock, queued = StandingClock(), asyncio.Event()
    checker = StalenessChecker(
        database, DemandBook(lambda: catalogue.types), clock, enabled=lambda: True, on_queued=queued.set
    )
    return checker, clock, queued


async def test_a_first_view_is_queued_at_once(owner: Database, database: Database) -> None:
    checker, _, queued = await make_checker(owner, database)

    checker.note_demand(VIEWED)
    await checker._once()

    assert await counts(owner) == {"pending": 1}
    assert queued.is_set()


async def test_a_pair_is_looked_at_again_when_it_is_due_and_not_before(owner: Database, database: Database) -> None:
    checker, clock, _ = await make_checker(owner, database)
    checker.note_demand(VIEWED)
    await checker._once()

    checker.note_finished(JobFinished(QUOTE, Outcome.CHANGED, clock.now() + timedelta(seconds=59)))

    assert checker._seconds_to_next() == 59


async def test_a_pair_that_nobody_views_is_forgotten(owner: Database, database: Database) -> None:
    checker, clock, _ = await make_checker(owner, database)
    checker.note_demand(VIEWED)

    checker.note_demand(DemandChange("viewers:0", {QUOTE: 0}))
    checker.note_finished(JobFinished(QUOTE, Outcome.CHANGED, clock.now()))
    await checker._once()

    assert await counts(owner) == {}
    assert checker._timers.next_at() is None


async def test_an_outage_is_tried_again_soon(owner: Database, database: Database) -> None:
    checker, clock, _ = await make_checker(owner, database)
    await database.close()
    checker.note_demand(VIEWED)
    await checker._once()
    assert checker._seconds_to_next() == RETRY_SECONDS

    await database.open()
    clock.move(RETRY_SECONDS)
    await checker._once()

    assert await counts(owner) == {"pending": 1}


async def test_a_pair_that_has_just_fallen_due_is_looked_at_again_at_once_but_not_for_ever(
    owner: Database, database: Database
) -> None:
    checker, _, _ = await make_checker(owner, database)
    just_due = DueTime(QUOTE, -0.001, has_open_job=False)

    assert checker._seconds_to_look(QUOTE, just_due) == JUST_DUE_SECONDS
    assert checker._seconds_to_look(QUOTE, just_due) == LOOK_AGAIN_SECONDS
    assert checker._seconds_to_look(QUOTE, DueTime(QUOTE, -1, has_open_job=True)) == LOOK_AGAIN_SECONDS
    assert checker._seconds_to_look(QUOTE, DueTime(QUOTE, 42.0, has_open_job=False)) == 42.0


async def test_what_a_flag_forbids_is_not_asked_for_in_a_loop(owner: Database, database: Database) -> None:
    checker, _, _ = await make_checker(owner, database)
    await set_flags(owner, ["migrate_quote_type"], enabled=False)

    checker.note_demand(VIEWED)
    await checker._once()

    assert await counts(owner) == {}
    assert checker._seconds_to_next() == LOOK_AGAIN_SECONDS
