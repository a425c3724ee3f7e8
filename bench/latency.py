"""From a viewer's first look at a pair to its row in the database: how long, and where the time goes.

Fifty viewers, each a real Realtime client, look at symbols that nobody has looked at before, at random moments. The
parts of the way are read from the database's own timestamps: the job's creation, its claim, and the commit of its row
(``track_commit_timestamp``). Everything runs on one machine, the viewers and all servers in one process, the daemon in
its own; that process is measured alone, and idle, before the viewers come.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterator
from statistics import fmean

import click
import psutil
from realtime import AsyncRealtimeChannel, AsyncRealtimeClient

from bench.results import Goal, Result
from daemon.contracts import Pair
from devstack.observer import percentiles
from devstack.stack import LOBBY, Stack
from devstack.viewers import OPTIONS

CALLS_PER_MINUTE = 3_000
LATENCY_SECONDS = 0.1
TRACKS_PER_VIEWER = 8
MEAN_PAUSE_SECONDS = 8.0
LEAST_PAUSE_SECONDS = 6.5
"""Below the limit of five tracks in 30 s per client."""

_JOBS = """
select symbol, data_type, created_at, claimed_at, pg_xact_commit_timestamp(xmin) as committed_at
from api_call_queue_v2_completed
"""


@click.command()
@click.option("--viewers", default=50, show_default=True)
@click.option("--idle-seconds", default=20.0, show_default=True, help="How long the idle daemon is measured.")
def main(viewers: int, idle_seconds: float) -> None:
    """Measure the way from a first look to a fresh row."""
    asyncio.run(_bench(viewers, idle_seconds)).publish()


async def _bench(viewers: int, idle_seconds: float) -> Result:
    async with Stack(calls_per_minute=CALLS_PER_MINUTE, latency_seconds=LATENCY_SECONDS) as stack:
        daemon = await stack.start_daemon()
        await daemon.until_event("realtime_connected")
        idle = await _idle(psutil.Process(daemon.pid), idle_seconds)
        sent = await _look(stack, viewers)
        await _all_done(stack, len(sent))
        jobs = await stack.owner.fetch(_JOBS)
        steps: dict[str, list[float]] = {"track to queued": [], "queued to claimed": [], "claimed to committed": []}
        total = []
        for job in jobs:
            at = sent[Pair(job["symbol"], job["data_type"])]
            moments = [at, *(job[name].timestamp() for name in ("created_at", "claimed_at", "committed_at"))]
            for step, start, end in zip(steps.values(), moments, moments[1:], strict=False):
                step.append(end - start)
            total.append(moments[-1] - at)
        errors = len(daemon.errors)
    return _result(viewers, idle, steps, total, errors)


async def _idle(process: psutil.Process, seconds: float) -> tuple[float, float]:
    """Return the idle daemon's share of a core in percent, and its memory in MB."""
    await asyncio.sleep(2)  # start-up is not idling
    process.cpu_percent()
    await asyncio.sleep(seconds)
    return process.cpu_percent(), process.memory_info().rss / 1e6


async def _look(stack: Stack, viewers: int) -> dict[Pair, float]:
    """Let the viewers look at ever new symbols; return when each pair was first sent, in Unix time."""
    symbols = iter(stack.upstream.symbols())
    sent: dict[Pair, float] = {}
    url, token = stack.realtime_url, stack.viewer_token()
    clients = [AsyncRealtimeClient(url, token, auto_reconnect=False) for _ in range(viewers)]
    channels = []
    for client in clients:
        await client.connect()
        channels.append(client.channel(LOBBY, OPTIONS))
        await channels[-1].subscribe()
    async with asyncio.TaskGroup() as group:
        for number, channel in enumerate(channels):
            group.create_task(_view(channel, number, symbols, sent.__setitem__))
    for client in clients:
        await client.close()
    return sent


async def _view(
    channel: AsyncRealtimeChannel, number: int, symbols: Iterator[str], note: Callable[[Pair, float], None]
) -> None:
    chance = random.Random(number)
    await asyncio.sleep(chance.uniform(0, MEAN_PAUSE_SECONDS))
    for _ in range(TRACKS_PER_VIEWER):
        symbol = next(symbols, None)
        if symbol is None:
            return
        at = time.time()
        for data_type in ("quote", "profile"):
            note(Pair(symbol, data_type), at)
        await channel.track({"userId": f"viewer-{number}", "views": {symbol: ["quote", "profile"]}})
        await asyncio.sleep(LEAST_PAUSE_SECONDS + chance.expovariate(1 / (MEAN_PAUSE_SECONDS - LEAST_PAUSE_SECONDS)))


async def _all_done(stack: Stack, pairs: int) -> None:
    async with asyncio.timeout(30):
        while len(await stack.owner.fetch(_JOBS)) < pairs:  # noqa: ASYNC110 - a table sets no event
            await asyncio.sleep(0.1)


def _result(
    viewers: int, idle: tuple[float, float], steps: dict[str, list[float]], total: list[float], errors: int
) -> Result:
    latency_ms = 1000 * LATENCY_SECONDS
    figures: dict[str, float | None] = {"viewers": viewers, "pairs": len(total), "upstream latency ms": latency_ms}
    for name, seconds in {**steps, "track to committed": total}.items():
        figures |= {f"{name} {label} ms": value for label, value in percentiles(seconds).items()}
    total_ms = percentiles(total)
    p50, p99 = total_ms["p50"] or 0.0, total_ms["p99"] or 0.0
    figures |= {
        "overhead p50 ms": p50 - latency_ms,
        "idle cpu percent": idle[0],
        "idle memory MB": idle[1],
        "errors logged": errors,
    }
    queued_ms = percentiles(steps["track to queued"])
    queued_p50, queued_p99 = queued_ms["p50"] or 0.0, queued_ms["p99"] or 0.0
    mean = fmean(total)
    shares = {f"share of {name}": fmean(seconds) / mean for name, seconds in steps.items()}
    shares["share of upstream latency"] = LATENCY_SECONDS / mean
    goals = (
        Goal("track to queued p50", "< 30 ms", queued_p50, queued_p50 < 30),
        Goal("track to queued p99", "< 100 ms", queued_p99, queued_p99 < 100),
        Goal("track to committed p50", "< 200 ms", p50, p50 < 200),
        Goal("track to committed p99", "< 500 ms", p99, p99 < 500),
        Goal("idle cpu", "< 2 % of a core", idle[0], idle[0] < 2),
        Goal("idle memory", "< 150 MB", idle[1], idle[1] < 150),
    )
    return Result("latency", figures, shares, goals)


if __name__ == "__main__":
    main()
