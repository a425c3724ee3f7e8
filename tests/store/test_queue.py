"""The queue on a real server: claims are leases, every end happens once, and one pair has one open job."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from daemon.contracts import Job, Lane, Outcome, Pair
from daemon.store.budgets import (
    Limits,
    LimitsInForce,
    Settlement,
    announce_limits,
    pause_upstream,
    read_limits,
    reserve_call,
    retire_instance,
    trip_breaker,
)
from daemon.store.database import Database
from daemon.store.demand import PairDemand, queue_stale_pairs, read_due_times, sweep
from daemon.store.flags import set_flags
from daemon.store.queue import (
    Completion,
    Effect,
    Failure,
    apply_effect,
    claim_jobs,
    recover_own_jobs,
    release_jobs,
    renew_leases,
)
from tests.rows import HOLDER, counts, make_ready, orphans, queue

QUOTE = Pair("AAPL", "quote")
PROFILE = Pair("AAPL", "profile")


def completion(
    job: Job, *, outcome: Outcome = Outcome.CHANGED, due_in_seconds: float = 55, **rest: object
) -> Completion:
    now = datetime.now(UTC)
    made = Completion(
        job,
        outcome,
        fresh_until=now + timedelta(seconds=60),
        next_due_at=now + timedelta(seconds=due_in_seconds),
        received_bytes=1000,
        due_if_refused=now + timedelta(minutes=15),
        rows=[{"symbol": job.symbol, "price": 1.5}] if job.pair.data_type == "quote" else [],
    )
    return replace(made, **rest)  # type: ignore[arg-type]


def failure(job: Job, *, retryable: bool = True) -> Failure:
    return Failure(job, "timeout: test", retryable, datetime.now(UTC) + timedelta(minutes=15), retry_after_seconds=0)


async def test_queueing_the_same_pairs_from_sixteen_connections_at_once_opens_one_job_each(
    owner: Database, database: Database
) -> None:
    symbols = [f"S{number}" for number in range(50)]
    await make_ready(owner, symbols)
    demands = [PairDemand(Pair(symbol, "quote"), 1, 60.0) for symbol in symbols]

    new = await asyncio.gather(*(queue_stale_pairs(database, demands[::step]) for step in (1, -1) * 8))

    assert sum(new) == 50
    assert await counts(owner) == {"pending": 50}
    assert await orphans(owner) == 0


async def test_many_claimers_share_no_job_and_leave_none(owner: Database, database: Database) -> None:
    symbols = [f"S{number}" for number in range(200)]
    await make_ready(owner, symbols)
    await queue(owner, *(Pair(symbol, "profile") for symbol in symbols))

    async def claim_all(holder: str) -> list[Job]:
        mine: list[Job] = []
        while claimed := await claim_jobs(database, 7, holder, 30):
            mine += claimed
        return mine

    claimed = await asyncio.gather(*(claim_all(f"worker{number}/1") for number in range(8)))
    while rest := await claim_jobs(database, 50, HOLDER, 30):
        claimed.append(rest)

    ids = Counter(job.id for jobs in claimed for job in jobs)
    assert len(ids) == 200
    assert set(ids.values()) == {1}


async def test_a_viewed_job_goes_before_scheduled_work_and_more_viewers_before_fewer(
    owner: Database, database: Database
) -> None:
    await make_ready(owner, ["A", "B", "C"])
    await queue(owner, Pair("A", "profile"), priority=-1)
    await queue(owner, Pair("B", "profile"), priority=1)
    await queue(owner, Pair("C", "profile"), priority=5)

    viewed = await claim_jobs(database, 10, HOLDER, 30)
    scheduled = await claim_jobs(database, 10, HOLDER, 30)

    assert [job.symbol for job in viewed] == ["C", "B"]
    assert [(job.symbol, job.lane) for job in scheduled] == [("A", Lane.SCHEDULED)]


async def test_a_batchable_type_fills_calls_and_others_take_one_each(owner: Database, database: Database) -> None:
    symbols = [f"S{number}" for number in range(150)]
    await make_ready(owner, symbols)
    await queue(owner, *(Pair(symbol, "quote") for symbol in symbols))

    one_call = await claim_jobs(database, 1, HOLDER, 30)

    assert len(one_call) == 100
    assert len(await claim_jobs(database, 1, HOLDER, 30)) == 50


async def test_a_claim_takes_no_more_calls_than_the_minute_has_left(owner: Database, database: Database) -> None:
    symbols = [f"S{number}" for number in range(10)]
    await make_ready(owner, symbols, calls=4)
    await queue(owner, *(Pair(symbol, "profile") for symbol in symbols))
    await reserve_call(database, "fmp", 1000, HOLDER)

    assert len(await claim_jobs(database, 10, HOLDER, 30)) == 3


async def test_a_large_job_that_does_not_fit_does_not_block_small_ones_behind_it(
    owner: Database, database: Database
) -> None:
    await make_ready(owner)
    await queue(owner, PROFILE, priority=9)
    await queue(owner, QUOTE, priority=1)
    await owner.execute(
        "update api_call_queue_v2_pending set estimated_data_size_bytes = 19e9::bigint + 1 where data_type = 'profile'"
    )

    assert [job.pair for job in await claim_jobs(database, 10, HOLDER, 30)] == [QUOTE]


@pytest.mark.parametrize("obstacle", ["use_queue_system", "migrate_quote_type", "pause", "breaker", "limits"])
async def test_nothing_is_claimed_against_an_obstacle(owner: Database, database: Database, obstacle: str) -> None:
    await make_ready(owner)
    await queue(owner, QUOTE)

    match obstacle:
        case "pause":
            await pause_upstream(database, "fmp", 60, "test")
        case "breaker":
            await trip_breaker(database, "fmp", "test", None, 30, 300)
        case "limits":
            await owner.execute("delete from upstream_limits_v2")
        case flag:
            await set_flags(owner, [flag], enabled=False)

    assert await claim_jobs(database, 10, HOLDER, 30) == []
    assert await counts(owner) == {"pending": 1}


async def test_a_lease_that_was_lost_changes_nothing(owner: Database, database: Database) -> None:
    await make_ready(owner)
    await queue(owner, QUOTE)
    [late] = await claim_jobs(database, 1, HOLDER, 30)
    await owner.execute("update api_call_queue_v2_processing set lease_expires_at = now() - interval '1 s'")
    assert await recover_own_jobs(database, HOLDER) == 1
    [current] = await claim_jobs(database, 1, "other/1", 30)

    applied = await apply_effect(database, Effect([completion(late)]))

    assert applied.verdicts == {late.id: "lost"}
    assert await owner.fetchval("select count(*) from live_quote_indicators") == 0
    assert await renew_leases(database, [late.lease_id, current.lease_id], 30) == {current.lease_id}
    assert (await apply_effect(database, Effect(failures=[failure(late)]))).verdicts == {late.id: "lost"}
    assert (await apply_effect(database, Effect(resets=[late]))).verdicts == {late.id: "lost"}
    assert (await apply_effect(database, Effect([completion(current)]))).verdicts == {current.id: "completed"}


async def test_an_effect_is_rows_completion_due_time_and_settlement_together(
    owner: Database, database: Database
) -> None:
    await make_ready(owner)
    await queue(owner, QUOTE)
    [job] = await claim_jobs(database, 1, HOLDER, 30)
    reservation = await reserve_call(database, "fmp", 5000, HOLDER)

    await apply_effect(database, Effect([completion(job)], settlements=[Settlement(reservation, 1, 1000)]))

    assert await owner.fetchval("select price from live_quote_indicators where symbol = 'AAPL'") == 1.5
    assert await counts(owner) == {"completed": 1}
    assert await owner.fetchval("select bytes_in_30_days from upstream_usage_v2('fmp')") == 1000
    [due] = await read_due_times(database, [QUOTE])
    assert 50 < due.due_in_seconds < 56
    assert not due.has_open_job


async def test_a_row_that_the_table_refuses_fails_its_own_job_alone(owner: Database, database: Database) -> None:
    await make_ready(owner, [f"S{number}" for number in range(5)])
    await queue(owner, *(Pair(f"S{number}", "quote") for number in range(5)))
    jobs = await claim_jobs(database, 1, HOLDER, 30)
    good = [completion(job) for job in jobs]
    bad = replace(good[2], rows=[{"symbol": good[2].job.symbol, "price": None}])

    applied = await apply_effect(database, Effect([*good[:2], bad, *good[3:]]))

    assert applied.verdicts[bad.job.id] == "failed"
    assert Counter(applied.verdicts.values()) == {"completed": 4, "failed": 1}
    assert await owner.fetchval("select count(*) from live_quote_indicators") == 4
    reason = await owner.fetchval("select error_message from api_call_queue_v2_failed")
    assert "null value" in reason
    assert reason.endswith("table live_quote_indicators; column price")
    assert good[2].job.symbol not in reason  # PostgreSQL would quote the whole row
    assert await orphans(owner) == 0


async def test_a_failing_job_is_tried_four_times_and_then_failed_with_a_due_time(
    owner: Database, database: Database
) -> None:
    await make_ready(owner)
    await queue(owner, QUOTE)

    verdicts: list[str] = []
    while jobs := await claim_jobs(database, 1, HOLDER, 30):
        applied = await apply_effect(database, Effect(failures=[failure(jobs[0])]))
        verdicts += applied.verdicts.values()
        await owner.execute("update api_call_queue_v2_pending set not_before = now()")

    assert verdicts == ["retry", "retry", "retry", "failed"]
    [due] = await read_due_times(database, [QUOTE])
    assert due.due_in_seconds > 800
    assert await queue_stale_pairs(database, [PairDemand(QUOTE, 1, 60)]) == 0


async def test_a_reset_charges_nothing_and_backs_off_after_the_third(owner: Database, database: Database) -> None:
    await make_ready(owner)
    await queue(owner, QUOTE)

    resets = 0
    while jobs := await claim_jobs(database, 1, HOLDER, 30):
        await apply_effect(database, Effect(resets=jobs))
        resets += 1
        assert resets < 50

    row = await owner.fetchrow("select resets, claims, retry_count, not_before > now() as waits from api_call_queue_v2")
    assert row is not None
    assert row["resets"] >= 4
    assert (row["claims"], row["retry_count"], row["waits"]) == (0, 0, True)


async def test_a_released_job_takes_its_claim_back(owner: Database, database: Database) -> None:
    await make_ready(owner)
    await queue(owner, QUOTE)
    jobs = await claim_jobs(database, 1, HOLDER, 30)

    assert await release_jobs(database, jobs) == 1
    assert await release_jobs(database, jobs) == 0

    assert await owner.fetchval("select claims from api_call_queue_v2_pending") == 0


async def test_an_older_boot_of_the_same_instance_is_recovered_at_once_and_nobody_else(
    owner: Database, database: Database
) -> None:
    await make_ready(owner)
    await queue(owner, QUOTE, PROFILE)
    await claim_jobs(database, 1, "one/old", 30)
    await claim_jobs(database, 1, "two/old", 30)

    assert await recover_own_jobs(database, "one/new") == 1

    assert await counts(owner) == {"pending": 1, "processing": 1}


async def test_a_job_that_is_claimed_ten_times_without_an_end_is_buried(owner: Database, database: Database) -> None:
    await make_ready(owner)
    await queue(owner, QUOTE)

    for life in range(10):
        assert len(await claim_jobs(database, 1, f"one/{life}", 30)) == 1
        assert await recover_own_jobs(database, f"one/{life + 1}") == 1

    assert await counts(owner) == {"failed": 1}
    assert await owner.fetchval("select retry_count from api_call_queue_v2_failed") == 0
    assert await orphans(owner) == 0


async def test_claims_completions_failures_recovery_and_sweeps_at_once_keep_every_rule(
    owner: Database, database: Database
) -> None:
    symbols = [f"S{number}" for number in range(30)]
    await make_ready(owner, symbols)
    pairs = [Pair(symbol, data_type) for symbol in symbols for data_type in ("quote", "profile")]
    await owner.fetch(
        "select refresh_analytics_from_presence_v2('viewers:0', $1, null)",
        [{"user_id": "user:1", "symbol": pair.symbol, "data_type": pair.data_type} for pair in pairs],
    )

    async def work(number: int) -> None:
        for turn in range(25):
            jobs = await claim_jobs(database, 3, f"w{number}/{turn % 3}", 1)
            middle = len(jobs) // 2
            await apply_effect(
                database,
                Effect(
                    [completion(job, due_in_seconds=-1) for job in jobs[:middle]],
                    [failure(job) for job in jobs[middle:-1]],
                    jobs[-1:] if middle else [],
                ),
            )
            if turn % 5 == number % 5:
                await recover_own_jobs(database, f"w{number}/{turn % 3}")

    async def produce() -> None:
        for _ in range(40):
            await sweep(database)
            await queue_stale_pairs(database, [PairDemand(pair, 2, 120) for pair in pairs])

    await asyncio.gather(*(work(number) for number in range(6)), produce(), produce())

    assert await orphans(owner) == 0
    assert await owner.fetchval("select count(*) from api_call_queue_v2_completed") > 0


async def test_after_every_outcome_the_next_sweep_queues_nothing(owner: Database, database: Database) -> None:
    await make_ready(owner)
    await owner.fetch(
        "select refresh_analytics_from_presence_v2('viewers:0', $1, null)",
        [{"user_id": "user:1", "symbol": "AAPL", "data_type": "quote"}],
    )
    assert await sweep(database) == 1

    for outcome in (Outcome.CHANGED, Outcome.UNCHANGED, Outcome.EMPTY, Outcome.REJECTED):
        [job] = await claim_jobs(database, 1, HOLDER, 30)
        await apply_effect(database, Effect([completion(job, outcome=outcome)]))
        assert await sweep(database) == 0
        await owner.execute("update refresh_state_v2 set next_due_at = now()")
        assert await sweep(database) == 1

    [job] = await claim_jobs(database, 1, HOLDER, 30)
    await apply_effect(database, Effect(failures=[failure(job, retryable=False)]))
    assert await sweep(database) == 0


async def test_a_sweep_frees_a_pair_whose_open_job_is_gone(owner: Database, database: Database) -> None:
    await make_ready(owner)
    await queue(owner, QUOTE)
    await owner.execute("update refresh_state_v2 set open_job_id = $1", uuid4())
    await owner.execute("delete from api_call_queue_v2_pending")

    await sweep(database)

    assert await orphans(owner) == 0


async def test_limits_of_two_instances_the_least_holds_and_the_difference_is_told(database: Database) -> None:
    many, few = Limits(300, 20_000_000_000), Limits(100, 20_000_000_000)
    assert not (await announce_limits(database, "fmp", "one", many)).differ

    assert await announce_limits(database, "fmp", "two", few) == LimitsInForce(few, differ=True)

    await retire_instance(database, "two")
    assert await read_limits(database, "fmp") == many
