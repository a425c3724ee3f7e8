"""Start, readiness and stop, in every state and in any order, as its own process."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

from devstack.daemon_process import REPOSITORY, DaemonProcess
from devstack.stack import Stack
from devstack.upstream.faults import Fault, FaultKind
from tests.fault_proxy import fault_proxy
from tests.operations.stage import ask, service_manager, start, until_answer, url_of
from tests.rows import counts
from tests.test_end_to_end import looks_at, viewer

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.filterwarnings("ignore:ConnectionClosed:DeprecationWarning"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack() -> AsyncIterator[Stack]:
    async with Stack(latency_seconds=0.02, durable=False, symbols=["AAPL", "MSFT"]) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def daemons() -> AsyncIterator[list[DaemonProcess]]:
    """Everything that a test starts ends with it: the next one has the queue for itself."""
    started: list[DaemonProcess] = []
    yield started
    for daemon in started:
        if daemon.exit_code is None:
            daemon.send(signal.SIGCONT)
            daemon.send(signal.SIGKILL)
            await daemon.wait()


async def test_it_is_ready_when_the_database_can_be_worked_with_and_not_before(
    stack: Stack, daemons: list[DaemonProcess], tmp_path: Path
) -> None:
    async with service_manager(tmp_path) as (address, told), fault_proxy(stack.postgres.port) as proxy:
        proxy.stall()
        url = stack.environment()["DATABASE_URL"].replace(f":{stack.postgres.port}/", f":{proxy.port}/")
        daemons.append(daemon := await start(stack, {"DATABASE_URL": url, "NOTIFY_SOCKET": address}))
        where = await url_of(daemon)
        await daemon.until_event("part_interrupted")
        await told.until("STATUS=waiting: PostgreSQL at 127.0.0.1")
        alive, ready, detail = [await ask(where, path) for path in ("healthz", "readyz", "health")]
        assert not any("READY=1" in message for message in told.messages)
        proxy.resume()
        await told.until("READY=1")
        now_ready = await until_answer(where, "readyz", 200)

        daemon.send(signal.SIGHUP)
        await told.until("RELOADING=1\nMONOTONIC_USEC=")
        await told.until("READY=1", times=2)
        daemon.send(signal.SIGTERM)
        code = await daemon.wait()
        await told.until("STOPPING=1")

    assert alive[0] == 200
    assert ready[0] == detail[0] == 503
    assert ready[1].startswith("starting: PostgreSQL at 127.0.0.1")
    assert now_ready == "works\n"
    assert code == 0


@pytest.mark.parametrize("down", ["realtime", "upstream"])
async def test_what_else_is_down_at_the_start_keeps_it_from_nothing(
    stack: Stack, daemons: list[DaemonProcess], tmp_path: Path, down: str
) -> None:
    wrong = {
        "realtime": {"SUPABASE_URL": "http://127.0.0.1:1"},
        "upstream": {"REFRESHD_UPSTREAM_URL": "http://127.0.0.1:1"},
    }
    async with service_manager(tmp_path) as (address, told):
        daemons.append(daemon := await start(stack, {**wrong[down], "NOTIFY_SOCKET": address}))
        await told.until("READY=1")
        where = await url_of(daemon)
        assert (await ask(where, "healthz"))[0] == 200
        assert daemon.exit_code is None
        daemon.send(signal.SIGTERM)
        assert await daemon.wait() == 0


async def test_a_stop_while_it_waits_for_the_database_ends_it_at_once(
    stack: Stack, daemons: list[DaemonProcess]
) -> None:
    daemons.append(daemon := await start(stack, {"DATABASE_URL": "postgresql://refreshd:x@127.0.0.1:1/refreshd"}))
    await daemon.until_event("part_interrupted")
    began = time.monotonic()
    daemon.send(signal.SIGTERM)

    assert await daemon.wait() == 0
    assert time.monotonic() - began < 10


async def test_a_stop_in_mid_call_lets_the_call_end_and_loses_nothing(
    stack: Stack, daemons: list[DaemonProcess]
) -> None:
    stack.upstream.faults.add(Fault(FaultKind.HANG, times=1))
    daemons.append(daemon := await start(stack))
    await daemon.until_event("realtime_connected")
    async with viewer(stack) as page:
        await looks_at(page, "ann", AAPL=["quote"])
        async with asyncio.timeout(10):
            while stack.upstream.calls == 0:  # noqa: ASYNC110 - the upstream tells nobody
                await asyncio.sleep(0.01)
        daemon.send(signal.SIGTERM)
        code = await daemon.wait()

    assert code == 0
    assert not any(line["event"] == "service_cancelled" for line in daemon.lines)
    assert (await counts(stack.owner)).get("processing", 0) == 0
    assert await stack.owner.fetchval("select count(*) from api_data_usage_v2 where settled_at is null") == 0


async def test_a_stop_with_a_frozen_database_ends_within_twenty_seconds_and_a_second_one_at_once(
    stack: Stack, daemons: list[DaemonProcess]
) -> None:
    async with fault_proxy(stack.postgres.port) as proxy:
        url = stack.environment()["DATABASE_URL"].replace(f":{stack.postgres.port}/", f":{proxy.port}/")
        instances = [{"DATABASE_URL": url, "REFRESHD_INSTANCE": f"stop-{number}"} for number in range(2)]
        daemons += [await start(stack, instance) for instance in instances]
        for daemon in daemons:
            await daemon.until_event("started")
        proxy.stall()
        began = time.monotonic()
        for daemon in daemons:
            daemon.send(signal.SIGTERM)
        await daemons[1].until_event("stopping")
        daemons[1].send(signal.SIGTERM)
        impatient = await daemons[1].wait()
        took_impatient = time.monotonic() - began
        patient = await daemons[0].wait()
        took_patient = time.monotonic() - began

    assert (patient, impatient) == (0, 1)
    assert took_impatient < 8
    assert took_patient < 20 + 3  # for the machine


async def test_an_event_loop_that_is_blocked_during_a_stop_is_ended_and_says_where_it_stood(tmp_path: Path) -> None:
    script = tmp_path / "blocked.py"
    script.write_text(
        "import asyncio, os, signal, time\n"
        "import daemon.main\n"
        "daemon.main.EXIT_SECONDS = 0.5\n"
        "async def main():\n"
        "    with daemon.main._signals(asyncio.Event(), asyncio.Event(), lambda: None):\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "        await asyncio.sleep(0.1)\n"
        "        time.sleep(30)\n"
        "asyncio.run(main())\n"
    )
    began = time.monotonic()
    ended = await asyncio.create_subprocess_exec(
        sys.executable, str(script), cwd=REPOSITORY, env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, said = await ended.communicate()

    assert ended.returncode == 1
    assert time.monotonic() - began < 25
    assert b"blocked.py" in said


async def test_a_configuration_that_cannot_be_used_ends_with_78_and_says_what_to_do(stack: Stack) -> None:
    daemon = await start(stack, {"REFRESHD_CALLS_PER_MINUTE": "many"})

    assert await daemon.wait() == 78
    assert "REFRESHD_CALLS_PER_MINUTE is 'many': must be a whole number" in str(list(daemon.lines))


async def test_with_every_flag_off_it_is_up_healthy_and_idle(stack: Stack, daemons: list[DaemonProcess]) -> None:
    before = {row["flag_name"] for row in await stack.owner.fetch("select flag_name from feature_flags where enabled")}
    await stack.owner.execute("update feature_flags set enabled = false")
    calls = stack.upstream.calls
    try:
        daemons.append(daemon := await start(stack))
        idle = await daemon.until_event("idle")
        where = await url_of(daemon)
        ready = await until_answer(where, "readyz", 200)
        health = await until_answer(where, "health", 200)
        async with viewer(stack) as page:
            await looks_at(page, "ann", MSFT=["quote"])
            await asyncio.sleep(1)
    finally:
        await stack.owner.execute("update feature_flags set enabled = true where flag_name = any($1)", list(before))

    assert "refreshd flags on" in idle["hint"]
    assert ready == "idle: flags off\n"
    assert '"status": "ok"' in health
    assert stack.upstream.calls == calls
    assert psutil.Process(daemon.pid).is_running()
