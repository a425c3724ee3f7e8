"""Scheduled work: a firing opens a round over all active symbols, in as many turns as the queue has room for."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from daemon.store.database import Database
from daemon.store.flags import set_flags
from devstack.postgres import EmbeddedPostgres
from tests.databases import TestDatabase, database_of
from tests.rows import HOLDER, counts, make_ready, orphans, queue
from tests.store.test_queue import PROFILE, QUOTE

SCHEDULE = """
update data_type_registry_v2 set refresh_strategy = 'scheduled', refresh_schedule = '0 3 * * *', priority = 1000000
where data_type = $1
"""
FIRE = "update data_type_state_v2 set next_scheduled_at = now() - interval '1 s' where data_type = $1"
ROUND = "select next_scheduled_at, schedule_cursor from data_type_state_v2 where data_type = $1"


async def take_turn(database: Database) -> int:
    return int(await database.fetchval("select queue_scheduled_refreshes_v2()"))


async def schedule(owner: Database, *data_types: str) -> None:
    for data_type in data_types:
        await owner.execute(SCHEDULE, data_type)
        await owner.execute(FIRE, data_type)


async def finish_all(owner: Database) -> None:
    """End every pending job as if it had been refreshed and were fresh for a day."""
    await owner.execute("delete from api_call_queue_v2")
    await owner.execute(
        "update refresh_state_v2 set open_job_id = null, next_due_at = now() + interval '1 day'"
        " where open_job_id is not null"
    )


async def test_a_firing_queues_every_active_symbol_that_is_due_below_everything_viewed(
    owner: Database, database: Database
) -> None:
    await make_ready(owner, ["A", "B", "C", "FRESH", "GONE"])
    await owner.execute("update supported_symbols set is_active = false where symbol = 'GONE'")
    await owner.execute(
        "insert into refresh_state_v2 (symbol, data_type, next_due_at)"
        " values ('FRESH', 'profile', now() + interval '1 h')"
    )
    await schedule(owner, "profile")

    assert await take_turn(database) == 3

    jobs = await owner.fetch("select symbol, priority, lane from api_call_queue_v2_pending order by symbol")
    assert [tuple(job) for job in jobs] == [("A", -1, 2), ("B", -1, 2), ("C", -1, 2)]
    assert await orphans(owner) == 0


async def test_a_round_that_is_over_waits_for_the_daemon_to_say_when_the_next_begins(
    owner: Database, database: Database
) -> None:
    await make_ready(owner, ["A"])
    await schedule(owner, "profile")

    await take_turn(database)
    await finish_all(owner)
    await owner.execute("update refresh_state_v2 set next_due_at = now()")

    assert await take_turn(database) == 0
    row = await owner.fetchrow(ROUND, "profile")
    assert row is not None
    assert tuple(row) == (None, None)


@pytest.mark.parametrize("reason", ["not yet", "not computed", "on demand", "type off", "queue off", "quota", "limits"])
async def test_nothing_is_scheduled_against_its_schedule_flags_or_budget(
    owner: Database, database: Database, reason: str
) -> None:
    await make_ready(owner, ["A"])
    await schedule(owner, "profile")

    match reason:
        case "not yet":
            await owner.execute("update data_type_state_v2 set next_scheduled_at = now() + interval '1 s'")
        case "not computed":
            await owner.execute("update data_type_state_v2 set next_scheduled_at = null")
        case "on demand":
            await owner.execute("update data_type_registry_v2 set refresh_strategy = 'on-demand'")
        case "type off":
            await set_flags(owner, ["migrate_profile_type"], enabled=False)
        case "queue off":
            await set_flags(owner, ["use_queue_system"], enabled=False)
        case "quota":
            await owner.execute("insert into api_usage_hours_v2 values ('fmp', date_trunc('hour', now()), 1, 19e9)")
        case "limits":
            await owner.execute("delete from upstream_limits_v2")

    assert await take_turn(database) == 0
    assert await counts(owner) == {}


async def test_the_queue_stays_below_a_thousand_pending_jobs_and_the_round_goes_on_later(
    owner: Database, database: Database
) -> None:
    symbols = [f"S{number:04}" for number in range(1500)]
    await make_ready(owner, symbols)
    await owner.execute(
        "select from queue_refreshes_v2($1, $2, $3)", symbols[:400], ["quote"] * 400, list(range(1, 401))
    )
    await schedule(owner, "profile")

    assert await take_turn(database) == 599
    assert await take_turn(database) == 0

    await finish_all(owner)
    assert await take_turn(database) == 901
    assert await owner.fetchval("select count(*) from supported_symbols where last_scheduled_at is null") == 0


async def test_the_room_is_shared_by_the_types_whose_schedules_have_fired(owner: Database, database: Database) -> None:
    await make_ready(owner, [f"S{number:04}" for number in range(1200)])
    await schedule(owner, "profile", "quote")

    assert await take_turn(database) == 999

    rows = await owner.fetch("select data_type, count(*) as jobs from api_call_queue_v2_pending group by data_type")
    assert sorted(row["jobs"] for row in rows) == [499, 500]


async def test_a_global_type_has_one_pair(owner: Database, database: Database) -> None:
    await make_ready(owner, ["A", "B"])
    await owner.execute("update data_type_registry_v2 set symbol_column = null where data_type = 'profile'")
    await schedule(owner, "profile")

    assert await take_turn(database) == 1
    assert await owner.fetchval("select symbol from api_call_queue_v2_pending") == "GLOBAL"
    assert await take_turn(database) == 0


async def test_a_pair_that_somebody_views_keeps_its_place(owner: Database, database: Database) -> None:
    await make_ready(owner, ["AAPL"])
    await queue(owner, PROFILE, priority=3)
    await schedule(owner, "profile")

    assert await take_turn(database) == 0

    row = await owner.fetchrow("select priority, lane from api_call_queue_v2_pending")
    assert row is not None
    assert tuple(row) == (3, 0)


async def test_scheduled_work_is_claimed_only_when_nothing_viewed_waits(owner: Database, database: Database) -> None:
    await make_ready(owner, ["AAPL", "B"])
    await schedule(owner, "profile")
    await take_turn(database)
    await queue(owner, QUOTE)
    claim = "select symbol, lane from get_queue_batch_v2(10, $1)"

    assert [tuple(row) for row in await database.fetch(claim, HOLDER)] == [("AAPL", 0)]
    assert sorted(tuple(row) for row in await database.fetch(claim, HOLDER)) == [("AAPL", 2), ("B", 2)]


async def test_of_many_turns_at_once_one_works_and_the_others_return(
    owner: Database, database: Database, urls: TestDatabase
) -> None:
    await make_ready(owner, ["A", "B"])
    await schedule(owner, "profile")
    other = await asyncpg.connect(urls.owner_url)

    async with other.transaction():
        await other.execute("select pg_advisory_xact_lock(43)")
        assert await asyncio.wait_for(take_turn(database), 30) == 0
    await other.close()

    assert sorted(await asyncio.gather(*(take_turn(database) for _ in range(8)))) == [0] * 7 + [2]


@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    symbols=st.integers(1, 40),
    already_pending=st.lists(st.integers(960, 999), min_size=1, max_size=30),
    fresh=st.sets(st.integers(0, 39)),
)
async def test_a_round_comes_to_every_due_symbol_exactly_once_however_little_room_there_is(
    postgres: EmbeddedPostgres, symbols: int, already_pending: list[int], fresh: set[int]
) -> None:
    async with database_of(postgres) as urls, Database(urls.owner_url) as owner:
        names = [f"S{number}" for number in range(symbols)]
        await make_ready(owner, names + [f"X{number}" for number in range(1000)])
        await owner.execute("update supported_symbols set is_active = false where symbol like 'X%'")
        await owner.execute(
            "insert into refresh_state_v2 (symbol, data_type, next_due_at)"
            " select 'S' || n, 'profile', now() + interval '1 h' from unnest($1::int[]) n",
            sorted(fresh),
        )
        await schedule(owner, "profile")
        due = {name for number, name in enumerate(names) if number not in fresh}

        seen: list[str] = []
        for pending in [*already_pending, 0]:
            await owner.execute(
                "insert into api_call_queue_v2 (symbol, data_type, lane, priority, gain)"
                " select 'X' || n, 'quote', 1, 1, 1 from generate_series(1, $1) n",
                pending,
            )
            added = await take_turn(owner)
            assert added <= max(0, 999 - pending)
            rows = await owner.fetch("select symbol from api_call_queue_v2_pending where symbol like 'S%'")
            assert len(rows) == added
            seen += [row["symbol"] for row in rows]
            await finish_all(owner)

        assert sorted(seen) == sorted(due)
