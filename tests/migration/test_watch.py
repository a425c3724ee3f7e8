"""The watch over moved types: what it sees, what it says, and when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from daemon.migration.gates import BROKEN
from daemon.migration.metrics import MoveCollector
from daemon.migration.watch import MoveWatch, judge_now
from daemon.store.database import Database
from daemon.store.flags import set_flags
from daemon.store.moves import Move, list_moves, observe, sample
from tests.migration.stage import SYMBOLS, Moving
from tests.presence.stage import LogRecorder

SAMPLE_SECONDS = 60.0
HOUR = 3600.0


async def pass_time(stage: Moving, interval: str = "1 minute") -> None:
    """Have everything that the watch wrote down happened earlier."""
    await stage.database.execute("update migration_samples_v2 set at = at - $1::text::interval", interval)
    await stage.database.execute(
        "update migration_phases_v2 set started_at = started_at - $1::text::interval,"
        " held_until = held_until - $1::text::interval",
        interval,
    )
    await stage.database.execute(
        "update active_subscriptions_v2 set subscribed_at = subscribed_at - $1::text::interval", interval
    )
    for status in ("completed", "failed"):
        await stage.database.execute(
            f"update api_call_queue_v2_{status} set finished_at = finished_at - $1::text::interval", interval
        )


async def look_at(stage: Moving, *symbols: str, fresh_seconds: float = 60.0) -> None:
    """Have somebody look at symbols whose quotes were just fetched."""
    for symbol in symbols:
        await stage.database.execute(
            "insert into active_subscriptions_v2 (user_id, symbol, data_type, source)"
            " values ('user:1', $1, 'quote', 's') on conflict do nothing",
            symbol,
        )
        await stage.database.execute(
            "insert into refresh_state_v2 (symbol, data_type, last_success_at, fresh_until, next_due_at)"
            " values ($1, 'quote', now(), now() + make_interval(secs => $2), now() + make_interval(secs => $2))"
            " on conflict (symbol, data_type) do update"
            " set last_success_at = now(), fresh_until = excluded.fresh_until, next_due_at = excluded.next_due_at",
            symbol,
            fresh_seconds,
        )


async def end_jobs(stage: Moving, *, completed: int = 0, failed: int = 0) -> None:
    """Have so many jobs of quotes ended just now."""
    await stage.database.execute(
        "insert into api_call_queue_v2 (symbol, data_type, status, lane, priority, gain, finished_at)"
        " select 'AAPL', 'quote', case when n <= $1 then 'completed' else 'failed' end, 1, 1, 1, clock_timestamp()"
        " from generate_series(1, $2) n",
        completed,
        completed + failed,
    )


async def broken(stage: Moving) -> list[str]:
    """Return the broken gates of quotes, as they are written down."""
    return [check["name"] for check in (await stage.move()).checks if check["state"] == BROKEN]


def watch_of(database: Database, *, hours: float = 24.0) -> MoveWatch:
    return MoveWatch(database, SAMPLE_SECONDS, hours * HOUR)


def said(log: LogRecorder, event: str) -> list[tuple[str, str | None]]:
    """Return type and gate of every such event."""
    return [(line["data_type"], line.get("gate")) for line in log.of(event)]


async def started(stage: Moving, ages: Sequence[str] = ("10 seconds", "20 seconds", "30 seconds")) -> None:
    """Record a baseline in which everything is fresh, and move quotes over."""
    await stage.fill_quotes(ages)
    await stage.record()
    await stage.start(baseline="before")


async def test_a_type_that_does_well_breaks_no_gate(stage: Moving, database: Database, log: LogRecorder) -> None:
    await started(stage)
    for _ in range(12):
        await pass_time(stage)
        await look_at(stage, *SYMBOLS)
        await end_jobs(stage, completed=5)
        await watch_of(database).turn()

    move = await stage.move()
    assert {check["name"]: check["state"] for check in move.checks} == dict.fromkeys(
        ["flag", "old job", "watch", "success", "freshness", "queue", "quota", "gaps", "symbols"], "ok"
    )
    assert said(log, "migration_gate_broken") == []


async def test_a_planted_regression_is_caught_and_the_command_that_goes_back_is_named(
    stage: Moving, database: Database, log: LogRecorder
) -> None:
    """A fetcher that fails, and data that therefore gets old."""
    await started(stage)
    for _ in range(13):
        await pass_time(stage)
        await look_at(stage, *SYMBOLS, fresh_seconds=-900.0)
        await end_jobs(stage, completed=1, failed=2)
        await watch_of(database).turn()

    assert await broken(stage) == ["success", "freshness", "gaps"]
    lines = log.of("migration_gate_broken")
    assert sorted(line["gate"] for line in lines) == ["freshness", "gaps", "success"]
    assert all(line["level"] == "warning" for line in lines)
    assert all("refreshd migration rollback quote" in line["hint"] for line in lines)


async def test_what_the_old_system_left_stale_breaks_no_gate_at_first(stage: Moving, database: Database) -> None:
    await started(stage)
    for number in range(13):
        await pass_time(stage)
        await look_at(stage, *SYMBOLS, fresh_seconds=-30.0 if number < 5 else 60.0)
        await watch_of(database).turn()

    assert await broken(stage) == []


async def test_rows_that_vanish_are_a_broken_gate(stage: Moving, database: Database) -> None:
    await started(stage)
    await stage.database.execute("delete from live_quote_indicators where symbol = 'MSFT'")
    await pass_time(stage)

    await watch_of(database).turn()

    assert await broken(stage) == ["symbols"]


async def test_an_old_job_that_runs_again_and_a_flag_that_is_turned_off_are_broken_gates(
    stage: Moving, database: Database
) -> None:
    await started(stage)
    await stage.owner.fetchval(
        "select cron.alter_job(jobid, active := true) from cron.job where jobname = 'refresh-quote'"
    )
    await set_flags(stage.database, ["migrate_quote_type"], enabled=False)
    await stage.database.execute("grant usage on schema cron to refreshd_daemon")
    await stage.database.execute("grant select on cron.job to refreshd_daemon")
    await pass_time(stage)

    await watch_of(database).turn()

    assert await broken(stage) == ["flag", "old job"]


async def test_an_old_job_that_the_daemon_may_not_see_is_seen_by_the_owners_commands(
    stage: Moving, database: Database
) -> None:
    await started(stage)
    await stage.owner.fetchval(
        "select cron.alter_job(jobid, active := true) from cron.job where jobname = 'refresh-quote'"
    )

    seen = {
        name: {
            check.name: check.state
            for check in (await judge_now(each, await stage.move(), SAMPLE_SECONDS, HOUR)).checks
        }
        for name, each in (("daemon", database), ("owner", stage.database))
    }

    assert (seen["daemon"]["old job"], seen["owner"]["old job"]) == ("ok", BROKEN)


async def test_a_gate_that_breaks_is_told_once_by_whichever_daemon_and_so_is_its_recovery(
    stage: Moving, database: Database, log: LogRecorder
) -> None:
    await started(stage)
    first, second = watch_of(database), watch_of(database)
    await stage.database.execute("delete from live_quote_indicators where symbol = 'MSFT'")
    for each in (first, second, first, second):
        await pass_time(stage)
        await each.turn()
        await second.turn()
    told = said(log, "migration_gate_broken")
    await stage.fill_quotes(["1 second", "1 second"])
    for each in (second, first):
        await pass_time(stage)
        await each.turn()

    assert told == [("quote", "symbols")]
    assert said(log, "migration_gate_recovered") == [("quote", "symbols")]


async def test_a_watch_that_is_over_with_every_gate_held_says_so_once(
    stage: Moving, database: Database, log: LogRecorder
) -> None:
    await started(stage)
    watch = watch_of(database, hours=0.1)
    for _ in range(12):
        await pass_time(stage)
        await end_jobs(stage, completed=1)
        await watch.turn()

    (line,) = log.of("migration_watch_over")
    assert "refreshd migration finish quote" in line["hint"]


async def test_a_watch_in_which_nobody_watched_is_not_over(stage: Moving, database: Database, log: LogRecorder) -> None:
    await started(stage)
    watch = watch_of(database, hours=1)
    await pass_time(stage, "2 hours")
    await end_jobs(stage, completed=1)
    await watch.turn()

    assert log.of("migration_watch_over") == []


async def test_a_type_that_cannot_be_looked_at_is_a_broken_gate_and_not_the_end_of_the_daemon(
    stage: Moving, database: Database
) -> None:
    await started(stage)
    await stage.start("profile")
    await stage.database.execute("alter table live_quote_indicators rename to gone")
    await pass_time(stage)
    await end_jobs(stage, completed=1)
    await watch_of(database).turn()
    table = (await stage.move()).checks

    await stage.database.execute("alter table gone rename to live_quote_indicators")
    await stage.database.execute("delete from migration_baselines_v2")
    await pass_time(stage)
    await watch_of(database).turn()

    assert [check["name"] for check in table] == ["look"]
    assert 'relation "public.live_quote_indicators" does not exist' in table[0]["text"]
    assert "there is no baseline yet" in (await stage.move()).checks[0]["text"]
    assert len((await stage.move("profile")).checks) == 9


async def test_a_schedule_whose_next_firing_is_not_computed_yet_is_not_overdue(
    stage: Moving, database: Database
) -> None:
    await stage.start("exchange-market-status")
    await pass_time(stage, "2 hours")
    sql = "update data_type_state_v2 set next_scheduled_at = now() - $1::text::interval where data_type like '%-status'"
    states = []
    for overdue in (None, "1 minute", "1 hour"):
        await stage.database.execute(sql, overdue)
        checks = (await judge_now(database, await stage.move("exchange-market-status"), SAMPLE_SECONDS, HOUR)).checks
        states.append(next(check.state for check in checks if check.name == "gaps"))

    assert states == ["ok", "ok", BROKEN]


async def test_samples_count_each_job_once_and_only_since_the_move(stage: Moving, database: Database) -> None:
    await end_jobs(stage, failed=100)
    await pass_time(stage)
    await started(stage)
    for number in (3, 4):
        await pass_time(stage)
        await end_jobs(stage, completed=number)
        assert await sample(database, 30) == 1
        assert await sample(database, 30) == 0

    seen = await observe(database, "quote", SAMPLE_SECONDS)

    assert (seen.completed, seen.failed) == (7, 0)


async def test_nothing_of_an_earlier_watch_counts_after_a_new_start(stage: Moving, database: Database) -> None:
    await started(stage)
    await pass_time(stage)
    await end_jobs(stage, failed=50)
    await sample(database, 30)
    await stage.roll_back()

    await stage.start(baseline="before")

    seen = await observe(database, "quote", SAMPLE_SECONDS)
    assert (seen.completed, seen.failed, (await stage.move()).checks) == (0, 0, [])


async def test_a_flag_that_is_not_as_the_migration_left_it_is_told_once(
    stage: Moving, database: Database, log: LogRecorder
) -> None:
    await started(stage)
    await stage.roll_back()
    await set_flags(stage.database, ["migrate_quote_type"], enabled=True)
    watch = watch_of(database)
    for _ in range(3):
        await watch.turn()

    (line,) = log.of("migration_flag_unexpected")
    assert line["data_type"] == "quote"
    assert "both systems may refresh it" in line["reason"]


async def test_flags_of_a_system_that_never_moved_are_nobodys_business(
    stage: Moving, database: Database, log: LogRecorder
) -> None:
    await set_flags(stage.database, ["migrate_quote_type"], enabled=True)

    await watch_of(database).turn()

    assert said(log, "migration_flag_unexpected") == []


async def test_phases_and_broken_gates_are_metrics(stage: Moving, database: Database) -> None:
    await started(stage)
    await stage.database.execute("delete from live_quote_indicators where symbol = 'MSFT'")
    await pass_time(stage)
    watch = watch_of(database)
    await watch.turn()

    values = {
        (metric.name, *sample.labels.values()): sample.value
        for metric in MoveCollector(lambda: watch.latest).collect()
        for sample in metric.samples
    }

    assert values["refreshd_migration_types", "old"] == 10
    assert values["refreshd_migration_types", "watched"] == 1
    assert values["refreshd_migration_gates_broken", "quote"] == 1


async def test_every_type_that_moves_is_watched_by_itself(stage: Moving, database: Database) -> None:
    await started(stage)
    await stage.start("profile")
    await pass_time(stage)
    await end_jobs(stage, completed=1, failed=20)

    await watch_of(database).turn()

    moves: dict[str, Move] = {move.data_type: move for move in await list_moves(stage.owner)}
    states = {
        name: {check["name"]: check["state"] for check in moves[name].checks}["success"]
        for name in ("quote", "profile")
    }
    assert states == {"quote": BROKEN, "profile": "waiting"}
    assert replace(moves["ratios-ttm"]).checks == []
