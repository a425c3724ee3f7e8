"""The queue against pgqueuer and procrastinate, and against its own growth: one run, one server, in turns.

Each queue runs in this process, one after the other in every round; what is compared are medians over the rounds. Ours
runs its whole lifecycle: dedupe by pair state, order by gain, leases, a reservation for every call, completion with
state, settlement, size learning. A call of quotes carries 100 jobs, as in production; a call of profiles carries one.
"""

from __future__ import annotations

import logging
import sys
from contextlib import AsyncExitStack
from dataclasses import dataclass

import click
import structlog
import uvloop

from bench.queue_budgets import measure_budgets
from bench.queue_own import OwnQueue
from bench.queue_pgqueuer import Pgqueuer
from bench.queue_procrastinate import Procrastinate
from bench.queue_report import OWN, Samples, Scale, build_result, percentiles_ms
from bench.queue_rounds import Contender, enqueue_singly, fill, start_latencies
from bench.queue_scale import measure_claims, measure_sweep
from bench.queue_server import Server, opened, running_server
from bench.results import Result

ENQUEUE = "enqueue by 1,000 per s"
SINGLY = "enqueue singly per s"
WARM_UP_JOBS = 2_000
"""At most so many, and a tenth of a backlog, are drained before it: connections are open, and plans are made, as in a
process that has run for a while."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured."""

    rounds: int
    backlogs: tuple[int, int]
    slow_backlog: int
    """What procrastinate drains in a round, and our profiles: they do one job at a time."""
    singles: int
    starts: int
    depths: tuple[int, ...]
    completed: int
    claims: int
    pairs: int
    attempts: int
    turns: int
    budget_samples: int


FULL = Sizes(
    rounds=3,
    backlogs=(20_000, 100_000),
    slow_backlog=2_000,
    singles=300,
    starts=100,
    depths=(1_000, 100_000, 250_000),
    completed=1_000_000,
    claims=50,
    pairs=20_000,
    attempts=13_000_000,
    turns=10_000,
    budget_samples=200,
)
QUICK = Sizes(
    rounds=1,
    backlogs=(2_000, 5_000),
    slow_backlog=100,
    singles=20,
    starts=10,
    depths=(1_000, 2_000, 5_000),
    completed=10_000,
    claims=10,
    pairs=1_000,
    attempts=50_000,
    turns=100,
    budget_samples=20,
)


@click.command()
@click.option("--quick", is_flag=True, help="Small sizes, under a minute; prints the table and writes nothing.")
def main(*, quick: bool) -> None:
    """Measure the queue."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    result = uvloop.run(_bench(QUICK if quick else FULL))
    result.publish(write=not quick)


async def _bench(sizes: Sizes) -> Result:
    samples = Samples()
    async with running_server(max(*sizes.backlogs, *sizes.depths)) as server:
        await _compare(server, sizes, samples)
        claims = await measure_claims(server, sizes.depths, sizes.completed, sizes.claims)
        _say(f"claims {claims}")
        sweeps = await measure_sweep(server, sizes.pairs, sizes.rounds)
        _say(f"sweeps {sweeps}")
        budgets = await measure_budgets(server, sizes.attempts, sizes.turns, sizes.budget_samples)
        _say(f"budgets {budgets}")
    scale = Scale(sizes.depths, sizes.completed, sizes.pairs, claims, sweeps, budgets)
    return build_result(samples, tuple(_drain(jobs) for jobs in sizes.backlogs), scale)


async def _compare(server: Server, sizes: Sizes, samples: Samples) -> None:
    async with AsyncExitStack() as stack:
        _, owner, database = await stack.enter_async_context(opened(server, "own"))
        own = OwnQueue(owner, database)
        eager = OwnQueue(owner, database, name=f"{OWN}, no linger", linger_seconds=0)
        to_call = OwnQueue(owner, database, name=f"{OWN}, no linger, to call", linger_seconds=0, starts_with_call=True)
        profiles = OwnQueue(owner, database, "profile", name=f"{OWN}, one job a call")
        pgqueuer = await stack.enter_async_context(Pgqueuer.open((await server.create("pgqueuer")).owner_url))
        place = await server.create("procrastinate")
        procrastinate = await stack.enter_async_context(Procrastinate.open(place.owner_url))
        for number in range(sizes.rounds):
            _say(f"round {number + 1} of {sizes.rounds}")
            for jobs in sizes.backlogs:
                await _work_off(server, own, jobs, samples, notes_fill=jobs == sizes.backlogs[0])
                await _work_off(server, pgqueuer, jobs, samples, notes_fill=jobs == sizes.backlogs[0])
                if jobs == sizes.backlogs[0]:
                    await _work_off(server, procrastinate, sizes.slow_backlog, samples, notes_fill=True)
            await _work_off(server, profiles, sizes.slow_backlog, samples, notes_fill=False)
            for contender in (own, pgqueuer, procrastinate):
                await contender.clear()
                samples.note(SINGLY, contender.name, await enqueue_singly(contender, sizes.singles))
            for contender in (own, eager, to_call, pgqueuer, procrastinate):
                await _start(contender, sizes.starts, samples)
        samples.note("enqueues repeated after a timeout", OWN, own.timeouts + profiles.timeouts)


async def _work_off(server: Server, contender: Contender, jobs: int, samples: Samples, *, notes_fill: bool) -> None:
    """Warm up, fill and drain; ours is then filled once more, with pairs that it knows and that are due again."""
    await contender.clear()
    warm_up = min(jobs // 10, WARM_UP_JOBS)
    await fill(contender, warm_up)
    await contender.drain(warm_up)
    await contender.clear()
    await server.checkpoint()
    rate = await fill(contender, jobs)
    await contender.settle_down()
    await server.checkpoint()
    samples.note(_drain(jobs), contender.name, jobs / await contender.drain(jobs))
    if notes_fill and isinstance(contender, OwnQueue):
        samples.note(ENQUEUE, f"{contender.name}, pairs never seen", rate)
        await contender.make_due()
        await contender.settle_down()
        await server.checkpoint()
        rate = await fill(contender, jobs)
    if notes_fill:
        samples.note(ENQUEUE, contender.name, rate)
    _say(f"{contender.name}, {jobs:,} jobs: done")


async def _start(contender: Contender, samples_each: int, samples: Samples) -> None:
    await contender.clear()
    p50, p99 = percentiles_ms(await start_latencies(contender, samples_each))
    samples.note("start p50 ms", contender.name, p50)
    samples.note("start p99 ms", contender.name, p99)


def _drain(jobs: int) -> str:
    return f"drain of {jobs:,} per s"


def _say(progress: str) -> None:
    print(progress, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
