"""The loop that works the queue off: claims what free slots and both budgets allow, the moment something waits."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass

from daemon.contracts import Clock, Job, StoreUnavailableError
from daemon.crash_points import reached
from daemon.outage import Outage
from daemon.processor.dispatch import Batch, Dispatcher
from daemon.pulse import Pulse
from daemon.service import wait_for_any, wait_or_stop
from daemon.store.database import Database
from daemon.store.queue import claim_jobs, release_jobs, renew_leases, seconds_to_claim

LONGEST_HOLD_SECONDS = 5.0
"""After a refused call, claiming waits for what stood in the way, at most this long."""

SOONEST_AGAIN_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class ProcessorLimits:
    """How the loop works."""

    concurrency: int = 8
    lease_seconds: int = 30
    renew_seconds: float = 10.0
    linger_seconds: float = 0.01
    """After a wake-up, jobs are left to gather for this long, so that they share calls."""
    poll_seconds: float = 5.0
    """The slow poll behind the wake-ups: jobs that others queued."""
    drain_seconds: float = 11.0
    """When stopping, calls on the way may take this long."""


class Hold:
    """Until when claiming makes no sense, because a call was refused.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until = 0.0

    def extend(self, seconds: float) -> None:
        """Hold for that long from now, at most ``LONGEST_HOLD_SECONDS``."""
        self._until = max(self._until, self._clock.monotonic() + min(seconds, LONGEST_HOLD_SECONDS))

    @property
    def seconds_left(self) -> float:
        """For how long to hold; 0 where there is nothing to wait for."""
        return max(self._until - self._clock.monotonic(), 0.0)


class Processor:
    """The service that claims jobs and runs them.

    Args:
        database: Where the queue is.
        holder: Who claims: instance/boot.
        work: Set by whoever knows that jobs may be waiting.
        dispatcher: Runs what was claimed.
        hold: When not to claim.
        limits: How it works.
        clock: For claim times.
    """

    name = "processor"

    def __init__(
        self,
        database: Database,
        holder: str,
        work: asyncio.Event,
        dispatcher: Dispatcher,
        hold: Hold,
        limits: ProcessorLimits,
        clock: Clock,
    ) -> None:
        self._database = database
        self._holder = holder
        self._dispatcher = dispatcher
        self._hold = hold
        self._limits = limits
        self._clock = clock
        self._work = work
        self._running: dict[asyncio.Task[None], Batch] = {}
        self._claimed_at = -math.inf
        self._again_seconds: float | None = 0.0
        """In how many seconds a claim can bring something, after one that did not; at first at once."""
        self.outage = Outage("claim")
        self.pulse = Pulse(clock.monotonic)

    async def run(self, stop: asyncio.Event) -> None:
        """Claim and run until ``stop``; then let the calls on the way finish, and give back what does not."""
        async with asyncio.TaskGroup() as group:
            renewer = group.create_task(self._keep_leases(), name="leases")
            while not stop.is_set():
                self.pulse.beat(self._limits.poll_seconds + LONGEST_HOLD_SECONDS)
                await wait_for_any(stop, self._work, self._seconds_to_next())
                await wait_or_stop(stop, max(self._linger_left(), self._hold.seconds_left))
                if not stop.is_set():
                    await self._once(group)
            if self._running:
                await asyncio.wait(self._running, timeout=self._limits.drain_seconds)
            for task in self._running:
                task.cancel()
            renewer.cancel()

    def _seconds_to_next(self) -> float:
        poll = self._limits.poll_seconds
        again = poll if self._again_seconds is None else max(self._again_seconds, SOONEST_AGAIN_SECONDS)
        return self._hold.seconds_left or min(again, poll)

    def _linger_left(self) -> float:
        """Return for how long jobs that fit one call may gather: until a linger after the last claim."""
        return max(0.0, self._claimed_at + self._limits.linger_seconds - self._clock.monotonic())

    async def _once(self, group: asyncio.TaskGroup) -> None:
        """Claim once and start what was claimed."""
        free = self._limits.concurrency - len(self._running)
        if free <= 0:
            return
        self._claimed_at = self._clock.monotonic()
        try:
            jobs = await claim_jobs(
                self._database, free, self._holder, self._limits.lease_seconds, self._dispatcher.fetchers
            )
            again = None if jobs else await seconds_to_claim(self._database, self._dispatcher.fetchers)
        except StoreUnavailableError as error:
            self.outage.failed(error)
            self._hold.extend(0.5)
            return
        self.outage.passed()
        if jobs:
            reached("claimed")
        self._again_seconds = None if jobs else again
        await self._start(group, jobs, free)

    async def _start(self, group: asyncio.TaskGroup, jobs: list[Job], free: int) -> None:
        batches = self._dispatcher.batches(jobs, self._clock.monotonic())
        for batch in batches[:free]:
            task = group.create_task(self._dispatcher.run(batch), name=f"batch {batch.fetcher}")
            self._running[task] = batch
            task.add_done_callback(self._finished)
        surplus = [job for batch in batches[free:] for job in batch.jobs]
        if surplus:
            await self._give_back(surplus)
        if len(batches) >= free:
            self._work.set()

    async def _give_back(self, jobs: list[Job]) -> None:
        try:
            await release_jobs(self._database, jobs)
        except StoreUnavailableError as error:
            self.outage.failed(error)

    def _finished(self, task: asyncio.Task[None]) -> None:
        del self._running[task]
        self._work.set()

    async def _keep_leases(self) -> None:
        while True:
            self.pulse.beat(self._limits.renew_seconds, loop="leases")
            await asyncio.sleep(self._limits.renew_seconds)
            leases = [job.lease_id for batch in self._running.values() for job in batch.jobs]
            if leases:
                try:
                    await renew_leases(self._database, leases, self._limits.lease_seconds)
                    reached("renewed")
                except StoreUnavailableError as error:
                    self.outage.failed(error)
