"""The same measurements on every queue, one after the other in each round."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

OnStart = Callable[[int], None]
"""Told the number of a job when it starts."""

BATCH = 1_000
IDLE_SECONDS = 0.03
"""Between two single jobs: the worker waits again by then."""

START_SECONDS = 10.0
"""A job that has not started by then is lost."""


class Contender(Protocol):
    """A queue as this benchmark uses it. Jobs are numbered; two jobs of one number are never open together."""

    @property
    def name(self) -> str:
        """What the table calls it."""
        ...

    async def clear(self) -> None:
        """Empty it."""
        ...

    async def settle_down(self) -> None:
        """Let statistics and dead rows be as autovacuum would leave them."""
        ...

    async def enqueue(self, numbers: Sequence[int]) -> None:
        """Enqueue jobs in one call, without duplicates, and wake the worker."""
        ...

    async def drain(self, jobs: int) -> float:
        """Work a backlog off in this process; return the seconds until the last job was completed."""
        ...

    def worker(self, on_start: OnStart) -> AbstractAsyncContextManager[Any]:
        """Run a worker in this process for as long as the context lasts."""
        ...


async def seconds_of(work: Awaitable[Any]) -> float:
    """Return how long something took."""
    started_at = time.perf_counter()
    await work
    return time.perf_counter() - started_at


async def fill(contender: Contender, jobs: int) -> float:
    """Enqueue ``0..jobs`` in batches; return jobs per second."""
    started_at = time.perf_counter()
    for first in range(0, jobs, BATCH):
        await contender.enqueue(range(first, min(first + BATCH, jobs)))
    return jobs / (time.perf_counter() - started_at)


async def enqueue_singly(contender: Contender, jobs: int) -> float:
    """Enqueue jobs one by one; return jobs per second."""
    started_at = time.perf_counter()
    for number in range(jobs):
        await contender.enqueue([number])
    return jobs / (time.perf_counter() - started_at)


async def start_latencies(contender: Contender, samples: int) -> list[float]:
    """Enqueue single jobs while the worker is idle; return the seconds from before the enqueue to each start."""
    started: dict[int, asyncio.Future[float]] = {}

    def on_start(number: int) -> None:
        future = started[number]
        if not future.done():
            future.set_result(time.perf_counter())

    seconds = []
    loop = asyncio.get_running_loop()
    async with contender.worker(on_start):
        await asyncio.sleep(1)  # the worker starts, and listens
        for number in range(samples):
            started[number] = loop.create_future()
            before = time.perf_counter()
            await contender.enqueue([number])
            async with asyncio.timeout(START_SECONDS):
                seconds.append(await started[number] - before)
            await asyncio.sleep(IDLE_SECONDS)
    return seconds
