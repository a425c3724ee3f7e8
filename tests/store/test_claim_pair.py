"""One pair claimed by order of an operator: its own job or a new one, beside the daemons that claim as well."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from random import Random

import asyncpg
import pytest

from daemon.contracts import Pair
from daemon.store.database import Database
from daemon.store.flags import set_flags
from daemon.store.queue import Effect, apply_effect, claim_jobs, claim_pair
from tests.databases import TestDatabase
from tests.rows import HOLDER, counts, make_ready, orphans, queue
from tests.store.test_concurrency import Connection, at_once, claim, complete, connected
from tests.store.test_queue import QUOTE, completion

OPERATOR = "test/fetch"
SYMBOLS = [f"SYM{number}" for number in range(20)]


def now() -> datetime:
    return datetime.now(UTC)


async def test_a_pair_without_a_job_gets_one_whatever_its_flag_says(owner: Database, database: Database) -> None:
    await make_ready(owner)
    await set_flags(owner, ["migrate_quote_type", "use_queue_system"], enabled=False)

    job = await claim_pair(database, QUOTE, OPERATOR, now())

    assert job is not None
    assert (job.pair, job.fetcher, job.ttl_seconds, job.priority) == (QUOTE, "quote", 60.0, 0)
    assert await counts(owner) == {"processing": 1}
    assert await orphans(owner) == 0


async def test_the_job_that_waits_for_the_pair_is_the_one_that_is_claimed(owner: Database, database: Database) -> None:
    await make_ready(owner)
    [waiting, _] = await queue(owner, QUOTE, Pair("MSFT", "quote"), priority=7)

    job = await claim_pair(database, QUOTE, OPERATOR, now())

    assert job is not None
    assert (job.id, job.priority) == (waiting, 7)
    assert await counts(owner) == {"processing": 1, "pending": 1}
    assert await orphans(owner) == 0


async def test_a_pair_that_somebody_refreshes_is_left_to_them(owner: Database, database: Database) -> None:
    await make_ready(owner)
    await queue(owner, QUOTE)
    [theirs] = await claim_jobs(database, 1, HOLDER, 30)

    assert await claim_pair(database, QUOTE, OPERATOR, now()) is None

    applied = await apply_effect(database, Effect([completion(theirs)]))
    assert applied.verdicts == {theirs.id: "completed"}


async def test_an_answer_older_than_the_last_check_takes_no_job(owner: Database, database: Database) -> None:
    await make_ready(owner)
    asked_at = now() - timedelta(minutes=1)
    job = await claim_pair(database, QUOTE, OPERATOR, now())
    assert job is not None
    await apply_effect(database, Effect([completion(job)]))

    assert await claim_pair(database, QUOTE, OPERATOR, asked_at) is None
    assert await claim_pair(database, QUOTE, OPERATOR, now() + timedelta(minutes=1)) is not None


async def test_what_may_not_be_queued_may_not_be_claimed(owner: Database, database: Database) -> None:
    await make_ready(owner)

    for pair in (Pair("NONE", "quote"), Pair("AAPL", "nothing"), Pair("AAPL", "available-exchanges")):
        with pytest.raises(asyncpg.InvalidParameterValueError, match="cannot claim"):
            await claim_pair(database, pair, OPERATOR, now())

    assert await claim_pair(database, Pair("GLOBAL", "available-exchanges"), OPERATOR, now()) is not None


async def test_a_claim_that_is_never_finished_becomes_an_ordinary_job(owner: Database, database: Database) -> None:
    await make_ready(owner)
    job = await claim_pair(database, QUOTE, OPERATOR, now())
    assert job is not None
    await owner.execute("update api_call_queue_v2_processing set lease_expires_at = now() - interval '1 s'")

    await owner.execute("select recover_stuck_jobs_v2()")

    assert await counts(owner) == {"pending": 1}
    assert [again.id for again in await claim_jobs(database, 1, HOLDER, 30)] == [job.id]


@pytest.fixture
async def crowd(urls: TestDatabase) -> AsyncIterator[list[Connection]]:
    """Eight connections of the daemon's role."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(connected(urls.daemon_url)) for _ in range(8)]


@pytest.mark.direct
async def test_operators_beside_daemons_deadlock_nowhere_and_make_no_twins(
    owner: Database, crowd: list[Connection]
) -> None:
    await make_ready(owner, SYMBOLS)
    random = Random(3)

    async def enqueue(connection: Connection) -> None:
        symbols = random.choices(SYMBOLS, k=20)
        await connection.fetch(
            "select * from queue_refreshes_v2($1, $2, $3)", symbols, ["quote"] * 20, [random.randint(1, 9)] * 20
        )

    async def work(connection: Connection) -> None:
        await complete(connection, await claim(connection))

    async def order(connection: Connection) -> None:
        jobs = await connection.fetch(
            "select * from claim_pair_v2($1, 'quote', 'test/fetch', now() + interval '1 h')", random.choice(SYMBOLS)
        )
        await complete(connection, jobs)

    errors = await at_once(crowd, enqueue, work, order, order, turns=60)

    assert errors == {}
    assert await orphans(owner) == 0
