"""What the processor survives between the database and itself: each effect once, no retry charged, no call twice."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator

import pytest

from devstack.stack import Stack
from tests.fault_proxy import FaultProxy, fault_proxy
from tests.rows import counts, orphans
from tests.test_end_to_end import COMPLETED, FAST, looks_at, until_value, viewer

REFUSING = """
create sequence refusals;
grant usage on sequence refusals to public;
create function refuse() returns trigger language plpgsql as $$
begin
    if nextval('refusals') <= {times} then
        raise exception 'injected' using errcode = '{code}';
    end if;
    return new;
end
$$;
create trigger refuse before insert on live_quote_indicators for each row execute function refuse();
"""
RETRIES = "select coalesce(sum(retry_count + resets), 0) from api_call_queue_v2"


@pytest.fixture
async def stack() -> AsyncIterator[Stack]:
    async with Stack(latency_seconds=0.02, symbols=["AAPL", "MSFT"]) as running:
        yield running


@pytest.fixture
async def proxy(stack: Stack) -> AsyncIterator[FaultProxy]:
    async with fault_proxy(stack.postgres.port) as running:
        yield running


def through(proxy: FaultProxy, stack: Stack) -> dict[str, str]:
    url = stack.environment()["DATABASE_URL"]
    return {**FAST, "DATABASE_URL": url.replace(f":{stack.postgres.port}/", f":{proxy.port}/")}


async def check_one_effect(stack: Stack, *, calls: int = 1) -> None:
    assert await counts(stack.owner) == {"completed": 1}
    assert await orphans(stack.owner) == 0
    assert await stack.owner.fetchval(RETRIES) == 0
    assert stack.upstream.calls == calls
    assert await stack.owner.fetchval("select sum(calls) from api_data_usage_v2") == calls


async def test_a_commit_whose_answer_is_lost_is_read_back_and_not_repeated(stack: Stack, proxy: FaultProxy) -> None:
    daemon = await stack.start_daemon(through(proxy, stack))
    await daemon.until_event("realtime_connected")
    proxy.swallow_reply(to=b"COMMIT", after=b"complete_queue_jobs_v2")

    async with viewer(stack) as page:
        await looks_at(page, "ann", AAPL=["quote"])
        await proxy.swallowed.wait()
        finished = await daemon.until_event("job_finished")

    assert finished["verdict"] == "completed"
    await check_one_effect(stack)
    assert not daemon.errors


async def test_a_database_that_stalls_in_mid_call_is_waited_for(stack: Stack, proxy: FaultProxy) -> None:
    stack.upstream.latency_seconds = 0.5
    daemon = await stack.start_daemon(through(proxy, stack))
    await daemon.until_event("realtime_connected")

    async with viewer(stack) as page:
        await looks_at(page, "ann", AAPL=["quote"])
        await stack.upstream.wait_for_calls(1)
        proxy.stall()
        await daemon.until(lambda line: line.get("part") == "effect")
        proxy.resume()
        await until_value(stack, COMPLETED, 1)

    await check_one_effect(stack)


@pytest.mark.parametrize("code", ["40001", "40P01", "55P03", "53300", "57014", "25006"])
async def test_what_the_database_cannot_do_now_is_done_again_and_charges_no_retry(stack: Stack, code: str) -> None:
    await stack.owner.execute(REFUSING.format(times=4, code=code))
    daemon = await stack.start_daemon(FAST)
    await daemon.until_event("realtime_connected")

    async with viewer(stack) as page:
        await looks_at(page, "ann", AAPL=["quote"])
        await until_value(stack, COMPLETED, 1)

    await check_one_effect(stack)
    assert not daemon.errors


async def test_a_worker_that_was_frozen_beyond_its_lease_changes_nothing(stack: Stack) -> None:
    stack.upstream.latency_seconds = 1.0
    fast = {
        **FAST,
        "REFRESHD_JOB_LEASE_SECONDS": "2",
        "REFRESHD_JOB_RENEW_SECONDS": "0.5",
        "REFRESHD_REQUEST_TIMEOUT_SECONDS": "10",  # a slow machine must not make a failure of the slow answer
    }
    frozen = await stack.start_daemon({**fast, "REFRESHD_INSTANCE": "frozen"})
    await frozen.until_event("realtime_connected")

    async with viewer(stack) as page:
        await looks_at(page, "ann", AAPL=["quote"])
        await stack.upstream.wait_for_calls(1)
        frozen.send(signal.SIGSTOP)
        other = await stack.start_daemon({**fast, "REFRESHD_INSTANCE": "other"})
        await until_value(stack, COMPLETED, 1)
        frozen.send(signal.SIGCONT)
        await frozen.until(lambda line: line.get("verdict") == "lost")

    await check_one_effect(stack, calls=2)
    assert not other.errors
