"""The commands as an operator types them: what they say, what they leave behind, and what a kill leaves behind."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from daemon.migration.phases import ORDER
from daemon.store.baselines import measure, record
from daemon.store.budgets import Limits, announce_limits
from daemon.store.flags import set_flags
from daemon.store.owner import owner_connection
from devstack.old_system.cron import INTERFACE
from devstack.stack import Stack
from tests.cli.test_commands import refreshd
from tests.migration.stage import GLOBAL_FLAGS

KILLED = -9
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running() -> AsyncIterator[Stack]:
    async with Stack(latency_seconds=0.0, durable=False, symbols=["AAPL", "MSFT"], moved=False) as stack:
        await stack.owner.execute(INTERFACE.read_text())
        yield stack


@pytest_asyncio.fixture(loop_scope="module")
async def stack(running: Stack) -> AsyncIterator[Stack]:
    """The stack as it is before anything has moved, with a daemon that has announced its limits."""
    await running.owner.execute("truncate migration_phases_v2, migration_samples_v2, migration_baselines_v2, cron.job")
    await running.owner.execute("truncate migration_journal_v2, api_call_queue_v2, live_quote_indicators")
    await running.owner.execute("delete from refresh_state_v2")
    await running.owner.execute("update feature_flags set enabled = false")
    for data_type in ORDER:
        await running.owner.execute(f"select cron.schedule('refresh-{data_type}', '* * * * *', 'select 1')")
    await set_flags(running.owner, GLOBAL_FLAGS, enabled=True)
    await announce_limits(running.owner, "fmp", "a-daemon", Limits(300, 20_000_000_000))
    async with owner_connection(running.owner_url) as owner:
        await record(owner, "before", await measure(owner), who="ada", note=None)
    yield running
    await running.owner.execute("delete from upstream_limits_v2")


async def migration(stack: Stack, *arguments: str, stdin: str = "", **overrides: str) -> tuple[int, str]:
    settings = {"REFRESHD_MIGRATION_HOLD_SECONDS": "0", "COLUMNS": "120", **overrides}
    return await refreshd(stack, "migration", *arguments, stdin=stdin, **settings)


async def phase(stack: Stack, data_type: str = "quote") -> str:
    sql = "select phase from migration_phases_v2 where data_type = $1"
    return await stack.owner.fetchval(sql, data_type) or "old"


async def is_active(stack: Stack, data_type: str = "quote") -> bool:
    sql = "select active from cron.job where jobname = 'refresh-' || $1"
    return bool(await stack.owner.fetchval(sql, data_type))


async def is_on(stack: Stack, data_type: str = "quote") -> bool:
    sql = "select exists (select from enabled_data_types_v2 where data_type = $1)"
    return bool(await stack.owner.fetchval(sql, data_type))


async def test_a_type_moves_over_and_back_and_every_step_says_what_it_does(stack: Stack) -> None:
    await stack.owner.execute("insert into live_quote_indicators (symbol, price) values ('AAPL', 1)")

    code, text = await migration(stack, "start", "quote", "--why", "it is time")
    assert code == 0, text
    for said in (
        "ok    registry   fetcher quote, table live_quote_indicators, on-demand",
        "ok    table      live_quote_indicators: 1 rows of 1 symbols",
        "ok    old job    refresh-quote (* * * * *) of pg_cron",
        "ok    baseline   before of ",
        "ok    key        accepted",
        "quote has moved over: 1 symbols",
        "go back at any moment: refreshd migration rollback quote",
        "systemctl reload refreshd",
    ):
        assert said in text
    assert (await phase(stack), await is_active(stack), await is_on(stack)) == ("watched", False, True)

    code, text = await migration(stack, "status")
    assert code == 0, text
    assert "new, watched" in text
    assert "next: refreshd migration start profile (once quote has been watched for a while)" in text
    code, text = await migration(stack, "status", "quote")
    assert [line.split()[1] for line in text.splitlines()[1:2]] == ["quote"]
    assert "next: refreshd migration start profile (once quote has been watched for a while)" in text
    assert (await migration(stack, "status", "quotes"))[0] == 2

    code, text = await migration(stack, "rollback", "quote", "--why", "a drill")
    assert code == 0, text
    assert "quote is the old system's again" in text
    assert (await phase(stack), await is_active(stack), await is_on(stack)) == ("rolled_back", True, False)

    code, text = await migration(stack, "journal", "quote")
    assert code == 0
    assert [line.split()[5] for line in text.splitlines()[1:]] == ["rolled", "rolling", "started"]
    assert "it is time" in text
    assert "a drill" in text


async def test_what_scripts_read_is_one_document(stack: Stack) -> None:
    async def said(*arguments: str) -> Any:
        code, text = await migration(stack, *arguments, "--json")
        assert code == 0, text
        return json.loads(text[text.index("{") :] if "{" in text else text)

    started = await said("start", "quote")
    assert (started["started"], started["symbols"]) == (True, 0)
    status = await said("status")
    (quote,) = [each for each in status["types"] if each["data_type"] == "quote"]
    assert (quote["phase"], quote["flag_problem"], status["finalized"]) == ("watched", None, False)
    assert {check["name"] for check in quote["checks"]} >= {"success", "freshness", "symbols"}
    assert (await said("finish", "quote", "--force", "--why", "a test"))["finished"] == ["quote"]
    assert (await said("rollback", "quote"))["rolled_back"] is True


@pytest.mark.parametrize(
    ("undo", "arguments", "said"),
    [
        ("delete from migration_baselines_v2", [], "FAIL  baseline   there is no baseline yet"),
        ("delete from upstream_limits_v2", [], "FAIL  daemon     none has announced its limits"),
        (
            "update feature_flags set enabled = false where flag_name = 'use_presence_tracking'",
            [],
            "FAIL  flags      off, and nothing is refreshed without: refreshd flags on use_presence_tracking",
        ),
        ("delete from cron.job where jobname = 'refresh-quote'", [], "FAIL  old job    none of pg_cron's 10 jobs"),
        ("select 1", ["--cron", "nonsense"], "FAIL  old job    pg_cron has no job nonsense; it has refresh-quote, "),
        ("select 1", ["--baseline", "nonsense"], "FAIL  baseline   there is no baseline 'nonsense'; there are before"),
        (
            "with gone as (delete from cron.job where jobname = 'refresh-profile')"  # noqa: ISC004 - one statement
            " update cron.job set jobname = 'refresh-quote-and-profile' where jobname = 'refresh-quote'",
            [],
            "FAIL  old job    refresh-quote-and-profile (* * * * *) of pg_cron refreshes profile as well",
        ),
    ],
)
async def test_a_preflight_that_finds_something_changes_nothing(
    stack: Stack, undo: str, arguments: list[str], said: str
) -> None:
    await stack.owner.execute(undo)

    code, text = await migration(stack, "start", "quote", *arguments)

    assert code == 1
    assert said in text
    assert "nothing was changed" in text
    assert (await phase(stack), await is_on(stack)) == ("old", False)


async def test_a_key_that_is_wrong_is_found_before_the_move(stack: Stack) -> None:
    code, text = await migration(stack, "start", "quote", FMP_API_KEY="wrong")

    assert code == 1
    assert "FAIL  key        the key is wrong, check FMP_API_KEY" in text
    assert await is_active(stack)


async def test_the_preflight_alone_changes_nothing(stack: Stack) -> None:
    code, text = await migration(stack, "start", "quote", "--dry-run")

    assert code == 0, text
    assert "this was the preflight alone" in text
    assert await phase(stack) == "old"


async def test_force_wants_a_reason_and_then_moves_whatever_was_found(stack: Stack) -> None:
    await stack.owner.execute("delete from migration_baselines_v2")

    assert (await migration(stack, "start", "quote", "--force"))[0] == 2
    code, text = await migration(stack, "start", "quote", "--force", "--why", "there was no time for one")

    assert code == 0, text
    assert await phase(stack) == "watched"
    assert "there was no time for one" in (await migration(stack, "journal"))[1]


async def test_an_unknown_type_is_told_with_those_that_are(stack: Stack) -> None:
    for command in ("start", "rollback", "finish"):
        code, text = await migration(stack, command, "quotes")
        assert code == 1
        assert "there is no data type 'quotes'; there are available-exchanges, " in text


@pytest.mark.parametrize("point", ["move_begun", "move_held"])
async def test_a_start_that_is_killed_has_moved_the_type_or_not(stack: Stack, point: str) -> None:
    code, _ = await migration(stack, "start", "quote", REFRESHD_CRASH_POINT=point)

    assert code == KILLED
    assert (await phase(stack), await is_active(stack)) == ("watched", False)
    assert await stack.owner.fetchval("select is_on from type_flags_v2 where data_type = 'quote'")
    code, text = await migration(stack, "start", "quote")
    assert code == 0
    assert "quote has moved over already" in text
    assert (await migration(stack, "rollback", "quote"))[0] == 0
    assert (await phase(stack), await is_active(stack), await is_on(stack)) == ("rolled_back", True, False)


@pytest.mark.parametrize("point", ["rollback_begun", "rollback_drained", "rollback_handed_back", "rollback_resumed"])
async def test_a_rollback_that_is_killed_is_ended_by_another(stack: Stack, point: str) -> None:
    assert (await migration(stack, "start", "quote"))[0] == 0

    code, _ = await migration(stack, "rollback", "quote", REFRESHD_CRASH_POINT=point)

    assert code == KILLED
    assert not await is_on(stack)
    done = await phase(stack) == "rolled_back"
    assert done is await is_active(stack) is (point in {"rollback_handed_back", "rollback_resumed"})
    if not done:
        code, text = await migration(stack, "status")
        assert code == 1
        assert "end what was begun: refreshd migration rollback quote" in text
        assert (await migration(stack, "rollback", "quote"))[0] == 0
    assert (await phase(stack), await is_active(stack), await is_on(stack)) == ("rolled_back", True, False)


def commands_file(folder: Path) -> Path:
    """Have the old job of quotes be a file that is there while it runs."""
    (folder / "running").touch()
    path = folder / "old.toml"
    path.write_text(f'[quote]\npause = "rm -f {folder / "running"}"\nresume = "touch {folder / "running"}"\n')
    return path


@pytest.mark.parametrize(
    ("point", "left"),
    [
        ("move_pausing", "pausing"),
        ("move_paused", "pausing"),
        ("move_begun", "watched"),
    ],
)
@pytest.mark.parametrize("way", ["on", "back"])
async def test_commands_outside_the_database_survive_a_kill_at_every_step_in_both_directions(
    stack: Stack, tmp_path: Path, point: str, left: str, way: str
) -> None:
    settings = {"REFRESHD_OLD_JOBS_FILE": str(commands_file(tmp_path))}
    code, _ = await migration(stack, "start", "quote", REFRESHD_CRASH_POINT=point, **settings)
    assert (code, await phase(stack), await is_on(stack)) == (KILLED, left, left == "watched")
    assert not (await is_on(stack) and (tmp_path / "running").exists())

    if way == "on" and left == "pausing":
        code, text = await migration(stack, "status")
        assert "go on with: refreshd migration start quote" in text
        assert (await migration(stack, "start", "quote", **settings))[0] == 0
    if way == "back":
        assert (await migration(stack, "rollback", "quote", **settings))[0] == 0

    expected = ("rolled_back", False, True) if way == "back" else ("watched", True, False)
    assert (await phase(stack), await is_on(stack), (tmp_path / "running").exists()) == expected


@pytest.mark.parametrize("point", ["rollback_begun", "rollback_handed_back", "rollback_resumed"])
async def test_a_rollback_with_commands_that_is_killed_is_ended_by_another(
    stack: Stack, tmp_path: Path, point: str
) -> None:
    settings = {"REFRESHD_OLD_JOBS_FILE": str(commands_file(tmp_path))}
    assert (await migration(stack, "start", "quote", **settings))[0] == 0
    assert not (tmp_path / "running").exists()

    assert (await migration(stack, "rollback", "quote", REFRESHD_CRASH_POINT=point, **settings))[0] == KILLED
    assert await phase(stack) in {"rolling_back", "resuming"}
    code, text = await migration(stack, "rollback", "quote", **settings)

    assert code == 0, text
    assert (await phase(stack), (tmp_path / "running").exists()) == ("rolled_back", True)


async def test_a_manual_step_is_asked_for_and_nothing_moves_before_it_is_confirmed(
    stack: Stack, tmp_path: Path
) -> None:
    path = tmp_path / "old.toml"
    path.write_text('[quote]\nmanual = "the workflow refresh-quotes"\n')
    settings = {"REFRESHD_OLD_JOBS_FILE": str(path)}

    code, text = await migration(stack, "start", "quote", stdin="n\n", **settings)
    assert code == 1
    assert "pause by hand: the workflow refresh-quotes. Is that done?" in text
    assert (await phase(stack), await is_on(stack)) == ("pausing", False)

    assert (await migration(stack, "start", "quote", stdin="y\n", **settings))[0] == 0
    assert await phase(stack) == "watched"
    assert (await migration(stack, "rollback", "quote", "--yes", **settings))[0] == 0
    assert await phase(stack) == "rolled_back"


async def test_a_type_is_finished_when_its_watch_is_over_and_its_gates_hold(stack: Stack) -> None:
    assert (await migration(stack, "start", "quote"))[0] == 0

    code, text = await migration(stack, "finish", "quote")
    assert code == 1
    assert "quote is not: there is nothing to judge success by" in text
    assert "it has been watched for 0 s of 24 h" in text

    await stack.owner.execute(
        "update migration_phases_v2 set started_at = now() - interval '25 hours', held_until = null"
    )
    code, text = await migration(stack, "finish", "quote")
    assert code == 1
    assert "a gate is broken: watch (no daemon has looked for 25 h" in text

    await stack.owner.execute(
        "insert into migration_samples_v2 select 'quote', now() - make_interval(mins => n), 1, 0, 1, 1"
        " from generate_series(0, 1500) n"
    )
    code, text = await migration(stack, "status")
    assert "next: the watch is over: refreshd migration finish quote" in text
    code, text = await migration(stack, "finish", "--all")
    assert (code, await phase(stack)) == (0, "finished"), text
    assert "quote is finished" in text
    assert (await migration(stack, "finish", "quote"))[0] == 0
    assert (await migration(stack, "finish", "--all"))[1].strip() == "no type is watched: nothing to finish"


async def test_the_end_waits_for_all_types_and_says_which(stack: Stack) -> None:
    assert (await migration(stack, "finalize"))[0] == 2
    assert (await migration(stack, "start", "quote"))[0] == 0

    code, text = await migration(stack, "finalize", "--yes")
    assert code == 1
    assert "profile (old), quote (watched)" in text
    assert (await migration(stack, "finish", "quote", "--force", "--why", "a test"))[0] == 0

    left = [argument for name in ORDER if name != "quote" for argument in ("--leave", name)]
    code, text = await migration(stack, "finalize", "--dry-run", *left)
    assert code == 0, text
    assert "table refresh_state_v2 -> refresh_state" in text
    assert "flags dropped: migrate_quote_type" in text
    assert "old jobs dropped: refresh-quote" in text
    assert "nothing was changed: all of it was tried and taken back; do it with --yes" in text

    await set_flags(stack.owner, ["migrate_profile_type"], enabled=True)
    code, text = await migration(stack, "finalize", "--yes", *left)
    assert code == 1
    assert "profile cannot be left: switched on" in text


async def test_an_end_that_is_killed_has_changed_nothing(stack: Stack) -> None:
    left = [argument for name in ORDER for argument in ("--leave", name)]

    code, _ = await migration(stack, "finalize", "--yes", *left, REFRESHD_CRASH_POINT="names_changed")

    assert code == KILLED
    assert await stack.owner.fetchval("select suffix from refreshd_names") != ""
    assert (await migration(stack, "finalize", "--dry-run", *left))[0] == 0
    assert (await migration(stack, "status"))[0] == 0


async def test_baselines_are_recorded_shown_and_compared(stack: Stack) -> None:
    await stack.owner.execute("insert into live_quote_indicators (symbol, price, fetched_at) values ('AAPL', 1, now())")

    code, text = await refreshd(
        stack, "baseline", "record", "later", "--note", "a row more", "--calls-per-day", "86400", COLUMNS="120"
    )
    assert code == 0, text
    assert "recorded as later; compare with it later: refreshd baseline compare later" in text
    code, text = await refreshd(stack, "baseline", "show")
    assert [line.split()[0] for line in text.splitlines()] == ["name", "later", "before"]
    code, text = await refreshd(stack, "baseline", "show", "later", COLUMNS="120")
    assert "calls a day       86,400, as told" in text
    assert "refresh-quote" in text
    code, text = await refreshd(stack, "baseline", "compare", "before", "later", COLUMNS="120")
    assert code == 0, text
    assert "before -> later" in text
    assert " -> 86,400\n" in text
    code, text = await refreshd(stack, "baseline", "compare", "before", "--json")
    lines = json.loads(text)["types"]
    (quote,) = [line for line in lines if line["data_type"] == "quote"]
    assert quote["after"]["symbols"] == 1
    assert (await refreshd(stack, "baseline", "record", "later"))[0] == 1
    assert (await refreshd(stack, "baseline", "record", "now"))[0] == 2
    assert (await refreshd(stack, "baseline", "show", "nothing"))[0] == 1


async def test_a_database_without_a_schema_is_told_to_be_migrated(stack: Stack) -> None:
    await stack.owner.execute("create database without_schema")
    url = stack.postgres.url("without_schema")

    code, text = await migration(stack, "rollback", "quote", DATABASE_URL=url, REFRESHD_OWNER_DATABASE_URL=url)

    await stack.owner.execute("drop database without_schema with (force)")
    assert code == 78
    assert "run `refreshd migrate`" in text
