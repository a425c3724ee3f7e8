"""A hundred thousand hostile payloads through a real socket: the listener lives, counts every drop, and stays small.

Every batch of cases is made from the seed and its own number, so one batch can be sent again alone. Half of the
batches are metas and presences whose faults are known: the drops counted must be exactly those. The others are random
JSON and random frames, of which only is asked that the listener hears the next viewer and does not grow.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import click
import psutil

from daemon.contracts import Pair
from devstack.realtime.server import RealtimeServer
from tests.presence.fuzz_cases import known_case, random_frame, random_presence
from tests.presence.stage import LOBBY, SECRET, Stage, listening

MEBIBYTE = 1024 * 1024
CASES = 100_000
BATCH = 250
GROWTH_MEBIBYTES = 64.0
"""How much larger the process may be at the end than after its first tenth."""
WAIT_SECONDS = 60.0


@dataclass(slots=True)
class Report:
    """What came of a run."""

    seed: int
    cases: int = 0
    metas: int = 0
    drops: Counter[str] = field(default_factory=Counter)
    grown_mebibytes: float = 0.0
    seconds: float = 0.0


class FuzzError(AssertionError):
    """The listener did not do what it must."""


class Run:
    """Batches of cases for one listener.

    Args:
        server: Sends the cases.
        stage: The listener, and what comes of it.
        report: Grows by what was sent.
    """

    def __init__(self, server: RealtimeServer, stage: Stage, report: Report) -> None:
        self._server = server
        self._stage = stage
        self._report = report
        self._sentinels = 0

    async def batch(self, number: int, cases: int) -> None:
        """Send one batch and look at what it did.

        Raises:
            FuzzError: When a drop was not counted, or the listener does not hear any more.
        """
        rng = random.Random(f"{self._report.seed}/{number}")
        before = self.drops()
        expected: Counter[str] | None = None
        if number % 2 == 0:
            expected = self._send_known(rng, cases)
        else:
            self._send_random(rng, cases)
        await self._hears(number)
        counted = self.drops() - before
        if expected is not None and counted != expected:
            raise FuzzError(f"batch {number}: counted {counted - expected} too much, {expected - counted} too little")
        self._report.cases += cases

    def drops(self) -> Counter[str]:
        """Return what has been dropped, by reason."""
        return Counter(self._stage.listener.status().drops)

    def _send_known(self, rng: random.Random, cases: int) -> Counter[str]:
        expected = Counter[str]()
        for _ in range(cases):
            case = known_case(rng)
            self._server.inject(LOBBY, case.event, case.payload)
            expected += case.drops
            self._report.metas += case.metas
        return expected

    def _send_random(self, rng: random.Random, cases: int) -> None:
        for _ in range(cases):
            if rng.random() < 0.5:
                self._server.faults.send(random_frame(rng), role="service_role")
            else:
                self._server.inject(LOBBY, *random_presence(rng))
                self._report.metas += 3

    async def _hears(self, number: int) -> None:
        """Show that the listener has read everything: an empty state, then somebody who was never there before."""
        self._sentinels += 1
        sentinel = Pair(f"Z{self._sentinels}", "quote")
        entry = {"metas": [{"phx_ref": "sentinel", "views": {sentinel.symbol: [sentinel.data_type]}}]}
        self._server.inject(LOBBY, "presence_state", {"sentinel": entry})
        try:
            await self._stage.demand.until(lambda: self._stage.demand.viewers.get(sentinel) == 1, seconds=WAIT_SECONDS)
        except TimeoutError:
            raise FuzzError(f"batch {number}: the listener does not hear any more") from None
        self._stage.demand.changes.clear()  # or they would be what grows
        self._stage.demand.viewers.clear()


def numbers_of(cases: int, only: int | None) -> Iterator[tuple[int, int]]:
    """Yield the number of each batch and how many cases it has."""
    for number in range((cases + BATCH - 1) // BATCH):
        if only in {None, number}:
            yield number, min(BATCH, cases - number * BATCH)


async def fuzz(*, cases: int, seed: int, only: int | None = None, say: Callable[[str], object] = id) -> Report:
    """Send so many cases.

    Raises:
        FuzzError: With the batch that shows the fault; ``only`` sends that one alone.
    """
    report, began, process = Report(seed), time.monotonic(), psutil.Process()
    batches = list(numbers_of(cases, only))
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(RealtimeServer(SECRET))
        stage = await stack.enter_async_context(listening(server.url))
        await server.until(lambda: server.members(LOBBY) == 1)
        run = Run(server, stage, report)
        base = 0
        for done, (number, size) in enumerate(batches):
            await run.batch(number, size)
            if done == len(batches) // 10:
                gc.collect()
                base = process.memory_info().rss
            if done % 40 == 39:
                say(f"{report.cases:>7,} cases, {sum(run.drops().values()):>9,} drops counted")
        gc.collect()
        report.grown_mebibytes = round((process.memory_info().rss - base) / MEBIBYTE, 1)
        report.drops = run.drops()
        if len(server.handshakes) != 1:
            raise FuzzError(f"the listener connected {len(server.handshakes)} times: a case ended its session")
    report.seconds = round(time.monotonic() - began, 1)
    if report.grown_mebibytes > GROWTH_MEBIBYTES:
        raise FuzzError(f"the process grew by {report.grown_mebibytes} MiB")
    return report


@click.command()
@click.option("--cases", default=CASES, show_default=True)
@click.option("--seed", type=int, default=lambda: random.SystemRandom().randrange(2**32), help="By default a new one.")
@click.option("--batch", type=int, help="Only this one of the seed's batches.")
def main(cases: int, seed: int, batch: int | None) -> None:
    """Send the listener hostile payloads; the exit code is 1 where a fault was found."""
    click.echo(f"seed {seed}")
    try:
        report = asyncio.run(fuzz(cases=cases, seed=seed, only=batch, say=click.echo))
    except* FuzzError as group:
        for error in group.exceptions:
            click.echo(f"FAILED  {error}")
        click.echo(f"again: make fuzz-presence ARGS='--seed {seed} --batch NUMBER'")
        sys.exit(1)
    for reason, number in report.drops.most_common():
        click.echo(f"{number:>9,}  {reason}")
    click.echo(
        f"ok: {report.cases:,} cases, {report.metas:,} metas in {report.seconds} s;"
        f" the process grew by {report.grown_mebibytes} MiB"
    )


if __name__ == "__main__":
    main()
