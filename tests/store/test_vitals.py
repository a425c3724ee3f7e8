"""How everything stands, looked up on a real server: freshness, the oldest snapshot, and pg_cron where it is."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from daemon.contracts import Pair
from daemon.health.vitals import Vitals
from daemon.store.database import Database
from daemon.store.vitals import (
    TypeFreshness,
    read_all_freshness,
    read_cron_jobs,
    read_freshness,
    read_oldest_snapshot,
)
from tests.clocks import StandingClock
from tests.databases import TestDatabase
from tests.rows import make_ready

AAPL, MSFT, PROFILE = Pair("AAPL", "quote"), Pair("MSFT", "quote"), Pair("AAPL", "profile")
STATES = """
insert into refresh_state_v2 (symbol, data_type, fresh_until, last_success_at)
values ('AAPL', 'quote', now() + interval '1 min', now()), ('MSFT', 'quote', now() - interval '1 s', now())
"""
CRON = """
create schema cron;
create table cron.job (jobid bigint primary key, jobname text, schedule text, active boolean not null default true);
create table cron.job_run_details (
    jobid bigint, runid bigint primary key, status text, return_message text, start_time timestamptz
);
insert into cron.job
values (1, 'old-quotes', '* * * * *', true), (2, 'nightly', '0 2 * * *', true), (3, 'off', '0 0 1 1 *', false);
insert into cron.job_run_details
select 1, n, 'succeeded', null, now() from generate_series(100, 19999) n
union all values (1, 20000, 'failed', 'no such function', now()), (2, 5, 'succeeded', null, now());
"""


async def test_freshness_counts_every_viewer_of_a_pair_of_the_types_that_are_on(
    owner: Database, database: Database
) -> None:
    await make_ready(owner)
    await owner.execute(STATES)
    viewers = {AAPL: 3, MSFT: 1, PROFILE: 2}

    both = await read_freshness(database, viewers)
    await owner.execute("update feature_flags set enabled = false where flag_name = 'migrate_profile_type'")
    one = await read_freshness(database, viewers)

    assert both == [TypeFreshness("profile", 1, 2, 0, 0, 1), TypeFreshness("quote", 2, 4, 3, 1, 0)]
    assert one == [TypeFreshness("quote", 2, 4, 3, 1, 0)]
    assert await read_freshness(database, {}) == []


async def test_what_is_viewed_through_any_daemon_is_counted_too(owner: Database, database: Database) -> None:
    await make_ready(owner)
    await owner.execute(STATES)
    await owner.execute(
        "insert into active_subscriptions_v2 (user_id, symbol, data_type, source)"
        " values ('a', 'AAPL', 'quote', 'viewers:0'), ('a', 'AAPL', 'quote', 'viewers:1'),"
        " ('b', 'AAPL', 'quote', 'viewers:1'), ('b', 'MSFT', 'quote', 'viewers:1')"
    )

    assert await read_all_freshness(database) == [TypeFreshness("quote", 2, 3, 2, 1, 0)]


@pytest.mark.direct
async def test_a_session_that_holds_a_snapshot_is_seen_and_for_how_long(
    owner: Database, database: Database, urls: TestDatabase
) -> None:
    await make_ready(owner)
    clock = StandingClock()
    vitals = Vitals(database, dict, clock)
    holder = await asyncpg.connect(urls.owner_url)
    try:
        transaction = holder.transaction(isolation="repeatable_read")
        await transaction.start()
        await holder.fetchval("select txid_current()")
        await vitals.turn()
        clock.move(700)
        await owner.execute("update supported_symbols set exchange = 'X'")
        held = await read_oldest_snapshot(database)
        await vitals.turn()
        assert held is not None
        assert vitals.latest is not None
        assert vitals.latest.oldest_snapshot_seconds == 700
        await transaction.rollback()
    finally:
        await holder.close()

    await asyncio.sleep(0)
    await vitals.turn()
    assert vitals.latest.oldest_snapshot_seconds == 0


@pytest.mark.direct
async def test_the_last_run_of_each_job_of_pg_cron_counts_and_old_ones_are_not_searched(
    owner: Database, database: Database
) -> None:
    nowhere = await read_cron_jobs(database)
    await owner.execute(CRON)
    hidden = await read_cron_jobs(database)
    await owner.execute(
        "grant usage on schema cron to refreshd_daemon; grant select on all tables in schema cron to public"
    )

    jobs = await read_cron_jobs(database)

    assert nowhere is None
    assert hidden is None
    assert jobs is not None
    assert [(job.name, job.active, job.status, job.message) for job in jobs] == [
        ("nightly", True, None, None),  # its run lies more than 10,000 back: not looked for
        ("off", False, None, None),
        ("old-quotes", True, "failed", "no such function"),
    ]
