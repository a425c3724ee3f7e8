"""One lifecycle for all services: start together, fail together, stop within the grace period."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from daemon.contracts import StoreUnavailableError
from daemon.refresh.periodic import Periodic
from daemon.reload import Reloader
from daemon.service import ServiceDiedError, run_all, wait_for_any, wait_or_stop
from daemon.systemd import Notifier
from tests.clocks import StandingClock

Body = Callable[[asyncio.Event], Awaitable[None]]


class Scripted:
    """A service whose life is one coroutine function."""

    def __init__(self, name: str, body: Body) -> None:
        self.name = name
        self._body = body
        self.ended: str | None = None

    async def run(self, stop: asyncio.Event) -> None:
        try:
            await self._body(stop)
            self.ended = "returned"
        except asyncio.CancelledError:
            self.ended = "cancelled"
            raise


async def until_stopped(stop: asyncio.Event) -> None:
    await stop.wait()


async def never(_stop: asyncio.Event) -> None:
    await asyncio.Event().wait()


async def at_once(_stop: asyncio.Event) -> None:
    return


async def broken(_stop: asyncio.Event) -> None:
    raise ZeroDivisionError


async def test_all_stop_when_asked() -> None:
    services = [Scripted("a", until_stopped), Scripted("b", until_stopped)]
    stop = asyncio.Event()
    stop.set()

    await run_all(services, stop)

    assert [service.ended for service in services] == ["returned", "returned"]


async def test_what_does_not_end_within_the_grace_period_is_cancelled() -> None:
    polite, stubborn = Scripted("polite", until_stopped), Scripted("stubborn", never)
    stop = asyncio.Event()
    asyncio.get_running_loop().call_later(0.01, stop.set)

    await run_all([polite, stubborn], stop, grace_seconds=0.05)

    assert (polite.ended, stubborn.ended) == ("returned", "cancelled")


@pytest.mark.parametrize(("body", "error"), [(at_once, ServiceDiedError), (broken, ZeroDivisionError)])
async def test_the_first_end_that_nobody_asked_for_ends_all(body: Body, error: type[Exception]) -> None:
    other = Scripted("other", until_stopped)

    with pytest.raises(ExceptionGroup) as group:
        await run_all([Scripted("dying", body), other], asyncio.Event())

    assert group.group_contains(error)
    assert other.ended == "cancelled"


async def test_waiting_ends_with_the_stop_the_wake_or_the_time() -> None:
    stop, wake = asyncio.Event(), asyncio.Event()

    assert not await wait_or_stop(stop, 0.001)
    wake.set()
    assert not await wait_for_any(stop, wake, 10)
    assert not wake.is_set()
    stop.set()
    assert await wait_or_stop(stop, 10)
    assert await wait_for_any(stop, wake, 10)


async def test_a_periodic_part_survives_an_outage_of_the_database_and_nothing_else() -> None:
    turns = iter([StoreUnavailableError("down"), None, ZeroDivisionError()])

    async def turn() -> None:
        if (error := next(turns)) is not None:
            raise error

    part = Periodic("part", 0.001, turn, StandingClock())

    with pytest.raises(ZeroDivisionError):
        await part.run(asyncio.Event())

    assert part.last_success_monotonic == 1000.0


async def test_a_reload_that_fails_leaves_the_reloader_ready_for_the_next() -> None:
    requested, stop = asyncio.Event(), asyncio.Event()
    loads: list[int] = []

    async def load() -> None:
        loads.append(len(loads))
        if len(loads) == 1:
            requested.set()
            raise StoreUnavailableError("down")
        stop.set()

    requested.set()
    async with asyncio.timeout(5):
        await Reloader(requested, load, Notifier(None), lambda: "works").run(stop)

    assert loads == [0, 1]
