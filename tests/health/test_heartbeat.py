"""The dead man's switch, at a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
import pytest_asyncio
from aiohttp import web

from daemon.contracts import Verdict
from daemon.health.heartbeat import Heartbeat
from tests.presence.stage import LogRecorder
from tests.serving import serving

PATH = "/ping/5f1c-secret"


@dataclass
class Switch:
    """What the server has seen, and what it answers."""

    url: str = ""
    status: int = 200
    agents: list[str] = field(default_factory=list)


@pytest_asyncio.fixture
async def switch() -> AsyncIterator[Switch]:
    made = Switch()

    async def answer(request: web.Request) -> web.Response:
        made.agents.append(request.headers["User-Agent"])
        return web.Response(status=made.status, headers={"Location": "/elsewhere"})

    app = web.Application()
    app.router.add_get(PATH, answer)
    async with serving(app) as url:
        made.url = f"{url}{PATH}"
        yield made


async def test_it_is_asked_while_the_daemon_is_fit_for_work(switch: Switch) -> None:
    verdict = Verdict(False, "database")
    stop = asyncio.Event()
    running = asyncio.ensure_future(Heartbeat(switch.url, 0.05, lambda: verdict, "refreshd/9").run(stop))
    await asyncio.sleep(0.3)
    silent = len(switch.agents)
    verdict = Verdict(True, "works")
    async with asyncio.timeout(5):
        while len(switch.agents) < 3:  # noqa: ASYNC110 - the server tells nobody else
            await asyncio.sleep(0.01)
    stop.set()
    await running

    assert silent == 0
    assert set(switch.agents) == {"refreshd/9"}


@pytest.mark.parametrize("status", [500, 302])
async def test_a_refusal_is_told_once_without_the_address_and_so_is_its_end(
    switch: Switch, log: LogRecorder, status: int
) -> None:
    switch.status = status
    stop = asyncio.Event()
    running = asyncio.ensure_future(Heartbeat(switch.url, 0.05, lambda: Verdict(True, ""), "refreshd/9").run(stop))
    await log.written("part_interrupted")
    await asyncio.sleep(0.3)
    switch.status = 200
    await log.written("part_recovered")
    stop.set()
    await running

    [line] = log.of("part_interrupted")
    assert (line["part"], line["error"]) == ("heartbeat", f"it answers {status}")
    assert "secret" not in str(log.lines)


async def test_an_address_that_cannot_be_reached_is_told_by_the_kind_of_the_error(log: LogRecorder) -> None:
    stop = asyncio.Event()
    url = "http://127.0.0.1:1/ping/5f1c-secret"
    running = asyncio.ensure_future(Heartbeat(url, 0.05, lambda: Verdict(True, ""), "refreshd/9").run(stop))
    await log.written("part_interrupted")
    stop.set()
    await running

    assert log.of("part_interrupted")[0]["error"] == "ClientConnectorError"
    assert "secret" not in str(log.lines)
