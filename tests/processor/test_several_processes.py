"""Several processes at one budget and one breaker: counted where the calls arrive."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from daemon.processor.breaker import CACHE_SECONDS
from daemon.store.database import Database
from tests.databases import TestDatabase
from tests.rows import make_ready
from tests.serving import serving

ROOT = Path(__file__).resolve().parents[2]
WINDOW_SECONDS = 60.0
LIMIT = 200
STATE = "select breaker_state from upstreams_v2"

pytestmark = pytest.mark.direct


class Upstream:
    """Counts what arrives, and answers with a status."""

    def __init__(self) -> None:
        self.arrivals: list[float] = []
        self.status = 200
        self.latency_seconds = 0.0
        self.running = self.most_running = 0

    async def answer(self, _request: web.Request) -> web.Response:
        self.arrivals.append(time.monotonic())
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        await asyncio.sleep(self.latency_seconds)
        self.running -= 1
        return web.json_response([], status=self.status)

    def most_within(self, seconds: float) -> int:
        """Return the most arrivals that any window of that length has seen."""
        first = most = 0
        for last, at in enumerate(self.arrivals):
            while self.arrivals[first] <= at - seconds:
                first += 1
            most = max(most, last - first + 1)
        return most


@pytest.fixture
async def upstream() -> AsyncIterator[tuple[Upstream, str]]:
    served, app = Upstream(), web.Application()
    app.router.add_get("/quote", served.answer)
    async with serving(app) as url:
        yield served, url


@asynccontextmanager
async def spending(urls: TestDatabase, upstream_url: str, number: int) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.processor.spending_process",
        urls.daemon_url,
        upstream_url,
        f"process/{number}",
        cwd=ROOT,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def until_arrived(upstream: Upstream, count: int, seconds: float) -> None:
    async with asyncio.timeout(seconds):
        while len(upstream.arrivals) < count:  # noqa: ASYNC110 - the count is what is waited for
            await asyncio.sleep(0.05)


@pytest.mark.timeout(180)
async def test_no_minute_sees_more_calls_than_the_plan_allows(
    urls: TestDatabase, owner: Database, upstream: tuple[Upstream, str]
) -> None:
    served, url = upstream
    await make_ready(owner, calls=LIMIT)

    async with spending(urls, url, 1), spending(urls, url, 2), spending(urls, url, 3) as killed:
        await until_arrived(served, LIMIT // 2, 30)
        killed.kill()  # what it had reserved and not settled stays spent
        await until_arrived(served, LIMIT + LIMIT // 2, 90)  # well into the next minute

    assert served.most_within(WINDOW_SECONDS) <= LIMIT
    spent = await owner.fetchval("select sum(calls) from api_data_usage_v2")
    assert spent >= len(served.arrivals)


async def test_an_upstream_that_is_down_sees_one_probe_at_a_time(
    urls: TestDatabase, owner: Database, upstream: tuple[Upstream, str]
) -> None:
    served, url = upstream
    served.status = 500
    await make_ready(owner, calls=1_000_000)

    async with spending(urls, url, 1), spending(urls, url, 2), spending(urls, url, 3):
        async with asyncio.timeout(30):
            while await owner.fetchval(STATE) != "open":  # noqa: ASYNC110 - a table sets no event
                await asyncio.sleep(0.05)
        async with asyncio.timeout(10):
            while served.running:  # noqa: ASYNC110 - what was on its way when it opened
                await asyncio.sleep(0.05)
        await asyncio.sleep(CACHE_SECONDS + 0.1)  # from then on every process has seen the open breaker
        before, served.most_running, served.latency_seconds = len(served.arrivals), 0, 0.3

        await until_arrived(served, before + 4, 30)

        assert served.most_running == 1
        served.status = 200
        await until_arrived(served, before + 100, 30)
        assert await owner.fetchval(STATE) == "closed"
