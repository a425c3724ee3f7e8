"""A full disk behind standard output, no more file descriptors, and clocks that jump."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
import pytest_asyncio
from aiohttp import ClientSession

from devstack.daemon_process import INHERITED, REPOSITORY
from devstack.postgres_cluster import free_ports
from devstack.stack import Stack
from tests.needs import require
from tests.operations.stage import start, until_answer, url_of
from tests.rows import orphans
from tests.test_end_to_end import FAST, looks_at, until_value, viewer

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.filterwarnings("ignore:ConnectionClosed:DeprecationWarning"),
]
FRESH = "select count(*) from live_quote_indicators where symbol = '{}'"
LIBFAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack() -> AsyncIterator[Stack]:
    symbols = ["AAPL", "MSFT", "NVDA", "AMD", "TSLA"]
    async with Stack(latency_seconds=0.02, durable=False, symbols=symbols) as running:
        yield running


async def test_a_full_disk_behind_standard_output_stops_nothing_and_lost_lines_are_counted(stack: Stack) -> None:
    inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
    port = next(free_ports())
    environment = stack.environment(**FAST, REFRESHD_HTTP_LISTEN=f"127.0.0.1:{port}")
    with Path("/dev/full").open("wb") as full:  # noqa: ASYNC230 - a device
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "daemon",
            "run",
            env={**inherited, **environment},
            cwd=REPOSITORY,
            stdout=full,
            stderr=full,
        )
    try:
        where = f"http://127.0.0.1:{port}"
        await until_answer(where, "readyz", 200)
        async with viewer(stack) as page:
            await looks_at(page, "ann", AAPL=["quote"])
            await until_value(stack, FRESH.format("AAPL"), 1)
        async with ClientSession() as client, client.get(f"{where}/metrics") as answer:
            lost = [
                line for line in (await answer.text()).splitlines() if line.startswith("refreshd_log_lines_lost_total")
            ]
    finally:
        process.send_signal(signal.SIGTERM)
        code = await process.wait()

    assert float(lost[0].split()[1]) > 3
    assert code == 0


async def test_without_file_descriptors_it_lives_on_and_works_again_with_them(stack: Stack) -> None:
    daemon = await start(stack)
    where = await url_of(daemon)
    await daemon.until_event("realtime_connected")
    await until_answer(where, "readyz", 200)
    used = psutil.Process(daemon.pid).num_fds()
    before = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (used, before[1]))
    await stack.owner.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'refreshd'"
    )
    async with viewer(stack) as page:
        await looks_at(page, "ann", MSFT=["quote"])
        await asyncio.sleep(3)
        assert daemon.exit_code is None
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, before)
        await until_value(stack, FRESH.format("MSFT"), 1)
    await until_answer(where, "readyz", 200)
    code = await daemon.stop()

    assert code == 0
    assert await orphans(stack.owner) == 0


@pytest.mark.parametrize(("offset", "symbol"), [("-5h", "NVDA"), ("+5h", "AMD")])
async def test_a_daemon_whose_clock_is_wrong_by_hours_goes_by_that_of_the_database(
    stack: Stack, offset: str, symbol: str
) -> None:
    require("libfaketime", found=LIBFAKETIME, hint="apt-get install libfaketime")
    faked = {"LD_PRELOAD": str(LIBFAKETIME), "FAKETIME": offset, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    daemon = await start(stack, faked)
    await daemon.until_event("realtime_connected")
    async with viewer(stack) as page:
        await looks_at(page, "ann", **{symbol: ["quote"]})
        await until_value(stack, FRESH.format(symbol), 1)
    row = await stack.owner.fetchrow(
        "select extract(epoch from fresh_until - now())::float8 as fresh,"
        " extract(epoch from next_due_at - now())::float8 as due"
        " from refresh_state_v2 where symbol = $1 and data_type = 'quote'",
        symbol,
    )
    code = await daemon.stop()

    assert row is not None
    assert 30 < row["fresh"] <= 60
    assert 30 < row["due"] <= 60
    assert code == 0
    assert {line["event"] for line in daemon.errors} == set()


async def test_a_clock_that_is_set_while_the_daemon_runs_changes_nothing(stack: Stack, tmp_path: Path) -> None:
    require("libfaketime", found=LIBFAKETIME, hint="apt-get install libfaketime")
    stamp = tmp_path / "faketime"
    stamp.write_text("+0s\n")
    faked = {
        "LD_PRELOAD": str(LIBFAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(stamp),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    daemon = await start(stack, faked)
    where = await url_of(daemon)
    await daemon.until_event("realtime_connected")
    for step in ("+3h", "-3h", "+400d"):
        stamp.write_text(f"{step}\n")
        await asyncio.sleep(1.2)
        await until_answer(where, "readyz", 200)
    async with viewer(stack) as page:
        await looks_at(page, "ann", TSLA=["quote"])
        await until_value(stack, FRESH.format("TSLA"), 1)
    code = await daemon.stop()

    assert code == 0
    assert {line["event"] for line in daemon.errors} == set()
    assert (
        await stack.owner.fetchval(
            "select count(*) from refresh_state_v2 where fresh_until > now() + interval '400 days'"
        )
        == 0
    )
