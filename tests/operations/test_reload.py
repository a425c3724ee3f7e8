"""SIGHUP: what is read again, what stays, and what a thousand of them do."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from devstack.daemon_process import DaemonProcess
from devstack.stack import Stack
from tests.operations.stage import service_manager, start, until_answer, url_of
from tests.test_end_to_end import looks_at, until_value, viewer

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.filterwarnings("ignore:ConnectionClosed:DeprecationWarning"),
]
LIMITS = "select calls_per_minute, first_view_share from upstream_limits_v2"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack() -> AsyncIterator[Stack]:
    async with Stack(latency_seconds=0.0, durable=False, symbols=["AAPL", "MSFT"]) as running:
        yield running


async def reload(daemon: DaemonProcess, event: str) -> dict[str, object]:
    after = len(daemon.lines)
    daemon.send(signal.SIGHUP)
    return await daemon.until_event(event, after=after)


async def test_the_reloadable_file_wins_and_changes_while_the_daemon_runs(stack: Stack, tmp_path: Path) -> None:
    file = tmp_path / "reload.env"
    file.write_text("REFRESHD_CALLS_PER_MINUTE=200\n")
    daemon = await start(stack, {"REFRESHD_RELOAD_FILE": str(file)})
    await daemon.until_event("started")
    await until_value(stack, LIMITS.split(",", maxsplit=1)[0] + " from upstream_limits_v2", 200)

    file.write_text("REFRESHD_CALLS_PER_MINUTE=100\nREFRESHD_FIRST_VIEW_SHARE=0.3\nREFRESHD_LOG_LEVEL=debug\n")
    after = len(daemon.lines)
    await reload(daemon, "reloaded")
    changed = {
        line["setting"]: (line["before"], line["after"])
        for line in list(daemon.lines)[after:]
        if line["event"] == "setting_changed"
    }
    await until_value(stack, "select calls_per_minute from upstream_limits_v2", 100)
    row = await stack.owner.fetchrow(LIMITS)
    await daemon.stop()

    assert changed == {
        "REFRESHD_CALLS_PER_MINUTE": (200, 100),
        "REFRESHD_FIRST_VIEW_SHARE": (0.1, 0.3),
        "REFRESHD_LOG_LEVEL": ("info", "debug"),
    }
    assert row is not None
    assert tuple(row) == (100, 0.3)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("REFRESHD_CALLS_PER_MINUTE=lots\n", "REFRESHD_CALLS_PER_MINUTE is 'lots': must be a whole number"),
        ("REFRESHD_CONCURRENCY=3\n", "REFRESHD_CONCURRENCY in"),
        ("no name\n", "line 1 of"),
    ],
)
async def test_a_file_that_cannot_be_used_changes_nothing_and_at_the_start_ends_it(
    stack: Stack, tmp_path: Path, text: str, said: str
) -> None:
    file = tmp_path / "reload.env"
    file.write_text("REFRESHD_CALLS_PER_MINUTE=200\n")
    daemon = await start(stack, {"REFRESHD_RELOAD_FILE": str(file)})
    await daemon.until_event("started")
    file.write_text(text)

    failed = await reload(daemon, "reload_failed")
    fresh = await start(stack, {"REFRESHD_RELOAD_FILE": str(file), "REFRESHD_INSTANCE": "fresh"})
    code = await fresh.wait()
    limits = await stack.owner.fetchval("select calls_per_minute from upstream_limits_v2 where instance = 'demo'")
    await daemon.stop()

    assert said in str(failed["error"])
    assert limits == 200
    assert code == 78


async def test_a_thousand_reloads_among_bad_ones_lose_nothing_and_end_ready(stack: Stack, tmp_path: Path) -> None:
    file, rng = tmp_path / "reload.env", random.Random(7)
    good, bad = "REFRESHD_CALLS_PER_MINUTE={}\n", "REFRESHD_CALLS_PER_MINUTE=-1\n"
    file.write_text(good.format(300))
    async with service_manager(tmp_path) as (address, told), viewer(stack) as page:
        daemon = await start(stack, {"REFRESHD_RELOAD_FILE": str(file), "NOTIFY_SOCKET": address})
        await daemon.until_event("realtime_connected")
        where = await url_of(daemon)
        for number in range(1_000):
            file.write_text(bad if rng.random() < 0.3 else good.format(250 + number % 100))
            if number % 100 == 0:
                await stack.owner.execute(
                    "update feature_flags set enabled = not enabled where flag_name like 'migrate_prof%'"
                )
            daemon.send(signal.SIGHUP)
            if rng.random() < 0.05:
                await asyncio.sleep(0.02)
            if number == 500:
                await looks_at(page, "ann", AAPL=["quote"])
        file.write_text(good.format(222))
        await reload(daemon, "reloaded")
        await until_value(stack, "select calls_per_minute from upstream_limits_v2 where instance = 'demo'", 222)
        await until_value(stack, "select count(*) from live_quote_indicators where symbol = 'AAPL'", 1)
        assert await until_answer(where, "readyz", 200) == "works\n"
        begun = sum("RELOADING=1" in message for message in told.messages)
        await told.until("READY=1", times=begun + 1)  # one for the start
        code = await daemon.stop()

    assert code == 0
    assert {line["event"] for line in daemon.errors} == set()
    assert begun > 10


async def test_each_flag_that_changed_is_named(stack: Stack) -> None:
    daemon = await start(stack)
    await daemon.until_event("started")
    await stack.owner.execute("update feature_flags set enabled = false where flag_name = 'migrate_quote_type'")
    try:
        after = len(daemon.lines)
        await reload(daemon, "reloaded")
        changes = [line for line in list(daemon.lines)[after:] if line["event"] == "flag_changed"]
    finally:
        await stack.owner.execute("update feature_flags set enabled = true where flag_name = 'migrate_quote_type'")
    await daemon.stop()

    assert [(line["flag"], line["enabled"]) for line in changes] == [("migrate_quote_type", False)]
