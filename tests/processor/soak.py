"""Two to five daemons at one queue and one budget, killed, frozen, stopped and started, until 100,000 calls are made.

The upstream counts what arrives: no sliding minute may see more than the plan allows, but for the calls that a process
frozen between reserving and sending holds in its hands. The database counts what became of it: every job that was ever
opened is still there, once, and every end of a job was told its pair once.
"""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import click

from devstack.daemon_process import DaemonProcess
from devstack.stack import Stack
from devstack.upstream.faults import Fault, FaultKind
from tests.rows import orphans

FEWEST, MOST = 2, 5
CONCURRENCY = 16
FEED_SECONDS = 0.2
FREEZE_SECONDS = (0.5, 6.0)
OUTAGE_SECONDS = 2.0
SETTLE_SECONDS = 60.0

_BOOKS = """
create table opened (id uuid primary key);
create table ended (id uuid not null, status text not null);
create table told (symbol text not null, data_type text not null);
grant insert, select on opened, ended, told to public;
create function note_opened() returns trigger language plpgsql as
    $$ begin insert into opened values (new.id) on conflict do nothing; return new; end $$;
create function note_ended() returns trigger language plpgsql as
    $$ begin insert into ended values (new.id, new.status); return new; end $$;
create function note_told() returns trigger language plpgsql as
    $$ begin insert into told values (new.symbol, new.data_type); return new; end $$;
create trigger note before insert on api_call_queue_v2_pending for each row execute function note_opened();
create trigger note before insert on api_call_queue_v2_completed for each row execute function note_ended();
create trigger note before insert on api_call_queue_v2_failed for each row execute function note_ended();
create trigger note after update on refresh_state_v2 for each row
    when (new.last_checked_at is distinct from old.last_checked_at) execute function note_told();
"""
_FEED = """
select count(*) from queue_refreshes_v2(
    array(select symbol from supported_symbols order by symbol), array_fill('profile'::text, array[$1::int]),
    array_fill(1, array[$1::int])
)
"""
_LOST = "select count(*) from opened o where not exists (select from api_call_queue_v2 q where q.id = o.id)"
_TWICE = "select count(*) - count(distinct id) from api_call_queue_v2"
_OPEN = "select count(*) from api_call_queue_v2 where status in ('pending', 'processing')"
_ENDED = "select count(*) from ended"
_TOLD = "select count(*) from told"
_SPENT = "select coalesce(sum(calls), 0) from api_data_usage_v2"


@dataclass(frozen=True, slots=True)
class Plan:
    """How many calls, at which limit, and how often something happens."""

    calls: int
    calls_per_minute: int
    pause_seconds: tuple[float, float]
    seed: int
    longest_seconds: float = 1_800.0


@dataclass(slots=True)
class Report:
    """What happened, and what was found afterwards."""

    seconds: float = 0.0
    calls: int = 0
    spent: int = 0
    most_within_60_s: int = 0
    allowed_within_60_s: int = 0
    jobs: int = 0
    lost: int = 0
    twice: int = 0
    told: int = 0
    still_open: int = 0
    orphans: int = 0
    faults: Counter[str] = field(default_factory=Counter)

    @property
    def problems(self) -> list[str]:
        """Return what must not be."""
        found = {
            f"{self.most_within_60_s} calls within 60 s": self.most_within_60_s > self.allowed_within_60_s,
            f"{self.calls} calls were made and {self.spent} paid for": self.calls > self.spent,
            f"{self.lost} jobs are lost": self.lost,
            f"{self.twice} jobs are there twice": self.twice,
            f"{self.told} ends were told for {self.jobs} that came": self.told != self.jobs,
            f"{self.still_open} jobs are still open": self.still_open,
            f"{self.orphans} pairs and jobs do not belong together": self.orphans,
        }
        return [problem for problem, is_there in found.items() if is_there]


class Soak:
    """One run."""

    def __init__(self, stack: Stack, plan: Plan) -> None:
        self._stack = stack
        self._plan = plan
        self._random = random.Random(plan.seed)
        self._daemons: list[DaemonProcess] = []
        self._started = 0
        self.report = Report()

    async def run(self) -> None:
        """Feed and disturb until enough calls were made, then let everything come to its end and look."""
        began = time.monotonic()
        await self._stack.owner.execute(_BOOKS)
        self._stack.upstream.calls_per_minute = 10 * self._plan.calls_per_minute  # it counts, and refuses nothing
        for _ in range(FEWEST):
            await self._start()
        async with asyncio.timeout(self._plan.longest_seconds), asyncio.TaskGroup() as group:
            feeder, disturber = group.create_task(self._feed()), group.create_task(self._disturb())
            await self._stack.upstream.wait_for_calls(self._plan.calls)
            disturber.cancel()
            await asyncio.wait([disturber])
            feeder.cancel()
        self._stack.upstream.faults.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_SECONDS + self._plan.calls_per_minute / 60):
                while await self._stack.owner.fetchval(_OPEN):  # noqa: ASYNC110 - a table sets no event
                    await asyncio.sleep(0.5)
        await self._look(time.monotonic() - began)

    async def _look(self, seconds: float) -> None:
        owner, report = self._stack.owner, self.report
        report.seconds = seconds
        report.still_open = await owner.fetchval(_OPEN)
        for daemon in self._daemons:
            await daemon.stop()
        report.calls, report.spent = self._stack.upstream.calls, await owner.fetchval(_SPENT)
        report.most_within_60_s = self._stack.upstream.max_calls_per_60s()
        report.allowed_within_60_s = self._plan.calls_per_minute + CONCURRENCY * report.faults["frozen"]
        report.jobs, report.told = await owner.fetchval(_ENDED), await owner.fetchval(_TOLD)
        report.lost, report.twice = await owner.fetchval(_LOST), await owner.fetchval(_TWICE)
        report.orphans = await orphans(owner)

    async def _feed(self) -> None:
        symbols = len(self._stack.upstream.symbols())
        while True:
            await self._stack.owner.fetchval(_FEED, symbols)
            await asyncio.sleep(FEED_SECONDS)

    async def _disturb(self) -> None:
        kinds: list[Callable[[], Coroutine[Any, Any, None]]] = [
            self._killed,
            self._frozen,
            self._stopped,
            self._joined,
            self._outage,
        ]
        while True:
            self._random.shuffle(kinds)
            for kind in kinds:
                await asyncio.sleep(self._random.uniform(*self._plan.pause_seconds))
                self.report.faults[kind.__name__.lstrip("_")] += 1
                await kind()

    async def _start(self) -> None:
        self._started += 1
        daemon = await self._stack.start_daemon(
            {
                "REFRESHD_INSTANCE": f"soak-{self._started}",
                "REFRESHD_CALLS_PER_MINUTE": str(self._plan.calls_per_minute),
                "REFRESHD_CONCURRENCY": str(CONCURRENCY),
                "REFRESHD_JOB_LEASE_SECONDS": "4",
                "REFRESHD_JOB_RENEW_SECONDS": "1",
                "REFRESHD_RECOVERY_INTERVAL_SECONDS": "1",
                "REFRESHD_BREAKER_OPEN_SECONDS": "1",
                "REFRESHD_LOG_LEVEL": "warning",
            }
        )
        self._daemons.append(daemon)

    async def _replace(self, how: signal.Signals) -> None:
        daemon = self._random.choice(self._daemons)
        self._daemons.remove(daemon)
        daemon.send(how)
        await daemon.wait()
        if len(self._daemons) < FEWEST:
            await self._start()

    async def _killed(self) -> None:
        await self._replace(signal.SIGKILL)

    async def _stopped(self) -> None:
        await self._replace(signal.SIGTERM)

    async def _joined(self) -> None:
        if len(self._daemons) < MOST:
            await self._start()

    async def _frozen(self) -> None:
        """Freeze one of them, also for longer than its leases last."""
        daemon = self._random.choice(self._daemons)
        daemon.send(signal.SIGSTOP)
        try:
            await asyncio.sleep(self._random.uniform(*FREEZE_SECONDS))
        finally:
            daemon.send(signal.SIGCONT)

    async def _outage(self) -> None:
        fault = Fault(self._random.choice([FaultKind.STATUS, FaultKind.RESET]))
        self._stack.upstream.faults.add(fault)
        try:
            await asyncio.sleep(OUTAGE_SECONDS)
        finally:
            self._stack.upstream.faults.clear()


async def soak(plan: Plan) -> Report:
    """Run a plan on a stack of its own."""
    async with Stack(calls_per_minute=plan.calls_per_minute, latency_seconds=0.02, durable=False) as stack:
        run = Soak(stack, plan)
        await run.run()
        return run.report


@click.command(help=__doc__)
@click.option("--calls", default=100_000, show_default=True, help="Calls to the upstream, then it ends.")
@click.option("--calls-per-minute", default=12_000, show_default=True, help="What the plan allows.")
@click.option("--seed", default=1, show_default=True, help="What happens when.")
def main(calls: int, calls_per_minute: int, seed: int) -> None:
    """Soak, and say what was found."""
    report = asyncio.run(soak(Plan(calls, calls_per_minute, (1.0, 6.0), seed)))
    click.echo(
        f"seed {seed}: {report.calls:,} calls in {report.seconds:.0f} s,"
        f" at most {report.most_within_60_s:,} within 60 s"
        f" ({calls_per_minute:,} allowed, and {CONCURRENCY} for each of {report.faults['frozen']} freezes);"
        f" {report.jobs:,} jobs ended, {report.told:,} ends told, {report.lost} lost, {report.twice} twice,"
        f" {report.still_open} open; paid for {report.spent:,}"
    )
    click.echo("happened: " + ", ".join(f"{kind} {times}" for kind, times in sorted(report.faults.items())))
    if report.problems:
        raise SystemExit("; ".join(report.problems))


if __name__ == "__main__":
    main()
