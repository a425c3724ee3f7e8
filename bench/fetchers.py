"""From bytes to rows and into the table: what each data type costs, beside pydantic models of the same shape.

Both ways take the same body in turns, round by round, in this process; a ratio compares each round within itself, and
its median is told. Ours includes every check of the fetcher; pydantic's is to validate the body and dump its records.
"""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import click
import uvloop

from bench.fetchers_report import Decoding, build_result
from bench.fetchers_types import Case, build_cases
from bench.queue_server import opened, running_server
from bench.results import Result
from daemon.contracts import Row

UPSERTED = 500
_STORE = "select inserted, updated, unchanged from store_rows_v2('quote', $1)"


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured."""

    rounds: int
    seconds: float
    """Of each way in each round."""
    upserts: int


FULL = Sizes(rounds=9, seconds=0.5, upserts=60)
QUICK = Sizes(rounds=3, seconds=0.05, upserts=5)


@click.command()
@click.option("--quick", is_flag=True, help="Small sizes, seconds; prints the table and writes nothing.")
def main(*, quick: bool) -> None:
    """Measure the fetchers."""
    sizes = QUICK if quick else FULL
    uvloop.run(_bench(sizes)).publish(write=not quick)


async def _bench(sizes: Sizes) -> Result:
    cases = build_cases()
    decodings = {case.data_type: _decode(case, sizes) for case in cases}
    upserts = await _upsert(cases[0], sizes.upserts)
    memory = {case.data_type: await asyncio.to_thread(_memory_mb, case.data_type) for case in cases}
    return build_result(decodings, upserts, memory)


def _decode(case: Case, sizes: Sizes) -> Decoding:
    ours, theirs = case.parse, case.pydantic()
    assert len(ours(case.body)) == len(theirs(case.body)) == case.records, f"{case.data_type}: rows are missing"
    taken: tuple[list[float], list[float]] = ([], [])
    for _ in range(sizes.rounds):
        for way, seconds in zip((ours, theirs), taken, strict=True):
            seconds.append(_seconds_each(way, case.body, sizes.seconds) / case.records)
    return Decoding(*([1e6 * each for each in seconds] for seconds in taken))


def _seconds_each(way: Callable[[bytes], Any], body: bytes, for_seconds: float) -> float:
    gc.collect()
    started_at, times = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - started_at) < for_seconds:
        way(body)
        times += 1
    return elapsed / times


async def _upsert(quotes: Case, times: int) -> list[float]:
    """Store quotes that are all there and have all changed, in one statement each; return milliseconds."""
    (row, *_) = quotes.parse(quotes.body)
    milliseconds = []
    async with running_server(UPSERTED) as server, opened(server, "upserts") as (_, _, database):
        for number in range(times + 1):
            rows = _changed(row, number)
            started_at = time.perf_counter()
            stored = await database.fetchrow(_STORE, rows)
            seconds = time.perf_counter() - started_at
            assert stored is not None
            assert tuple(stored) == ((0, UPSERTED, 0) if number else (UPSERTED, 0, 0)), f"{stored}"
            milliseconds += [1000 * seconds] * (number > 0)
    return milliseconds


def _changed(row: Row, number: int) -> Sequence[Row]:
    return [{**row, "symbol": f"S{each:07d}", "price": 100 + number} for each in range(UPSERTED)]


def _memory_mb(data_type: str) -> float:
    """Return how far a process of its own grows over a body as large as the cap."""
    program = (sys.executable, "-m", "bench.fetchers_memory", data_type)
    return float(subprocess.run(program, check=True, capture_output=True, text=True).stdout)


if __name__ == "__main__":
    main()
