"""What people who watch the dashboard cost the daemon: its share of a core with nobody watching, and with a hundred.

The daemon runs in its own process on the embedded stack; thirty viewers, real Realtime clients, look at quotes that it
refreshes meanwhile, the same ones all the time. Both numbers of watchers take turns, so that a machine that gets slower
does so for both. A watcher is an HTTP client in a process of its own that reads the stream and throws it away.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from multiprocessing.connection import Connection
from statistics import median

import click
import psutil
from aiohttp import ClientSession, ClientTimeout, TCPConnector
from realtime import AsyncRealtimeClient

from bench.results import Goal, Result
from devstack.daemon_process import DaemonProcess
from devstack.stack import LOBBY, Stack
from devstack.viewers import OPTIONS, by_popularity

VIEWERS = 30
SYMBOLS_EACH = 3
SETTLE_SECONDS = 3.0
GOAL_PERCENT = 10.0


@click.command()
@click.option("--quick", is_flag=True, help="One short round, nothing written.")
@click.option("--watchers", default=100, show_default=True, help="How many watch.")
@click.option("--seconds", default=20.0, show_default=True, help="How long each turn is measured.")
@click.option("--rounds", default=3, show_default=True)
def main(*, quick: bool, watchers: int, seconds: float, rounds: int) -> None:
    """Measure what watchers of the dashboard cost."""
    seconds, rounds = (6.0, 1) if quick else (seconds, rounds)
    asyncio.run(_bench(watchers, seconds, rounds)).publish(write=not quick)


async def _bench(watchers: int, seconds: float, rounds: int) -> Result:
    async with Stack(calls_per_minute=3_000) as stack:
        daemon = await stack.start_daemon()
        await daemon.until_event("realtime_connected")
        url = await _events_url(daemon)
        async with _viewers(stack):
            shares: dict[int, list[float]] = {0: [], watchers: []}
            received: list[float] = []
            for _ in range(rounds):
                shares[0].append(await _share(daemon.pid, seconds))
                async with _watching(url, watchers) as told:
                    shares[watchers].append(await _share(daemon.pid, seconds))
                received.append(told["bytes"] / told["seconds"])
        memory = psutil.Process(daemon.pid).memory_info().rss / 1e6
        errors = len(daemon.errors)
    return _result(watchers, shares, received, memory, errors)


async def _events_url(daemon: DaemonProcess) -> str:
    line = await daemon.until_event("http_listening")
    return f"http://127.0.0.1:{line['port']}/events"


@asynccontextmanager
async def _viewers(stack: Stack) -> AsyncIterator[None]:
    """Have viewers look at popular symbols, each at others."""
    symbols = by_popularity(list(stack.upstream.symbols()))
    clients = [
        AsyncRealtimeClient(stack.realtime_url, stack.viewer_token(), auto_reconnect=False) for _ in range(VIEWERS)
    ]
    for number, client in enumerate(clients):
        await client.connect()
        channel = client.channel(LOBBY, OPTIONS)
        await channel.subscribe()
        shown = [symbols[(number * SYMBOLS_EACH + place) % len(symbols)] for place in range(SYMBOLS_EACH)]
        await channel.track({"userId": f"viewer-{number}", "views": {symbol: ["quote"] for symbol in shown}})
    try:
        yield
    finally:
        for client in clients:
            await client.close()


async def _share(pid: int, seconds: float) -> float:
    """Return a process's share of a core in percent."""
    await asyncio.sleep(SETTLE_SECONDS)
    process = psutil.Process(pid)
    process.cpu_percent()
    await asyncio.sleep(seconds)
    return process.cpu_percent()


@asynccontextmanager
async def _watching(url: str, watchers: int) -> AsyncIterator[dict[str, float]]:
    """Have so many watch in a process of their own; give, at the end, how much they were told in which time."""
    told: dict[str, float] = {}
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_watch_all, args=(url, watchers, theirs), daemon=True)
    process.start()
    theirs.close()  # so that the end of the process is the end of what it tells
    try:
        await asyncio.to_thread(ours.recv)
        began_at = time.perf_counter()
        yield told
        told["seconds"] = time.perf_counter() - began_at
        ours.send("enough")
        told["bytes"] = await asyncio.to_thread(ours.recv)
    finally:
        process.kill()
        await asyncio.to_thread(process.join)


def _watch_all(url: str, watchers: int, told: Connection) -> None:
    asyncio.run(_watch(url, watchers, told))


async def _watch(url: str, watchers: int, told: Connection) -> None:
    """Open the streams, say so, read until told that it is enough, and say how many bytes came meanwhile."""
    received = 0
    all_open = asyncio.Barrier(watchers + 1)

    async def read() -> None:
        nonlocal received
        async with client.get(url) as answer:
            answer.raise_for_status()
            await all_open.wait()
            async for chunk in answer.content.iter_any():
                received += len(chunk)
        raise RuntimeError("the daemon has ended a stream")

    connector, timeout = TCPConnector(limit=0), ClientTimeout(total=None)
    async with ClientSession(connector=connector, timeout=timeout) as client, asyncio.TaskGroup() as group:
        readers = [group.create_task(read()) for _ in range(watchers)]
        await all_open.wait()
        told.send("open")
        await asyncio.to_thread(told.recv)
        for reader in readers:
            reader.cancel()
    told.send(received)


def _result(watchers: int, shares: dict[int, list[float]], received: list[float], memory: float, errors: int) -> Result:
    idle, watched = median(shares[0]), median(shares[watchers])
    added = median(busy - calm for busy, calm in zip(shares[watchers], shares[0], strict=True))
    figures: dict[str, float | None] = {
        "watchers": watchers,
        "viewers": VIEWERS,
        "cpu percent, nobody watches": idle,
        f"cpu percent, {watchers} watch": watched,
        "cpu percent added": added,
        "kB a second to each watcher": median(received) / watchers / 1e3,
        "memory MB": memory,
        "errors logged": errors,
    }
    goals = (
        Goal(
            f"cpu that {watchers} watchers add",
            f"< {GOAL_PERCENT:g} % of a core",
            added,
            added < GOAL_PERCENT,
        ),
        Goal("errors logged", "0", errors, errors == 0),
    )
    return Result("watchers", figures, {}, goals)


if __name__ == "__main__":
    main()
