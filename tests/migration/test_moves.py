"""The steps of a data type's way over and back, one at a time, on real rows."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from daemon.contracts import ConfigurationError
from daemon.migration import journey
from daemon.migration.journey import JourneyError
from daemon.migration.old_jobs import OldJobError
from daemon.store.moves import Begun, Steps, UnknownMoveError, read_journal
from daemon.store.owner import StepRefusedError, owner_connection
from tests.migration.stage import Moving, always, quiet
from tests.rows import HOLDER, orphans


async def claim(stage: Moving, number: int = 10) -> list[asyncpg.Record]:
    return await stage.database.fetch("select * from get_queue_batch_v2($1, $2)", number, HOLDER)


async def queue(stage: Moving, *symbols: str, data_type: str = "quote") -> None:
    types = [data_type] * len(symbols)
    await stage.database.fetch("select * from queue_refreshes_v2($1, $2, $3)", symbols, types, [1] * len(symbols))


async def complete(stage: Moving, job: asyncpg.Record, outcome: str = "changed") -> bool:
    sql = (
        "select complete_queue_job_v2($1, $2, $3, now() + interval '1 min', now() + interval '1 min', 100, null, 'tag')"
    )
    return bool(await stage.database.fetchval(sql, job["job_id"], job["lease_id"], outcome))


async def test_a_type_moves_over_with_its_job_paused_its_state_known_and_its_flag_on(stage: Moving) -> None:
    await stage.fill_quotes(["10 seconds", "1 hour"])
    await stage.record()

    symbols = await stage.start(baseline="before")

    move = await stage.move()
    assert (symbols, move.phase, move.baseline, move.symbols_at_start) == (2, "watched", "before", 2)
    assert (move.flag_is_on, move.flag_changed_by) == (True, "ada")
    assert "refresh-quote" not in await stage.active_jobs()
    assert len(await stage.active_jobs()) == 10
    fresh, stale = await stage.state("AAPL"), await stage.state("MSFT")
    now = datetime.now(UTC)
    assert fresh["next_due_at"] > now > stale["next_due_at"]
    assert await stage.is_claimable()


async def test_what_the_old_system_fetched_is_not_fetched_again_and_what_is_stale_is_queued_at_once(
    stage: Moving,
) -> None:
    await stage.fill_quotes(["10 seconds", "1 hour"])
    await stage.database.execute(
        "insert into active_subscriptions_v2 (user_id, symbol, data_type, source)"
        " values ('user:1', 'AAPL', 'quote', 's'), ('user:1', 'MSFT', 'quote', 's')"
    )

    await stage.start()

    jobs = await stage.owner.fetch("select symbol from api_call_queue_v2_pending")
    assert [row["symbol"] for row in jobs] == ["MSFT"]


async def test_a_state_from_before_is_replaced_where_the_old_system_has_fetched_since(stage: Moving) -> None:
    await stage.fill_quotes(["1 minute"])
    await stage.database.execute(
        "insert into refresh_state_v2 (symbol, data_type, last_success_at, fresh_until, next_due_at, etag,"
        " consecutive_failures, last_outcome)"
        " values ('AAPL', 'quote', now() - interval '1 day', now() - interval '1 day', now() + interval '1 day',"
        " 'an old tag', 7, 'failed'),"
        " ('MSFT', 'quote', now() + interval '1 second', now(), now(), 'a good tag', 0, 'changed')"
    )
    await stage.fill_quotes(["1 minute", "1 minute"])

    await stage.start()

    replaced, kept = await stage.state("AAPL"), await stage.state("MSFT")
    assert (replaced["etag"], replaced["consecutive_failures"], replaced["last_outcome"]) == (None, 0, None)
    assert replaced["last_success_at"] > datetime.now(UTC) - timedelta(minutes=2)
    assert kept["etag"] == "a good tag"


async def test_what_failed_before_a_type_went_back_is_tried_afresh_when_it_moves_again(stage: Moving) -> None:
    await stage.database.execute(
        "insert into refresh_state_v2 (symbol, data_type, next_due_at, consecutive_failures, last_outcome)"
        " values ('AAPL', 'quote', now() + interval '1 day', 7, 'failed'),"
        " ('MSFT', 'quote', now() + interval '1 day', 0, 'empty')"
    )

    await stage.start()

    failed, empty = await stage.state("AAPL"), await stage.state("MSFT")
    assert failed["next_due_at"] <= datetime.now(UTC) < empty["next_due_at"]
    assert (failed["consecutive_failures"], failed["last_outcome"]) == (0, None)


async def test_nothing_is_claimed_or_queued_while_a_run_of_the_old_job_may_go_on(stage: Moving) -> None:
    jobs = await stage.old_jobs("quote")
    begun = await stage.steps().begin("quote", None, jobs, 60)

    await queue(stage, "AAPL")
    held = (await stage.move()).is_held, await stage.is_claimable()
    await stage.steps().hold("quote", begun, 0)
    await queue(stage, "AAPL")

    assert held == (True, False)
    assert [job["symbol"] for job in await claim(stage)] == ["AAPL"]


async def test_whoever_started_a_type_before_it_went_back_does_not_let_it_go_when_it_is_held_again(
    stage: Moving,
) -> None:
    jobs = await stage.old_jobs("quote")
    first = await stage.steps("ada").begin("quote", None, jobs, 60)
    await stage.roll_back()
    await stage.steps("bob").begin("quote", None, jobs, 60)

    await stage.steps("ada").hold("quote", first, 0)

    assert ((await stage.move()).is_held, await stage.is_claimable()) == (True, False)


async def test_a_run_of_the_old_job_that_goes_on_is_waited_for(stage: Moving) -> None:
    (job,) = await stage.old_jobs("quote")
    run = await stage.owner.fetchval(
        "insert into cron.job_run_details (jobid, status, start_time) values ($1, 'running', now()) returning runid",
        job["cron_job"],
    )
    starting = asyncio.create_task(stage.start(hold_seconds=0.1))
    async with owner_connection(stage.urls.owner_url) as looker:
        while not await looker.fetchval("select exists (select from migration_phases_v2 where held_until > now())"):
            assert not starting.done()
        ends_at = asyncio.get_running_loop().time() + 5  # longer than the first hold lasts
        while asyncio.get_running_loop().time() < ends_at:
            assert not await looker.fetchval("select exists (select from enabled_data_types_v2)")
        sql = "update cron.job_run_details set status = 'succeeded', end_time = now() where runid = $1"
        await looker.fetchval(sql, run)

    await starting
    assert await stage.is_claimable()


async def test_a_type_goes_back_with_nothing_lost(stage: Moving) -> None:
    await stage.fill_quotes(["1 hour", "1 hour", "1 hour"])
    await stage.start()
    await queue(stage, "AAPL", "MSFT")
    done, waiting = await claim(stage)
    await complete(stage, done, "unchanged")
    await stage.database.execute("select release_jobs_v2(array[$1::uuid])", waiting["lease_id"])

    stamped = await stage.roll_back()

    rows = {
        row["symbol"]: row["age"]
        for row in await stage.owner.fetch("select symbol, now() - fetched_at as age from live_quote_indicators")
    }
    assert stamped == 1
    assert rows[done["symbol"]] < timedelta(minutes=1) < rows[waiting["symbol"]]
    assert rows["NVDA"] > timedelta(minutes=59)
    assert "refresh-quote" in await stage.active_jobs()
    assert (await stage.move()).phase == "rolled_back"
    assert not await stage.is_claimable()
    assert await stage.owner.fetchval("select count(*) from api_call_queue_v2_pending") == 0
    assert await orphans(stage.database) == 0


async def test_all_rows_of_a_symbol_and_of_a_global_type_are_stamped(stage: Moving) -> None:
    await stage.database.execute(
        "insert into dividend_history (symbol, date, fetched_at)"
        " select 'AAPL', d, now() - interval '1 year' from generate_series(date '2025-01-01', '2025-01-03', '1 day') d"
    )
    await stage.database.execute(
        "insert into available_exchanges (exchange, fetched_at)"
        " values ('ASX', now() - interval '1 year'), ('NYSE', now() - interval '1 year')"
    )
    for data_type, symbol in (("dividend-history", "AAPL"), ("available-exchanges", "GLOBAL")):
        await stage.start(data_type)
        await queue(stage, symbol, data_type=data_type)
    for job in await claim(stage):
        await complete(stage, job, "unchanged")

    assert await stage.roll_back("dividend-history") == 3
    assert await stage.roll_back("available-exchanges") == 2


async def test_going_back_waits_for_jobs_under_way_and_takes_what_no_worker_answers_for(stage: Moving) -> None:
    await stage.start()
    await queue(stage, "AAPL", "MSFT")
    working, frozen = await claim(stage)
    going_back = asyncio.create_task(stage.roll_back(drain_seconds=30))
    async with owner_connection(stage.urls.owner_url) as looker:
        while (
            await looker.fetchval("select phase from migration_phases_v2 where data_type = 'quote'") != "rolling_back"
        ):
            assert not going_back.done()
        still = await looker.fetchval("select count(*) from api_call_queue_v2_processing")
        active = await looker.fetchval("select active from cron.job where jobname = 'refresh-quote'")
        assert (still, active) == (2, False)
        assert await complete(stage, working)
        await looker.fetchval(
            "update api_call_queue_v2_processing set lease_expires_at = now() - interval '1 s' where id = $1",
            frozen["job_id"],
        )

    await going_back
    assert "refresh-quote" in await stage.active_jobs()
    assert not await complete(stage, frozen)
    assert await orphans(stage.database) == 0


async def test_going_back_gives_up_where_jobs_do_not_end_and_goes_on_when_it_is_asked_again(stage: Moving) -> None:
    await stage.start()
    await queue(stage, "AAPL")
    (job,) = await claim(stage)

    with pytest.raises(JourneyError, match=r"1 jobs of quote are still under way.*rollback quote"):
        await stage.roll_back(drain_seconds=0)
    between = (await stage.move()).phase, "refresh-quote" in await stage.active_jobs()
    await complete(stage, job)
    await stage.roll_back()

    assert between == ("rolling_back", False)
    assert (await stage.move()).phase == "rolled_back"


async def test_a_claim_that_saw_the_flag_on_is_waited_for(stage: Moving) -> None:
    """It has its jobs, and nobody else sees them before it commits: the step back must not overtake it."""
    await stage.start()
    await queue(stage, "AAPL")
    claimer = await asyncpg.connect(stage.urls.owner_url)
    transaction = claimer.transaction()
    await transaction.start()
    await claimer.execute("select from get_queue_batch_v2(1, 'slow/1')")

    going_back = asyncio.create_task(stage.roll_back(drain_seconds=0))
    async with owner_connection(stage.urls.owner_url) as looker:
        while await looker.fetchval("select phase from migration_phases_v2 where data_type = 'quote'") == "watched":
            assert not going_back.done()
        assert not await stage.is_claimable()
    await transaction.commit()
    await claimer.close()

    with pytest.raises(JourneyError, match="1 jobs of quote"):  # it is seen, not overlooked
        await going_back


async def test_whoever_reads_the_flags_for_long_keeps_no_type_from_going_off_at_once(
    stage: Moving, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as pg_dump: it is no claim, and is not waited for longer than one lasts."""
    monkeypatch.setattr("daemon.migration.journey.LONGEST_CLAIM_SECONDS", 0.5)
    await stage.start()
    reader = await asyncpg.connect(stage.urls.owner_url)
    transaction = reader.transaction()
    await transaction.start()
    await reader.execute("select from feature_flags")

    await stage.roll_back()

    await transaction.rollback()
    await reader.close()
    assert "refresh-quote" in await stage.active_jobs()


async def test_a_job_that_was_not_active_is_not_woken_by_going_back(stage: Moving) -> None:
    await stage.owner.fetchval(
        "select cron.alter_job(job_id := jobid, active := false) from cron.job where jobname = 'refresh-quote'"
    )

    told: list[str] = []
    await stage.start()
    await journey.roll_back(stage.steps(), "quote", tell=told.append, confirm=always)

    assert "refresh-quote" not in await stage.active_jobs()
    assert "refresh-quote was not active when quote moved over, and is not woken: see who refreshes it" in told


async def test_a_job_that_was_dropped_meanwhile_does_not_keep_a_type_from_going_back_and_is_told(
    stage: Moving,
) -> None:
    told: list[str] = []
    await stage.start()
    await stage.owner.fetchval("select cron.unschedule(jobid) from cron.job where jobname = 'refresh-quote'")

    back = await journey.roll_back(stage.steps(), "quote", tell=told.append, confirm=always)

    assert (await stage.move()).phase == "rolled_back"
    assert back.not_resumed == ["refresh-quote"]
    assert any(line.startswith("pg_cron has no job refresh-quote, or it is another login's: ") for line in told)


async def test_a_job_that_somebody_has_woken_meanwhile_stays_awake(stage: Moving) -> None:
    alter = "select cron.alter_job(job_id := jobid, active := $1) from cron.job where jobname = 'refresh-quote'"
    await stage.owner.fetchval(alter, False)
    await stage.start()
    await stage.owner.fetchval(alter, True)

    await stage.roll_back()

    assert "refresh-quote" in await stage.active_jobs()


async def test_a_table_that_cannot_be_stamped_keeps_no_type_from_going_back(stage: Moving) -> None:
    await stage.fill_quotes(["1 hour"])
    await stage.start()
    await stage.database.execute("update refresh_state_v2 set last_success_at = now()")
    await stage.database.execute(
        "alter table live_quote_indicators add check (fetched_at < now() - interval '1 minute')"
    )

    back = await journey.roll_back(stage.steps(), "quote", tell=quiet, confirm=always)
    again = await journey.roll_back(stage.steps(), "quote", tell=quiet, confirm=always)

    assert back.problem is not None
    assert "violates check constraint" in back.problem
    assert again == back
    assert "refresh-quote" in await stage.active_jobs()


async def test_going_back_while_somebody_is_asked_whether_the_old_job_is_paused_ends_the_start(stage: Moving) -> None:
    jobs = [{"kind": "manual", "manual": "the workflow"}]
    await stage.steps().pausing("quote", jobs)
    await stage.roll_back()

    with pytest.raises(StepRefusedError, match=r"quote is in phase rolled back.*goes from pausing only"):
        await stage.steps().begin("quote", None, jobs, 0)

    assert not await stage.is_claimable()


async def test_what_a_run_of_the_old_job_fetches_while_the_type_is_held_is_not_fetched_again(stage: Moving) -> None:
    await stage.fill_quotes(["1 hour"])
    begun = await stage.steps().begin("quote", None, [], 60)
    await stage.fill_quotes(["1 second"])

    await stage.steps().hold("quote", begun, 0)

    assert (await stage.state())["next_due_at"] > datetime.now(UTC)


async def test_a_resume_command_that_is_wrong_can_be_mended_in_the_file_or_done_by_hand(stage: Moving) -> None:
    jobs = [{"kind": "command", "pause": "true", "resume": "exit 3"}]

    async def back(**how: Any) -> None:
        await journey.roll_back(stage.steps(), "quote", tell=quiet, confirm=always, **how)

    for way in ({"entry": {"pause": "true", "resume": "true"}}, {"is_resumed": True}):
        await journey.start(stage.steps(), "quote", jobs, baseline=None, hold_seconds=0, tell=quiet, confirm=always)
        with pytest.raises(OldJobError, match="ended with 3"):
            await back()
        assert (await stage.move()).phase == "resuming"
        await back(**way)
        assert (await stage.move()).phase == "rolled_back"


async def test_what_was_paused_once_is_resumed_also_where_a_second_start_names_something_else(stage: Moving) -> None:
    first = [{"kind": "command", "pause": "true", "resume": "true"}]
    await stage.steps().pausing("quote", first)

    await journey.start(stage.steps(), "quote", [], baseline=None, hold_seconds=0, tell=quiet, confirm=always)

    assert list((await stage.move()).old_jobs) == first


async def test_a_table_without_time_zones_is_read_as_utc_whatever_the_session_says(stage: Moving) -> None:
    await stage.database.execute(
        "alter table live_quote_indicators alter fetched_at type timestamp using fetched_at at time zone 'UTC'"
    )
    await stage.database.execute(
        "insert into live_quote_indicators (symbol, price, fetched_at) "
        " values ('AAPL', 1, (now() at time zone 'UTC') - interval '1 hour')"
    )
    name = urlsplit(stage.urls.owner_url).path.removeprefix("/")
    await stage.database.execute(f"alter database {name} set timezone = 'America/New_York'")
    async with owner_connection(stage.urls.owner_url) as owner:
        assert await owner.fetchval("show timezone") == "America/New_York"
        await Steps(owner, "ada").begin("quote", None, [], 0)

    age = datetime.now(UTC) - (await stage.state())["last_success_at"]
    assert timedelta(minutes=59) < age < timedelta(minutes=61)


async def test_a_move_that_fails_changes_nothing(stage: Moving) -> None:
    jobs = [{"kind": "pg_cron", "cron_job": 999, "name": "gone", "schedule": "", "was_active": True}]

    with pytest.raises(StepRefusedError, match=r"pg_cron has no job 999 \(gone\)"):
        await stage.steps().begin("quote", None, jobs, 0)

    move = await stage.move()
    assert (move.phase, move.flag_is_on) == ("old", False)
    assert await read_journal(stage.owner) == []


async def test_two_operators_who_start_at_once_move_it_once_and_the_second_is_told_by_whom(stage: Moving) -> None:
    jobs = await stage.old_jobs("quote")

    async def start(who: str) -> Begun:
        async with owner_connection(stage.urls.owner_url) as owner:
            return await Steps(owner, who, "now").begin("quote", None, jobs, 0)

    answers = await asyncio.gather(*(start(who) for who in ("ada", "bob", "cyd")), return_exceptions=True)

    refusals = [answer for answer in answers if isinstance(answer, StepRefusedError)]
    (entry,) = await read_journal(stage.owner, "quote")
    assert len(refusals) == 2
    assert all(f"quote is in phase watched (started, by {entry.who} at " in str(refusal) for refusal in refusals)


async def test_two_operators_who_go_back_at_once_both_arrive(stage: Moving) -> None:
    await stage.start()

    async def back(who: str) -> None:
        async with owner_connection(stage.urls.owner_url) as owner:
            await journey.roll_back(Steps(owner, who, ""), "quote", tell=quiet, confirm=always)

    await asyncio.gather(*(back(who) for who in ("ada", "bob", "cyd")))

    steps = [entry.step for entry in await read_journal(stage.owner, "quote") if entry.step != "rolling back again"]
    assert steps == ["rolled back", "rolling back", "started"]
    assert "refresh-quote" in await stage.active_jobs()


@pytest.mark.parametrize("phase", ["old", "watched", "finished", "rolled_back"])
async def test_a_step_from_the_wrong_phase_is_refused_and_says_which_would_be_right(stage: Moving, phase: str) -> None:
    if phase != "old":
        await stage.start()
    if phase == "finished":
        await stage.steps().finish("quote", [])
    if phase == "rolled_back":
        await stage.roll_back()
    begin, back, finish = stage.start, stage.roll_back, lambda: stage.steps().finish("quote", [])
    wrong: dict[str, list[Callable[[], Awaitable[object]]]] = {
        "old": [back, finish],
        "watched": [begin],
        "finished": [begin, finish],
        "rolled_back": [finish],
    }

    for step in wrong[phase]:
        with pytest.raises(StepRefusedError, match=f"quote is in phase {phase.replace('_', ' ')}.*goes from"):
            await step()


async def test_a_finished_type_can_still_go_back(stage: Moving) -> None:
    await stage.start()
    await stage.steps().finish("quote", [])

    await stage.roll_back()

    assert "refresh-quote" in await stage.active_jobs()


async def test_what_lies_outside_the_database_is_paused_before_and_resumed_after(stage: Moving) -> None:
    told: list[str] = []
    jobs = [
        {"kind": "command", "pause": "true", "resume": "true"},
        {"kind": "manual", "manual": "the workflow"},
    ]

    async def phase() -> str:
        return (await stage.move()).phase

    def no(question: str) -> bool:
        told.append(question)
        return False

    async def start(confirm: journey.Confirm) -> None:
        await journey.start(
            stage.steps(), "quote", jobs, baseline=None, hold_seconds=0, tell=told.append, confirm=confirm
        )

    with pytest.raises(JourneyError, match="pause the workflow, then run `refreshd migration start quote` again"):
        await start(no)
    assert (await phase(), await stage.is_claimable()) == ("pausing", False)
    await start(always)
    assert await phase() == "watched"

    with pytest.raises(JourneyError, match="resume the workflow, then run `refreshd migration rollback quote` again"):
        await journey.roll_back(stage.steps(), "quote", tell=told.append, confirm=no)
    assert await phase() == "resuming"
    await journey.roll_back(stage.steps(), "quote", tell=told.append, confirm=always)
    assert await phase() == "rolled_back"
    assert told.count("running `true`") == 4


async def test_a_command_that_fails_leaves_the_type_with_the_old_system(stage: Moving) -> None:
    jobs = [{"kind": "command", "pause": "exit 1", "resume": "true"}]

    with pytest.raises(OldJobError, match="`exit 1` ended with 1"):
        await journey.start(stage.steps(), "quote", jobs, baseline=None, hold_seconds=0, tell=quiet, confirm=always)
    assert (await stage.move()).flag_is_on is False

    await stage.roll_back()
    assert (await stage.move()).phase == "rolled_back"


async def test_the_journal_says_who_when_and_why(stage: Moving) -> None:
    await stage.start()
    await stage.roll_back()

    entries = await read_journal(stage.owner)

    assert [(entry.step, entry.who, entry.why) for entry in entries] == [
        ("rolled back", "ada", None),
        ("rolling back", "ada", "a test"),
        ("started", "ada", "a test"),
    ]
    assert entries[2].detail["old_jobs"][0]["name"] == "refresh-quote"
    assert all(entry.at.tzinfo is not None for entry in entries)


async def test_the_daemons_role_can_take_no_step(stage: Moving) -> None:
    async with owner_connection(stage.urls.daemon_url) as daemon:
        with pytest.raises(ConfigurationError, match="REFRESHD_OWNER_DATABASE_URL"):
            await Steps(daemon, "nobody").begin("quote", None, [], 0)


async def test_an_unknown_type_is_told_with_those_that_are(stage: Moving) -> None:
    with pytest.raises(UnknownMoveError, match="there is no data type 'quotes'; there are available-exchanges"):
        await stage.move("quotes")
    with pytest.raises(StepRefusedError, match="there is no data type quotes"):
        await stage.steps().begin("quotes", None, [], 0)
