"""The daemon at full speed: jobs per second, what a job costs, and whether that grows with the queue.

The daemons are real ones, in processes of their own: claims, reservations, HTTP to an upstream on this machine,
effects. Nothing limits them but the machine, which they share with PostgreSQL, the upstream and this program. The
situations (data type, depth, number of daemons) take turns in every round; what is compared are medians over rounds.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import NamedTuple

import click
import uvloop

from bench.queue_server import TEMPLATE, Server, running_server
from bench.results import Result
from bench.throughput_backlog import Backlog, create_backlog, fed
from bench.throughput_claim import measure_claims, measure_sweeps
from bench.throughput_processes import Spent, environment, memory_mb, running_daemons, running_upstream, spent
from bench.throughput_report import Alone, Reading, Situation, build_result
from bench.throughput_servers import measure_upstreams

SYMBOLS = 100_000
"""The allow-list, the same at every depth: the daemon keeps it in memory, but neither claim nor effect looks at it."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured."""

    rounds: int
    depths: tuple[int, ...]
    symbols: int
    warm_up_seconds: float
    seconds: float
    claims: int
    calls: int
    """Made to each upstream, to compare them."""


FULL = Sizes(
    rounds=3,
    depths=(1_000, 100_000, 1_000_000),
    symbols=SYMBOLS,
    warm_up_seconds=2.0,
    seconds=5.0,
    claims=50,
    calls=500,
)
QUICK = Sizes(rounds=1, depths=(1_000, 20_000), symbols=1_000, warm_up_seconds=1.0, seconds=2.0, claims=5, calls=100)


@click.command()
@click.option("--quick", is_flag=True, help="Small sizes, a minute; prints the table and writes nothing.")
def main(*, quick: bool) -> None:
    """Measure the throughput of the daemon."""
    result = uvloop.run(_bench(QUICK if quick else FULL))
    result.publish(write=not quick)


async def _bench(sizes: Sizes) -> Result:
    upstreams = await measure_upstreams(sizes.calls)
    _say(f"upstreams {upstreams}")
    readings: dict[Situation, list[Reading]] = {}
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(running_server(sizes.symbols))
        url, _ = await stack.enter_async_context(running_upstream("bench.throughput_upstream"))
        backlogs = await _create_backlogs(server, sizes.depths)
        claims = await measure_claims(server, backlogs, sizes.claims)
        _say(f"claims {claims}")
        sweeps = await measure_sweeps(backlogs, sizes.rounds)
        _say(f"sweeps {sweeps}")
        for number in range(sizes.rounds):
            for backlog in backlogs:
                for daemons in (1, 2):
                    situation = Situation(backlog.data_type, backlog.depth, daemons)
                    reading = await _measure(server, backlog, url, daemons, sizes)
                    readings.setdefault(situation, []).append(reading)
                    _say(f"round {number + 1} of {sizes.rounds}: {situation}: {reading}")
    return build_result(readings, Alone(claims, sweeps, upstreams))


async def _create_backlogs(server: Server, depths: Sequence[int]) -> list[Backlog]:
    backlogs = []
    for depth in depths:
        for data_type in ("quote", "profile"):
            started_at = time.perf_counter()
            backlogs.append(await create_backlog(server, TEMPLATE, data_type, depth))
            _say(f"{backlogs[-1].name}: filled in {time.perf_counter() - started_at:.1f} s")
    return backlogs


class _Moment(NamedTuple):
    """What had been done and spent by then."""

    at: float
    completed: int
    calls: int
    spent: Spent


async def _measure(server: Server, backlog: Backlog, upstream_url: str, daemons: int, sizes: Sizes) -> Reading:
    """Let daemons work a backlog off, and read what they do between two moments after a warm-up."""
    postmaster = server.postmaster_pid
    await backlog.make_even()
    await server.checkpoint()
    settings = [environment(backlog.place, upstream_url, number) for number in range(daemons)]
    async with fed(backlog) as feeder, running_daemons(settings) as running:
        at_start = [memory_mb(daemon.pid)[0] for daemon in running]
        await asyncio.sleep(sizes.warm_up_seconds)
        before = _Moment(time.perf_counter(), feeder.completed, feeder.calls, spent(running, postmaster, feeder.pid))
        await asyncio.sleep(sizes.seconds)
        after = _Moment(time.perf_counter(), feeder.completed, feeder.calls, spent(running, postmaster, feeder.pid))
        return Reading(
            jobs=after.completed - before.completed,
            calls=after.calls - before.calls,
            seconds=after.at - before.at,
            daemon_cpu_seconds=after.spent.daemon_cpu_seconds - before.spent.daemon_cpu_seconds,
            postgres_cpu_seconds=after.spent.postgres_cpu_seconds - before.spent.postgres_cpu_seconds,
            memory_at_start_mb=max(at_start),
            memory_peak_mb=max(memory_mb(daemon.pid)[1] for daemon in running),
        )


def _say(progress: str) -> None:
    print(progress, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
