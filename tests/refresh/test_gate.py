"""The gate says when calls are held, and why, once."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from daemon.refresh.gate import Gate
from daemon.store.budgets import Limits, announce_limits, pause_upstream, trip_breaker
from daemon.store.database import Database

LIMITS = Limits(300, 1_000_000)


@pytest.mark.parametrize("held_by", ["pause", "breaker", "bytes"])
async def test_a_hold_is_told_once_and_so_is_its_end(owner: Database, database: Database, held_by: str) -> None:
    work = asyncio.Event()
    gate = Gate(database, "fmp", "one", LIMITS, work.set)
    await gate.turn()
    match held_by:
        case "pause":
            await pause_upstream(database, "fmp", 60, "429 from the upstream")
        case "breaker":
            await trip_breaker(database, "fmp", "timeouts", None, 30, 300)
        case _:
            await owner.execute("insert into api_usage_hours_v2 values ('fmp', date_trunc('hour', now()), 1, 950000)")

    with capture_logs() as during:
        await gate.turn()
        await gate.turn()
    await owner.execute("update upstreams_v2 set paused_until = null, breaker_state = 'closed'")
    await owner.execute("delete from api_usage_hours_v2")
    with capture_logs() as after:
        await gate.turn()
        await gate.turn()

    assert [(line["event"], line["held_by"]) for line in during] == [("calls_held", held_by)]
    assert [line["event"] for line in after] == ["calls_resumed"]
    assert work.is_set()


async def test_limits_that_differ_are_told_once_with_those_in_force(database: Database) -> None:
    gate = Gate(database, "fmp", "one", LIMITS, lambda: None)
    await announce_limits(database, "fmp", "two", Limits(100, 1_000_000))

    with capture_logs() as lines:
        await gate.turn()
        await gate.turn()

    assert [(line["event"], line["calls_per_minute"]) for line in lines] == [("limits_differ", 100)]
