"""Nothing is left in the session: behind a pooler in transaction mode it belongs to somebody else a moment later."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from daemon.store.database import Connection, Database
from devstack.pooler import Pooler, find_pooler
from devstack.postgres import SUPERUSER, EmbeddedPostgres
from tests.databases import LOGIN, LOGIN_PASSWORD, TestDatabase
from tests.needs import require
from tests.rows import make_ready, queue
from tests.store.test_queue import QUOTE

ADVISORY = "select count(*) from pg_locks where locktype = 'advisory'"
SINGLE_FLIGHT = {
    "select check_and_queue_stale_data_from_presence_v2()": "active_subscriptions_v2",
    "select queue_scheduled_refreshes_v2()": "data_type_state_v2",
    "select * from invoke_processor_loop_v2()": "api_data_usage_v2",
}


@pytest.fixture
async def narrow(postgres: EmbeddedPostgres, urls: TestDatabase) -> AsyncIterator[Database]:
    """The daemon's connections through a pooler that has one server connection for all of them."""
    require("pgbouncer", found=find_pooler(), hint="apt-get install pgbouncer")
    with Pooler(postgres, {SUPERUSER: postgres.password, LOGIN: LOGIN_PASSWORD}, pool_size=1) as pooler:
        async with Database(pooler.through(urls.daemon_url), max_connections=8) as database:
            yield database


@pytest.mark.direct
@pytest.mark.parametrize(("call", "table"), SINGLE_FLIGHT.items())
async def test_a_turn_that_is_cut_off_leaves_no_lock_behind_on_the_shared_connection(
    owner: Database, narrow: Database, urls: TestDatabase, call: str, table: str
) -> None:
    await make_ready(owner)
    await owner.execute("update data_type_state_v2 set next_scheduled_at = now()")
    await owner.execute(
        "insert into api_data_usage_v2 (upstream, holder, reserved_at, settled_at, calls, bytes)"
        " values ('fmp', 'x', now() - interval '1 h', now(), 1, 1)"
    )
    blocker = await asyncpg.connect(urls.owner_url)

    async def cut_off(connection: Connection) -> None:
        await connection.execute("set local statement_timeout = '100 ms'")
        await connection.fetch(call)

    async with blocker.transaction():
        await blocker.execute(f"lock table {table} in access exclusive mode")
        with pytest.raises(asyncpg.QueryCanceledError):
            await _once(narrow, cut_off)
    await blocker.close()

    assert await owner.fetchval(ADVISORY) == 0
    assert await narrow.fetchval("show statement_timeout") == "0"
    await asyncio.wait_for(narrow.fetch(call), 30)


async def _once(database: Database, work: object) -> None:
    """Run work in a transaction through the pooler, with the error as PostgreSQL gave it."""
    assert database._pool is not None
    async with database._pool.acquire() as connection, connection.transaction():
        await work(connection)  # type: ignore[operator]


@pytest.mark.direct
async def test_what_functions_set_for_themselves_is_not_found_by_the_next_client(
    owner: Database, narrow: Database
) -> None:
    await make_ready(owner)
    await queue(owner, QUOTE)

    await narrow.fetch("select * from get_queue_batch_v2(1, 'a/1')")
    await narrow.fetch("select maintain_queue_partitions_v2()")

    names = ("enable_seqscan", "enable_nestloop", "plan_cache_mode", "lock_timeout", "search_path")
    assert [await narrow.fetchval(f"show {name}") for name in names] == ["on", "on", "auto", "0", '"$user", public']


@pytest.mark.direct
async def test_many_clients_of_one_server_connection_disturb_each_other_in_nothing(
    owner: Database, narrow: Database
) -> None:
    symbols = [f"S{number}" for number in range(80)]
    await make_ready(owner, symbols)

    async def work(number: int) -> int:
        mine = symbols[number * 10 : number * 10 + 10]
        await narrow.fetch("select * from queue_refreshes_v2($1, $2, $3)", mine, ["profile"] * 10, [1] * 10)
        return len(await narrow.fetch("select * from get_queue_batch_v2(10, $1)", f"w{number}/1"))

    assert sum(await asyncio.gather(*(work(number) for number in range(8)))) == 80
