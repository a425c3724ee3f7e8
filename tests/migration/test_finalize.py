"""The end of the suffix: everything is renamed in one transaction, and whoever works goes on."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import asyncpg
import pytest

from daemon.store.database import Database
from daemon.store.execution import connected
from daemon.store.finalize import Ending, FinalizeError, finalize
from daemon.store.flags import list_flags, read_flags, set_flags
from daemon.store.migrate import _Runner, check_version, migrate
from daemon.store.moves import read_journal
from daemon.store.names import Names, connection_class, renamed
from daemon.store.plan import plan, read_status
from daemon.store.schema import LATEST_VERSION, SqlFile, load_schema
from devstack.postgres import EmbeddedPostgres
from devstack.snapshot import describe
from tests.databases import TestDatabase, database_of
from tests.migration.stage import GLOBAL_FLAGS, Moving
from tests.rows import HOLDER, queue
from tests.store.test_queue import QUOTE

SCHEMA = load_schema()
SUFFIXED = """
select relname::text as name from pg_class where relnamespace = 'public'::regnamespace and relname ~ '_v2'
union all select proname from pg_proc where pronamespace = 'public'::regnamespace and proname ~ '_v2'
union all select conname from pg_constraint where connamespace = 'public'::regnamespace and conname ~ '_v2'
union all select tgname from pg_trigger where tgname ~ '_v2' and not tgisinternal
union all select typname from pg_type where typnamespace = 'public'::regnamespace and typname ~ '_v2'
union all select polname from pg_policy where polname ~ '_v2'
"""


async def end(stage: Moving, *, set_aside: bool = False) -> None:
    """Finalize."""
    await finalize(stage.urls.owner_url, SCHEMA, Ending("ada", "a test", set_aside=set_aside))


class NoSuffix(Names):
    """Names that never had one."""

    async def look(self, connection: Any) -> None:
        """Know it already."""
        assert connection is not None
        self.suffix = ""


async def described(url: str) -> str:
    connection = await asyncpg.connect(url)
    try:
        return await describe(connection)
    finally:
        await connection.close()


async def move_all(stage: Moving) -> None:
    """Move every type over, and finish it."""
    rows = await stage.owner.fetch("select data_type from data_type_registry_v2")
    for row in rows:
        await stage.start(row["data_type"])
        await stage.steps().finish(row["data_type"], [])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("select * from api_call_queue_v2_pending", "select * from api_call_queue_pending"),
        ("queue_refreshes_v2($1)", "queue_refreshes($1)"),
        ("'_v2$'", "'_v2$'"),
        ("a_v2x a_v21 A_v2", "a_v2x a_v21 A"),
        ("track-subscription-v2", "track-subscription-v2"),
    ],
)
def test_a_name_loses_its_suffix_wherever_it_stands(text: str, expected: str) -> None:
    assert renamed(text) == expected


async def test_a_finalized_database_is_what_one_without_the_suffix_would_have_been_from_the_start(
    stage: Moving, postgres: EmbeddedPostgres
) -> None:
    async with database_of(postgres, "template0") as fresh:
        connection = await asyncpg.connect(fresh.owner_url, connection_class=connection_class(NoSuffix()))
        await _Runner(connection, SCHEMA, 10).run(daemon_url=None, create_roles=True)
        await connection.close()
        expected = await described(fresh.owner_url)

    await end(stage)

    assert await described(stage.urls.owner_url) == expected


async def test_no_name_has_the_suffix_afterwards(stage: Moving) -> None:
    before = await stage.owner.fetch(SUFFIXED)

    await end(stage)

    assert len(before) > 200
    assert [row["name"] for row in await stage.owner.fetch(SUFFIXED)] == []


async def test_a_dry_run_says_all_of_it_and_changes_nothing(stage: Moving) -> None:
    await move_all(stage)
    before = await described(stage.urls.owner_url)

    said = await finalize(stage.urls.owner_url, SCHEMA, Ending(is_dry=True))

    assert await described(stage.urls.owner_url) == before
    assert {each.before for each in said.renamings} >= {"api_call_queue_v2_pending", "store_rows_v2", "viewers_v2"}
    assert len(said.flags) == len(said.old_jobs) == 11
    assert said.obstacles == ()


async def test_whoever_works_meanwhile_goes_on_under_the_new_names(stage: Moving) -> None:
    """A pool that knows the old names learns the new ones from its first error, in and outside of transactions."""
    await move_all(stage)
    async with Database(stage.urls.daemon_url, max_connections=8) as daemon:
        ended = asyncio.Event()

        async def work() -> None:
            turns_after = 0
            while turns_after < 5:
                turns_after += ended.is_set()
                assert len(await queue(daemon, QUOTE)) == 1
                rows = await daemon.in_transaction(
                    lambda connection: connection.fetch("select * from get_queue_batch_v2(1, $1)", HOLDER)
                )
                for row in rows:
                    await daemon.fetchval("select release_jobs_v2(array[$1::uuid])", row["lease_id"])

        async with asyncio.TaskGroup() as group:
            for _ in range(3):
                group.create_task(work())
            await end(stage)
            ended.set()
        assert await check_version(daemon) == LATEST_VERSION
    assert {row.name for row in await list_flags(stage.database)} == set(GLOBAL_FLAGS)


async def test_a_transaction_that_holds_a_lock_is_waited_for_and_one_that_does_not_end_is_told(
    stage: Moving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daemon.store.finalize.LOCK_SECONDS", 0.1)
    monkeypatch.setattr("daemon.store.finalize._TRIES", 3)
    holder = await asyncpg.connect(stage.urls.owner_url)
    transaction = holder.transaction()
    await transaction.start()
    await holder.execute("select from refresh_state_v2")

    with pytest.raises(FinalizeError, match=r"nothing was changed: somebody held a lock.*pg_stat_activity"):
        await end(stage)
    await transaction.rollback()
    await holder.close()

    assert await stage.owner.fetch(SUFFIXED)
    await end(stage)


async def test_a_job_that_was_resumed_stays_whatever_becomes_of_the_other_types(stage: Moving) -> None:
    await stage.start("profile")
    await stage.roll_back("profile")

    await finalize(stage.urls.owner_url, SCHEMA, Ending("ada", required=["profile"], left=["profile"]))

    assert "refresh-profile" in await stage.active_jobs()


@pytest.mark.parametrize("phase", ["watched", "rolling_back", "resuming", "pausing"])
async def test_a_type_that_is_on_its_way_is_in_the_way_even_if_it_shall_be_left(stage: Moving, phase: str) -> None:
    await stage.start("profile")
    await stage.database.execute("update migration_phases_v2 set phase = $1", phase)
    await set_flags(stage.database, ["migrate_profile_type"], enabled=False)

    with pytest.raises(FinalizeError, match=f"not finished: profile .{phase.replace('_', ' ')}."):
        await finalize(stage.urls.owner_url, SCHEMA, Ending("ada", left=["profile"]))

    assert await stage.owner.fetch(SUFFIXED)


async def test_a_finished_type_that_was_turned_off_stays_off(stage: Moving) -> None:
    await move_all(stage)
    await set_flags(stage.database, ["migrate_quote_type"], enabled=False)

    await end(stage)

    assert not await stage.is_claimable("quote")
    assert await stage.is_claimable("profile")


async def test_two_ends_at_once_are_one_and_the_other_is_told(stage: Moving) -> None:
    answers = await asyncio.gather(end(stage), end(stage), return_exceptions=True)

    (refusal,) = [answer for answer in answers if answer is not None]
    assert str(refusal) == "the migration is finalized already"


async def test_a_run_of_migrate_that_waited_for_the_end_applies_new_migrations_under_the_new_names(
    stage: Moving,
) -> None:
    later = SqlFile(f"{LATEST_VERSION + 1:04}_later", "create table later_v2 (id int primary key);")
    schema = replace(SCHEMA, migrations=(*SCHEMA.migrations, later))
    blocker = await asyncpg.connect(stage.urls.owner_url)
    transaction = blocker.transaction()
    await transaction.start()
    await blocker.execute("select pg_advisory_xact_lock(45)")
    running = asyncio.create_task(migrate(stage.urls.owner_url, schema))
    waits = "select exists (select from pg_locks where locktype = 'advisory' and not granted)"
    while not await stage.database.fetchval(waits):
        assert not running.done()
    await blocker.execute("alter table leases_v2 rename to leases")  # as the end would, as far as this test goes
    await blocker.execute("update refreshd_names set suffix = ''")
    await transaction.commit()
    await blocker.close()

    with pytest.raises(Exception, match="does not exist"):  # what the other objects are called was not changed here
        await running
    assert await stage.owner.fetchval("select to_regclass('later_v2') is null")
    assert await stage.owner.fetchval("select to_regclass('later') is not null")


async def test_functions_of_others_that_name_what_is_renamed_are_told(stage: Moving) -> None:
    await stage.database.execute(
        "create function theirs() returns bigint language sql return (select count(*) from leases_v2)"
    )
    connection = await asyncpg.connect(stage.urls.owner_url)
    await connection.execute(
        "create function old_way() returns bigint language sql as 'select count(*) from leases_v2'"
    )
    await connection.close()

    plan = await finalize(stage.urls.owner_url, SCHEMA, Ending(is_dry=True))

    assert plan.foreign == ("old_way()",)


async def test_a_job_of_another_database_is_left_alone(stage: Moving) -> None:
    connection = await asyncpg.connect(stage.urls.owner_url)
    await connection.execute(
        "insert into cron.job (jobname, schedule, command, database)"
        " values ('staging', '* * * * *', 'select queue_refreshes_v2()', 'staging')"
    )

    await end(stage)

    command = await connection.fetchval("select command from cron.job where jobname = 'staging'")
    await connection.close()
    assert command == "select queue_refreshes_v2()"


async def test_flags_of_moved_types_are_gone_and_the_types_are_on(stage: Moving) -> None:
    await move_all(stage)

    await end(stage)

    assert {row.name for row in await list_flags(stage.database)} == set(GLOBAL_FLAGS)
    flags = await read_flags(stage.database)
    assert set(flags.types.values()) == {True}
    assert await stage.is_claimable("quote")


async def test_a_moved_type_can_still_be_turned_off_and_on(stage: Moving) -> None:
    await move_all(stage)
    await end(stage)

    assert await set_flags(stage.database, ["migrate_quote_type"], enabled=False) == ["migrate_quote_type"]
    off = await stage.is_claimable("quote")
    await set_flags(stage.database, ["migrate_quote_type"], enabled=True)

    assert (off, await stage.is_claimable("quote")) == (False, True)


async def test_neither_a_changed_registry_nor_a_later_run_brings_a_flag_back_and_turns_a_type_off(
    stage: Moving,
) -> None:
    await move_all(stage)
    await end(stage)

    await stage.database.execute("update data_type_registry_v2 set default_ttl_minutes = 2 where data_type = 'quote'")
    await migrate(stage.urls.owner_url, SCHEMA)

    assert await stage.is_claimable("quote")
    assert "migrate_quote_type" not in {row.name for row in await list_flags(stage.database)}


async def test_a_type_that_comes_later_is_off_until_it_is_turned_on(stage: Moving) -> None:
    await move_all(stage)
    await end(stage)
    await stage.database.execute("create table price_targets (symbol text primary key, fetched_at timestamptz);")
    await stage.database.execute(
        "insert into data_type_registry_v2 (data_type, table_name, timestamp_column, staleness_function,"
        " default_ttl_minutes, edge_function_name, key_columns)"
        " values ('price-target', 'price_targets', 'fetched_at', 'is_data_stale_v2', 5, 'price-target', '{symbol}')"
    )

    before = await stage.is_claimable("price-target")
    await set_flags(stage.database, ["migrate_price_target_type"], enabled=True)

    assert (before, await stage.is_claimable("price-target")) == (False, True)


async def test_a_later_migration_is_applied_under_the_new_names_and_the_ledger_keeps_the_released_text(
    stage: Moving,
) -> None:
    await end(stage)
    later = SqlFile(
        f"{LATEST_VERSION + 1:04}_later",
        "create table later_v2 (id int primary key);\nalter table leases_v2 add x int;",
    )
    schema = replace(SCHEMA, migrations=(*SCHEMA.migrations, later))

    report = await migrate(stage.urls.owner_url, schema)

    assert report.applied == (later.name,)
    assert await stage.owner.fetchval("select to_regclass('public.later') is not null")
    assert await stage.owner.fetchval("select checksum from refreshd_migrations order by version desc limit 1") == (
        later.checksum
    )
    status = await read_status(stage.urls.owner_url, schema)
    assert all(entry.verdict == "as released" for entry in status.migrations)


async def test_a_later_run_with_the_same_version_changes_nothing(stage: Moving) -> None:
    await end(stage)
    before = await described(stage.urls.owner_url)

    steps = await plan(stage.urls.owner_url, SCHEMA)
    await migrate(stage.urls.owner_url, SCHEMA)

    assert steps == ("declare triggers, seeds and access again",)
    assert await described(stage.urls.owner_url) == before


async def test_what_has_one_of_the_names_is_told_with_what_would_set_it_aside(stage: Moving) -> None:
    await stage.database.execute("create table active_subscriptions (id int primary key)")
    await stage.database.execute(
        "create function is_data_stale(timestamptz, int) returns boolean language sql return true"
    )
    before = await described(stage.urls.owner_url)

    with pytest.raises(FinalizeError) as caught:
        await end(stage)

    assert "3 of the names are taken" in str(caught.value)
    assert "rename to active_subscriptions_pkey_old;" in str(caught.value)
    assert "alter table public.active_subscriptions rename to active_subscriptions_old;" in str(caught.value)
    assert "rename to is_data_stale_old;" in str(caught.value)
    assert await described(stage.urls.owner_url) == before

    await end(stage, set_aside=True)
    assert await stage.owner.fetchval("select count(*) from active_subscriptions_old") == 0
    assert await stage.owner.fetchval("select is_data_stale_old(now(), 1)")


async def test_objects_of_others_keep_their_suffix_and_their_grants(stage: Moving) -> None:
    await stage.database.execute("create table theirs_v2 (id int)")
    await stage.database.execute("create function theirs_too_v2() returns int language sql return 1")
    await stage.database.execute("grant select on theirs_v2 to anon")

    await end(stage)
    await migrate(stage.urls.owner_url, SCHEMA)

    connection = await asyncpg.connect(stage.urls.owner_url)
    assert await connection.fetchval("select theirs_too_v2()") == 1
    assert await connection.fetchval("select has_table_privilege('anon', 'theirs_v2', 'select')")
    assert await connection.fetchval("select has_function_privilege('anon', 'theirs_too_v2()', 'execute')")
    await connection.close()


async def test_old_jobs_go_and_jobs_that_call_renamed_functions_call_them_by_their_new_names(stage: Moving) -> None:
    await stage.database.execute(
        "select cron.schedule('sweep', '* * * * *', 'select check_and_queue_stale_data_from' || '_presence_v2()')"
    )
    await stage.database.execute("select cron.schedule('other', '* * * * *', 'select theirs' || '_v2(), 1')")
    await stage.start("quote")
    await stage.steps().finish("quote", [])

    await end(stage)

    jobs = {row["jobname"]: row["command"] for row in await stage.owner.fetch("select jobname, command from cron.job")}
    assert jobs["sweep"] == "select check_and_queue_stale_data_from_presence()"
    assert jobs["other"].startswith("select theirs_")
    assert jobs["other"].endswith("v2(), 1")
    assert "refresh-quote" not in jobs
    assert "refresh-profile" in jobs


async def test_the_journal_is_kept_and_nothing_moves_any_more(stage: Moving) -> None:
    await stage.start("quote")
    await stage.steps().finish("quote", [])
    await end(stage)

    async with connected(stage.urls.owner_url) as connection:
        assert connection.names.suffix == ""
    assert [entry.step for entry in await read_journal(stage.database)] == ["finalized", "finished", "started"]
    with pytest.raises(Exception, match="the migration is finalized: nothing moves any more"):
        await stage.database.fetchval("select begin_move_v2('profile', 'ada', '', null, '[]', 0)")


async def test_a_restored_older_database_is_understood_again(stage: Moving) -> None:
    """The names are learnt in either direction: after a restore from before, a daemon that runs goes on, too."""
    async with Database(stage.urls.owner_url) as database:
        await end(stage)
        await database.fetch("select from leases_v2")
        connection = await asyncpg.connect(stage.urls.owner_url)
        await connection.execute("alter table leases rename to leases_v2")
        await connection.execute("update refreshd_names set suffix = '_v' || '2'")
        await connection.close()

        assert await database.fetch("select from leases_v2") == []


async def test_a_schema_without_names_is_the_one_with_the_suffix(urls: TestDatabase) -> None:
    async with Database(urls.owner_url) as database:
        with pytest.raises(asyncpg.UndefinedTableError):
            await database.fetch("select from no_such_table_v2")
        assert await database.fetchval("select count(*) from leases_v2") == 0
