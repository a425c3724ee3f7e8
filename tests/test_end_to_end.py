"""The whole way, as its own process, through real sockets and a real PostgreSQL; and what it survives."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import ClientSession
from realtime import AsyncRealtimeChannel, AsyncRealtimeClient
from realtime.types import RealtimeChannelOptions

from devstack.daemon_process import DaemonProcess
from devstack.pooler import find_pooler
from devstack.stack import LOBBY, Stack
from devstack.upstream.faults import Fault, FaultKind
from tests.needs import require
from tests.rows import counts, orphans

FAST = {
    "REFRESHD_LEAVE_GRACE_SECONDS": "0.3",
    "REFRESHD_ANALYTICS_FLUSH_SECONDS": "0.1",
    "REFRESHD_COALESCE_SECONDS": "0.1",
    "REFRESHD_SWEEP_INTERVAL_SECONDS": "1",
    "REFRESHD_RECOVERY_INTERVAL_SECONDS": "0.5",
    "REFRESHD_RECONNECT_MAX_SECONDS": "1",
    "REFRESHD_BREAKER_OPEN_SECONDS": "1",
    "REFRESHD_REQUEST_TIMEOUT_SECONDS": "2",
}
OPTIONS: RealtimeChannelOptions = {
    "config": {"broadcast": None, "presence": {"key": "", "enabled": True}, "private": True}
}

pytestmark = pytest.mark.filterwarnings("ignore:ConnectionClosed:DeprecationWarning")


@pytest.fixture
async def stack(request: pytest.FixtureRequest) -> AsyncIterator[Stack]:
    """Everything on this machine; the tests that lean on PostgreSQL ask for it through a pooler as well."""
    pooled = getattr(request, "param", "direct") == "pooled"
    if pooled:
        require("pgbouncer", found=find_pooler(), hint="apt-get install pgbouncer")
    async with Stack(latency_seconds=0.02, symbols=["AAPL", "MSFT", "NVDA"], pooled=pooled) as running:
        yield running


both_ways = pytest.mark.parametrize("stack", ["direct", "pooled"], indirect=True)


@pytest.fixture
async def daemon(stack: Stack) -> DaemonProcess:
    process = await stack.start_daemon(FAST)
    await process.until_event("realtime_connected")
    return process


@asynccontextmanager
async def viewer(stack: Stack) -> AsyncIterator[AsyncRealtimeChannel]:
    """A page: joined to the lobby, and gone at the end."""
    client = AsyncRealtimeClient(stack.realtime_url, stack.viewer_token(), auto_reconnect=False)
    await client.connect()
    channel = client.channel(LOBBY, OPTIONS)
    await channel.subscribe()
    try:
        yield channel
    finally:
        await client.close()


async def looks_at(channel: AsyncRealtimeChannel, user: str, **views: list[str]) -> None:
    await channel.track({"userId": user, "views": views})


async def until(condition: Callable[[], Awaitable[bool]], what: str, seconds: float = 20.0) -> None:
    """Wait for something in the database, which does not tell by itself."""
    try:
        async with asyncio.timeout(seconds):
            while not await condition():  # noqa: ASYNC110 - a table sets no event
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"not within {seconds} s: {what}") from None


async def until_value(stack: Stack, sql: str, expected: Any) -> None:
    async def holds() -> bool:
        return bool(await stack.owner.fetchval(sql) == expected)

    await until(holds, f"{sql} = {expected}")


async def make_due(stack: Stack) -> None:
    """Let everything that was ever fetched be due; the daemon's sweep finds it within a second."""
    await stack.owner.execute(
        "update refresh_state_v2 set next_due_at = now(), source_timestamp = null, etag = null"
        " where open_job_id is null"
    )


COMPLETED = "select count(*) from api_call_queue_v2_completed where data_type = 'quote'"


@both_ways
async def test_a_track_becomes_rows_a_second_viewer_costs_no_call_and_leaving_removes_the_rows(
    stack: Stack, daemon: DaemonProcess
) -> None:
    async with viewer(stack) as first:
        await looks_at(first, "ann", AAPL=["quote", "profile"])
        await until_value(stack, "select count(*) from live_quote_indicators where symbol = 'AAPL' and price > 0", 1)
        await until_value(stack, "select company_name from profiles where symbol = 'AAPL'", "Apple Inc.")
        await until_value(stack, "select count(*) from active_subscriptions_v2 where user_id = 'user:ann'", 2)
        calls = stack.upstream.calls

        async with viewer(stack) as second:
            await looks_at(second, "bob", AAPL=["quote", "profile"])
            await until_value(stack, "select sum(viewers) from viewers_v2", 4)
            assert stack.upstream.calls == calls == 2

        await until_value(stack, "select sum(viewers) from viewers_v2", 2)
    await until_value(stack, "select count(*) from active_subscriptions_v2", 0)
    assert await counts(stack.owner) == {"completed": 2}
    assert not daemon.errors


async def test_several_quotes_are_one_call(stack: Stack, daemon: DaemonProcess) -> None:
    async with viewer(stack) as page:
        await looks_at(page, "ann", AAPL=["quote"], MSFT=["quote"], NVDA=["quote"])
        await until_value(stack, COMPLETED, 3)

    assert stack.upstream.calls_by_endpoint == {"batch-quote": 1}
    assert not daemon.errors


async def test_unknown_symbols_and_hostile_metadata_cost_no_call(stack: Stack, daemon: DaemonProcess) -> None:
    async with viewer(stack) as page:
        await looks_at(
            page, "eve", FAKE=["quote"], **{"'; drop table profiles; --": ["quote"], "AAPL": ["no-such-type"]}
        )
        await page.track({"userId": "eve", "views": {"AAPL": ["quote"] * 1000}})
        await page.track({"views": "x" * 10_000, "presence_ref": {"a": None}, "phx_ref": 7})
        async with viewer(stack) as honest:
            await looks_at(honest, "ann", MSFT=["quote"])
            await until_value(stack, COMPLETED, 1)

    assert stack.upstream.calls == 1
    assert not daemon.errors


async def test_a_viewer_whose_name_is_too_long_for_the_table_is_counted_all_the_same(
    stack: Stack, daemon: DaemonProcess
) -> None:
    async with viewer(stack) as page, viewer(stack) as other:
        await looks_at(page, "\N{CJK UNIFIED IDEOGRAPH-6F22}" * 120, AAPL=["quote"])
        await looks_at(other, "\N{CJK UNIFIED IDEOGRAPH-6F22}" * 121, AAPL=["quote"])

        await until_value(stack, "select sum(viewers) from viewers_v2", 2)
    assert not daemon.errors


async def test_a_data_table_that_refuses_rows_fails_its_jobs_and_no_others(stack: Stack, daemon: DaemonProcess) -> None:
    await stack.owner.execute(
        "create function refuse() returns trigger language plpgsql as $$ begin raise exception 'no'; end $$"
    )
    await stack.owner.execute("create trigger refuse before insert on profiles execute function refuse()")

    async with viewer(stack) as page:
        await looks_at(page, "ann", AAPL=["quote", "profile"], MSFT=["quote"])

        await until_value(stack, COMPLETED, 2)
        await until_value(stack, "select error_message like '%the table refused%' from api_call_queue_v2_failed", True)
        due = await stack.owner.fetchval(
            "select next_due_at > now() + interval '14 minutes' from refresh_state_v2 where data_type = 'profile'"
        )
    assert due
    assert stack.upstream.calls_by_endpoint["profile"] == 1
    assert daemon.exit_code is None


@both_ways
async def test_flags_off_means_up_and_idle_and_a_reload_turns_it_on(stack: Stack) -> None:
    await stack.owner.execute("update feature_flags set enabled = false")
    daemon = await stack.start_daemon(FAST)
    idle = await daemon.until_event("idle")
    assert "refreshd flags on" in idle["hint"]
    assert stack.realtime.connections == 0

    await stack.turn_on_all_flags()
    daemon.send(signal.SIGHUP)
    await daemon.until_event("reloaded")
    await daemon.until_event("realtime_connected")

    async with viewer(stack) as page:
        await looks_at(page, "ann", AAPL=["quote"])
        await until_value(stack, COMPLETED, 1)
    assert await daemon.stop() == 0


async def test_a_type_that_is_on_and_has_no_fetcher_is_told_at_the_start(stack: Stack) -> None:
    await stack.owner.execute(
        "update data_type_registry_v2 set edge_function_name = 'fax' where data_type = 'shares-float'"
    )

    daemon = await stack.start_daemon(FAST)

    told = await daemon.until_event("types_without_fetcher")
    assert told["data_types"] == ["shares-float"]


async def test_a_stopped_realtime_server_keeps_the_last_view_and_converges_afterwards(
    stack: Stack, daemon: DaemonProcess
) -> None:
    async with viewer(stack) as page:
        await looks_at(page, "ann", AAPL=["quote"])
        await until_value(stack, COMPLETED, 1)

        await stack.realtime.stop()
        await daemon.until_event("realtime_disconnected")
        await make_due(stack)
        await until_value(stack, COMPLETED, 2)

    await stack.realtime.start()
    await daemon.until(lambda line: line["event"] == "realtime_connected" and line["failures"] > 0)
    async with viewer(stack) as page:
        await looks_at(page, "bob", MSFT=["quote"])
        await until_value(stack, "select string_agg(distinct user_id, ',') from active_subscriptions_v2", "user:bob")
    assert not daemon.errors


@both_ways
@pytest.mark.parametrize("mode", ["fast", "immediate"])
async def test_a_restarted_postgresql_loses_nothing_and_does_nothing_twice(
    stack: Stack, daemon: DaemonProcess, mode: Any
) -> None:
    async with viewer(stack) as page:
        await looks_at(page, "ann", AAPL=["quote", "profile"])
        await until_value(stack, "select count(*) from api_call_queue_v2_completed", 2)

        await asyncio.to_thread(stack.postgres.restart, mode)
        await looks_at(page, "ann", AAPL=["quote", "profile"], MSFT=["quote", "profile"])

        await until_value(stack, "select count(*) from profiles", 2)
        await until_value(stack, "select count(*) from active_subscriptions_v2", 4)
    assert await orphans(stack.owner) == 0
    assert stack.upstream.calls_by_endpoint["profile"] == 2
    assert not daemon.errors


@pytest.mark.parametrize(
    "fault",
    [
        Fault(kind=FaultKind.STATUS, status=500, times=1),
        Fault(kind=FaultKind.RATE_LIMIT, retry_after="1", times=1),
        Fault(kind=FaultKind.HTML, times=1),
        Fault(kind=FaultKind.HANG, times=1),
        Fault(kind=FaultKind.RESET, times=1),
    ],
    ids=lambda fault: fault.kind,
)
async def test_an_upstream_that_fails_is_survived_and_what_was_wanted_comes(
    stack: Stack, daemon: DaemonProcess, fault: Fault
) -> None:
    stack.upstream.faults.add(fault)

    async with viewer(stack) as page:
        await looks_at(page, "ann", AAPL=["quote"], MSFT=["profile"])

        await until_value(stack, "select count(*) from profiles", 1)
        await until_value(stack, "select count(*) from live_quote_indicators", 1)
    assert await orphans(stack.owner) == 0
    assert await counts(stack.owner) == {"completed": 2}
    assert await stack.owner.fetchval("select sum(calls) from api_data_usage_v2") == stack.upstream.calls
    assert not daemon.errors


async def test_a_long_outage_of_the_upstream_opens_the_breaker_and_its_end_closes_it(
    stack: Stack, daemon: DaemonProcess
) -> None:
    stack.upstream.faults.add(Fault(kind=FaultKind.STATUS, status=500))
    async with viewer(stack) as page:
        await looks_at(page, "ann", AAPL=["quote", "profile"], MSFT=["profile"], NVDA=["profile"])
        await daemon.until_event("breaker_opened")

        stack.upstream.faults.clear()

        await daemon.until_event("breaker_closed")
        await until_value(stack, "select count(*) > 0 from api_call_queue_v2_completed", True)
    assert not daemon.errors


@both_ways
async def test_sigterm_in_mid_call_lets_it_finish_and_gives_nothing_up(stack: Stack) -> None:
    stack.upstream.latency_seconds = 1.0
    daemon = await stack.start_daemon(FAST)
    await daemon.until_event("realtime_connected")
    async with viewer(stack) as page:
        await looks_at(page, "ann", AAPL=["quote"])
        await until_value(stack, "select count(*) from api_call_queue_v2_processing", 1)

        assert await daemon.stop() == 0

    assert await counts(stack.owner) == {"completed": 1}
    assert await orphans(stack.owner) == 0


@both_ways
async def test_a_killed_daemon_leaves_its_job_to_its_next_life_at_once(stack: Stack) -> None:
    stack.upstream.latency_seconds = 1.5
    first = await stack.start_daemon(FAST)
    await first.until_event("realtime_connected")
    async with viewer(stack) as page:
        await looks_at(page, "ann", AAPL=["quote"])
        await stack.upstream.wait_for_calls(1)
        first.send(signal.SIGKILL)
        await first.wait()

        stack.upstream.latency_seconds = 0.02
        second = await stack.start_daemon(FAST)
        started = await second.until_event("started")
        await until_value(stack, COMPLETED, 1)

    assert started["recovered_jobs"] == 1
    assert await stack.owner.fetchval("select sum(calls) from api_data_usage_v2") == stack.upstream.calls == 2


async def test_everything_down_at_the_start_is_waited_for(stack: Stack) -> None:
    await stack.realtime.stop()
    await asyncio.to_thread(stack.postgres.restart)
    stopped = stack.environment()["DATABASE_URL"].replace(str(stack.postgres.port), "1")

    daemon = await stack.start_daemon(FAST | {"DATABASE_URL": stopped})
    line = await daemon.until_event("part_interrupted")

    assert line["part"] == "startup"
    assert "PostgreSQL at 127.0.0.1:1 is unavailable" in line["error"]
    assert "DATABASE_URL" in line["hint"]
    assert daemon.exit_code is None
    assert await daemon.stop() == 0


async def test_a_missing_schema_and_missing_settings_exit_with_78_and_say_what_to_do(stack: Stack) -> None:
    await stack.owner.execute("drop table refreshd_migrations")
    daemon = await stack.start_daemon(FAST)
    assert await daemon.wait() == 78
    assert "refreshd migrate" in daemon.errors[-1]["error"]

    without = {name: value for name, value in stack.environment().items() if name != "REFRESHD_CALLS_PER_MINUTE"}
    daemon = await DaemonProcess.start(without)
    assert await daemon.wait() == 78
    assert "REFRESHD_CALLS_PER_MINUTE" in "".join(line.get("text", "") for line in daemon.lines)
    assert "Traceback" not in "".join(line.get("text", "") for line in daemon.lines)


async def test_a_scrape_tells_who_is_there(stack: Stack, daemon: DaemonProcess) -> None:
    listening = await daemon.until_event("http_listening")
    async with viewer(stack) as page, ClientSession() as client:
        await looks_at(page, "ann", AAPL=["quote"])
        await until_value(stack, "select count(*) from active_subscriptions_v2", 1)

        async with client.get(f"http://127.0.0.1:{listening['port']}/metrics") as answer:
            metrics = await answer.text()

    assert 'refreshd_presence_viewers{shard="viewers:0"} 1.0' in metrics
    assert "refreshd_event_loop_lag_seconds_count" in metrics
    assert stack.service_key not in metrics
