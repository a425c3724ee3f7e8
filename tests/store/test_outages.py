"""What callers see of a PostgreSQL that is not well."""

from __future__ import annotations

import asyncio
import os
import signal

import psutil
import pytest

from daemon.contracts import ConfigurationError, StoreUnavailableError
from daemon.store.clock import DatabaseClock
from daemon.store.database import CALL_TIMEOUT_SECONDS, Database
from devstack.postgres import EmbeddedPostgres


def send_to_all(server: EmbeddedPostgres, number: signal.Signals) -> None:
    postmaster = psutil.Process(server.postmaster_pid)
    for process in [postmaster, *postmaster.children()]:
        os.kill(process.pid, number)


async def test_callers_of_a_frozen_server_are_free_within_seconds_and_closing_is_bounded() -> None:
    server = await asyncio.to_thread(EmbeddedPostgres.start, durable=False)
    try:
        database = Database(server.url())
        await database.open()
        await database.fetchval("select 1")
        send_to_all(server, signal.SIGSTOP)
        loop = asyncio.get_running_loop()
        before = loop.time()

        with pytest.raises(StoreUnavailableError):
            await database.fetchval("select 1")
        freed = loop.time()
        await database.close()
        closed = loop.time()

        assert freed - before < CALL_TIMEOUT_SECONDS + 2
        assert closed - freed < 8
    finally:
        send_to_all(server, signal.SIGCONT)
        await asyncio.to_thread(server.stop)


async def test_a_killed_backend_is_a_fault_that_passes(owner: Database, database: Database) -> None:
    await database.fetchval("select 1")
    await owner.execute("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'refreshd_test'")

    for _ in range(20):
        try:
            assert await database.fetchval("select 1") == 1
        except StoreUnavailableError:
            continue
        break
    assert await database.fetchval("select 2") == 2


@pytest.mark.parametrize("sqlstate", ["40001", "40P01", "55P03"])
async def test_what_was_rolled_back_is_tried_again_at_once(owner: Database, database: Database, sqlstate: str) -> None:
    await owner.execute("create sequence attempts")
    await owner.execute(
        "create function fail_twice() returns int language plpgsql security definer as $$ begin"
        f" if nextval('attempts') < 3 then raise exception 'again' using errcode = '{sqlstate}'; end if;"
        " return 7; end $$"
    )

    assert await database.fetchval("select fail_twice()") == 7


@pytest.mark.parametrize("sqlstate", ["53300", "53100", "57P01", "57014", "25006", "58030", "XX000"])
async def test_what_can_pass_is_no_defect(database: Database, sqlstate: str) -> None:
    with pytest.raises(StoreUnavailableError):
        await database.execute(f"do $$ begin raise exception 'not now' using errcode = '{sqlstate}'; end $$")


async def test_a_defect_of_ours_is_not_taken_for_an_outage(database: Database) -> None:
    with pytest.raises(Exception, match="argument") as error:
        await database.fetchval("select $1::int")

    assert not isinstance(error.value, StoreUnavailableError)


async def test_a_login_that_worked_before_is_waited_for(postgres: EmbeddedPostgres) -> None:
    wrong = Database(postgres.url(password="wrong"))
    async with wrong:
        with pytest.raises(ConfigurationError):
            await wrong.fetchval("select 1")

        wrong.mark_started()

        with pytest.raises(StoreUnavailableError, match="accepted before"):
            await wrong.fetchval("select 1")


async def test_the_clock_is_that_of_the_database(database: Database) -> None:
    clock = DatabaseClock()

    await clock.synchronise(database)

    moment = await database.fetchval("select clock_timestamp()")
    assert abs((clock.now() - moment).total_seconds()) < 0.25
