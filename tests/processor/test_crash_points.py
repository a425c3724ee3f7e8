"""The daemon killed at every named point of its loop: no job is lost, no effect comes twice, no call is free."""

from __future__ import annotations

import signal

import pytest

from daemon.crash_points import LOOP_POINTS, parse
from devstack.daemon_process import DaemonProcess
from devstack.stack import Stack
from tests.rows import counts, orphans
from tests.test_end_to_end import FAST, looks_at, until, viewer

RECOVERED_WITHIN_SECONDS = 5.0
PAIRS = 3
DONE = """
select count(*) from refresh_state_v2
where next_due_at > now() and open_job_id is null and last_outcome = 'changed'
"""
EFFECTS = """
select (select count(*) from live_quote_indicators) + (select count(*) from profiles) as rows,
       (select count(*) from api_call_queue_v2_completed) as completed,
       (select count(distinct (symbol, data_type)) from api_call_queue_v2_completed) as pairs
"""


async def start(stack: Stack, **overrides: str) -> DaemonProcess:
    return await stack.start_daemon({**FAST, "REFRESHD_JOB_RENEW_SECONDS": "0.1", **overrides})


@pytest.mark.parametrize("point", LOOP_POINTS)
async def test_a_daemon_that_dies_here_loses_nothing_and_does_nothing_twice(point: str) -> None:
    async with Stack(latency_seconds=0.3, symbols=["AAPL", "MSFT"]) as stack:
        first = await start(stack, REFRESHD_CRASH_POINT=point)
        await first.until_event("realtime_connected")
        async with viewer(stack) as page:
            await looks_at(page, "ann", AAPL=["quote", "profile"], MSFT=["quote"])
            assert await first.wait() == -signal.SIGKILL

            second = await start(stack)
            await second.until_event("started")

            async def everything_is_fresh() -> bool:
                return bool(await stack.owner.fetchval(DONE) == PAIRS)

            await until(everything_is_fresh, f"{PAIRS} fresh pairs", RECOVERED_WITHIN_SECONDS)

        effects = await stack.owner.fetchrow(EFFECTS)
        assert tuple(effects or ()) == (PAIRS, PAIRS, PAIRS)
        assert await counts(stack.owner) == {"completed": PAIRS}
        assert await orphans(stack.owner) == 0
        assert await stack.owner.fetchval("select sum(calls) from api_data_usage_v2") >= stack.upstream.calls
        assert not second.errors


@pytest.mark.parametrize(("text", "meaning"), [("claimed", ("claimed", 1)), ("settled:3", ("settled", 3))])
def test_a_point_may_be_passed_before_it_kills(text: str, meaning: tuple[str, int]) -> None:
    assert parse(text) == meaning


@pytest.mark.parametrize("text", ["nowhere", "claimed:0", "claimed:x", "claimed:-1", ":1"])
def test_a_point_that_does_not_exist_is_refused_with_those_that_do(text: str) -> None:
    with pytest.raises(ValueError, match="must be NAME or NAME:N with one of claimed, admitted"):
        parse(text)
