"""The command as an operator types it: its own process, its output, its exit code."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from daemon.store.schema import LATEST_VERSION
from devstack.daemon_process import REPOSITORY
from devstack.stack import Stack


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack() -> AsyncIterator[Stack]:
    async with Stack(latency_seconds=0.0, durable=False, symbols=["AAPL"]) as running:
        yield running


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def refreshd(stack: Stack | None, *arguments: str, stdin: str = "", **overrides: str) -> tuple[int, str]:
    """Run the command and return its exit code and everything it printed."""
    environment = {**(stack.environment() if stack else {}), **overrides}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "daemon",
        *arguments,
        env=environment,
        cwd=REPOSITORY,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate(stdin.encode())
    assert process.returncode is not None
    text = output.decode()
    assert "Traceback" not in text
    return process.returncode, text


async def test_check_is_content_with_a_complete_stack_and_spends_one_call(stack: Stack) -> None:
    calls = stack.upstream.calls

    code, text = await refreshd(stack, "check")

    assert code == 0, text
    assert "FAIL" not in text
    for subject in (
        "settings",
        "database",
        "role",
        "schema",
        "symbols",
        "limits",
        "flags",
        "Realtime",
        "network",
        "key",
    ):
        assert f"ok    {subject} " in text
    assert stack.upstream.calls == calls + 1
    assert await stack.owner.fetchval("select sum(calls) from api_data_usage_v2 where settled_at is not null") >= 1


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("FMP_API_KEY", "a-false-key", "FAIL  key            the key is wrong, check FMP_API_KEY"),
        ("REFRESHD_UPSTREAM_URL", "http://127.0.0.1:1/stable", "FAIL  network        the upstream cannot be reached"),
        ("SUPABASE_SERVICE_ROLE_KEY", "sb_secret_wrong", "FAIL  Realtime       the connection failed: http_401"),
        ("SUPABASE_URL", "http://127.0.0.1:1", "FAIL  Realtime       the connection failed: unreachable"),
        (
            "DATABASE_URL",
            "postgresql://a:b@127.0.0.1:1/x",
            "FAIL  database       PostgreSQL at 127.0.0.1:1 is unavailable",
        ),
    ],
)
async def test_check_names_what_is_wrong(stack: Stack, variable: str, value: str, said: str) -> None:
    code, text = await refreshd(stack, "check", **{variable: value})

    assert code == 1
    assert said in text
    assert value not in text or not variable.endswith("KEY")


async def test_check_on_a_database_without_the_schema_says_what_to_run(stack: Stack) -> None:
    await stack.owner.execute("create database bare")
    try:
        bare = stack.owner_url.rpartition("/")[0] + "/bare"
        code, text = await refreshd(stack, "check", DATABASE_URL=bare, REFRESHD_OWNER_DATABASE_URL=bare)
    finally:
        await stack.owner.execute("drop database bare with (force)")

    assert code == 1
    assert "run `refreshd migrate`" in text
    assert "FAIL  the rest       not looked at, since it needs the schema" in text


async def test_check_says_how_to_end_idleness(stack: Stack) -> None:
    await refreshd(stack, "flags", "off", "use_queue_system")

    code, text = await refreshd(stack, "check")
    await refreshd(stack, "flags", "on", "use_queue_system")

    assert code == 0
    assert "idle: flags off" in text
    assert "refreshd flags on" in text


async def set_fetcher(stack: Stack, data_type: str, fetcher: str) -> None:
    await stack.owner.execute(
        "update data_type_registry_v2 set edge_function_name = $2 where data_type = $1", data_type, fetcher
    )


async def test_check_names_a_type_that_is_on_and_cannot_be_fetched(stack: Stack) -> None:
    await set_fetcher(stack, "shares-float", "fax")

    code, text = await refreshd(stack, "check")
    await set_fetcher(stack, "shares-float", "shares-float")

    assert code == 1
    assert "FAIL  fetchers       none in this version for shares-float" in text


async def test_flags_are_listed_and_set_all_or_none(stack: Stack) -> None:
    code, text = await refreshd(stack, "flags", "off", "use_presence_tracking", "nonsense")
    assert code == 1
    assert "there is no flag nonsense, nothing was changed; the flags are migrate_available_exchanges_type" in text

    code, text = await refreshd(stack, "flags", "off", "use_presence_tracking")
    assert (code, "systemctl reload refreshd" in text) == (0, True)

    code, text = await refreshd(stack, "flags", "list")
    assert [line.split()[1] for line in text.splitlines() if "use_presence_tracking" in line] == ["off"]


async def test_symbols_are_seeded_from_a_file_or_standard_input_all_or_none(stack: Stack) -> None:
    code, text = await refreshd(
        stack, "seed", "symbols", "-", stdin="symbol,exchange\nBRK-B,NYSE\n^GSPC\n\n# no\nMSFT,\n"
    )
    assert (code, text) == (0, "3 of 3 symbols added or changed\n")
    assert await stack.owner.fetchval("select exchange from supported_symbols where symbol = 'BRK-B'") == "NYSE"

    code, text = await refreshd(stack, "seed", "symbols", "-", stdin="TSLA\nnot a symbol\n")
    assert code == 1
    assert "line 2: 'not a symbol'" in text
    assert await stack.owner.fetchval("select count(*) from supported_symbols where symbol = 'TSLA'") == 0

    code, text = await refreshd(stack, "seed", "symbols", "-", stdin="BRK-B\n")
    assert text == "0 of 1 symbols added or changed\n"


async def test_migrate_again_says_that_everything_is_up_to_date(stack: Stack) -> None:
    code, text = await refreshd(stack, "migrate")

    assert (code, text) == (0, f"schema version {LATEST_VERSION}, functions, seeds and access up to date\n")


async def test_migrate_as_somebody_who_does_not_own_the_schema_says_whose_url_is_needed(stack: Stack) -> None:
    code, text = await refreshd(stack, "migrate", REFRESHD_OWNER_DATABASE_URL=stack.daemon_url)

    assert code == 78
    assert "REFRESHD_OWNER_DATABASE_URL" in text


async def test_the_status_of_the_schema_is_told_to_either_login(stack: Stack) -> None:
    for url in (stack.owner_url, stack.daemon_url):
        code, text = await refreshd(stack, "migrate", "--status", REFRESHD_OWNER_DATABASE_URL=url)

        assert code == 0, text
        assert text.endswith("up to date\n")
        assert "0001_registry" in text


async def test_a_dry_run_says_what_it_would_do(stack: Stack) -> None:
    code, text = await refreshd(stack, "migrate", "--dry-run")

    assert (code, text) == (0, "declare triggers, seeds and access again\nnothing was changed\n")


async def test_an_export_needs_no_setting_and_no_database(tmp_path: Path) -> None:
    code, text = await refreshd(None, "migrate", "--export", str(tmp_path / "migrations"))
    again = await refreshd(None, "migrate", "--export", str(tmp_path / "migrations"))

    assert code == 0, text
    assert "grant refreshd_daemon to <login of DATABASE_URL>;" in text
    assert text.count("wrote ") == len(list((tmp_path / "migrations").iterdir()))
    assert (again[0], "has all of it already" in again[1]) == (0, True)


async def test_an_export_to_where_nothing_can_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    code, text = await refreshd(None, "migrate", "--export", str(tmp_path / "file" / "below"))

    assert code == 78
    assert "the schema cannot be exported to" in text


@pytest.mark.parametrize("other", [["--status"], ["--export", "x"]])
async def test_options_that_exclude_each_other_are_wrong_usage(other: list[str]) -> None:
    code, text = await refreshd(None, "migrate", "--dry-run", *other)

    assert code == 2
    assert "exclude each other" in text


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("REFRESHD_CONCURENCY", "3", "did you mean REFRESHD_CONCURRENCY?"),
        ("REFRESHD_BYTES_PER_30_DAYS", "", "REFRESHD_BYTES_PER_30_DAYS"),
        ("DATABASE_URL", "mysql://nowhere", "DATABASE_URL"),
    ],
)
async def test_a_bad_setting_ends_with_78_and_names_the_variable(
    stack: Stack, variable: str, value: str, said: str
) -> None:
    code, text = await refreshd(stack, "run", **{variable: value})

    assert code == 78
    assert said in text


async def test_a_wrong_password_or_database_ends_the_daemon_with_78(stack: Stack) -> None:
    for url in (stack.postgres.url(password="wrong"), stack.postgres.url("nowhere")):
        code, text = await refreshd(stack, "run", DATABASE_URL=url)

        assert code == 78
        assert "DATABASE_URL" in text


async def test_the_version_is_told_without_any_setting() -> None:
    assert await refreshd(None, "--version") == (0, "refreshd, version 0.1.0\n")
