"""How late the event loop is."""

from __future__ import annotations

import asyncio
import time

import pytest
from prometheus_client import CollectorRegistry

from daemon.loop_lag import LoopLag
from tests.clocks import StandingClock
from tests.presence.stage import LogRecorder, RealClock

NAME = "refreshd_event_loop_lag_seconds"


def lag_of(registry: CollectorRegistry) -> tuple[float | None, float | None]:
    return registry.get_sample_value(f"{NAME}_count"), registry.get_sample_value(f"{NAME}_sum")


async def test_what_blocks_the_loop_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daemon.loop_lag.SAMPLE_SECONDS", 0.01)
    registry, stop = CollectorRegistry(), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(LoopLag(RealClock(), registry).run(stop))
        while not lag_of(registry)[0]:  # noqa: ASYNC110 - a metric sets no event
            await asyncio.sleep(0)
        time.sleep(0.3)  # noqa: ASYNC251 - to block is the purpose
        while (lag_of(registry)[1] or 0) < 0.2:  # noqa: ASYNC110
            await asyncio.sleep(0)
        stop.set()


def test_a_blocked_loop_is_said_once_a_minute(log: LogRecorder) -> None:
    clock = StandingClock()
    lag = LoopLag(clock, CollectorRegistry())

    for seconds_later, lag_seconds in [(0, 0.9), (0, 1.5), (30, 2.0), (30, 3.0)]:
        clock.move(seconds_later)
        lag.note(lag_seconds)

    assert [line["seconds"] for line in log.of("event_loop_blocked")] == [1.5, 3.0]
