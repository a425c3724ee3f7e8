"""A hundred thousand bodies for the fetchers, in turn: only errors of the contract come out, or rows to be stored.

Every case is made from the seed and its own number, so that one can be run again alone. Oddities go where those of the
daemon go: what an upstream invents must not make the process grow.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import random
import secrets
import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import click
import psutil
import structlog

from daemon.contracts import Fetched, FetchError
from daemon.processor.drift import DriftWatch
from tests.fetchers.conformance import ConformanceError, ScriptedUpstream, Subject, answers_of, fetched
from tests.fetchers.fuzz_bodies import spoil
from tests.fetchers.subjects import SUBJECTS

MEBIBYTE = 1024 * 1024
CASES = 100_000
GROWTH_MEBIBYTES = 64.0
"""How much larger the process may be at the end than after its first tenth."""


@dataclass(slots=True)
class Report:
    """What came of a run."""

    seed: int
    cases: int = 0
    results: Counter[str] = field(default_factory=Counter)
    oddities: int = 0
    grown_mebibytes: float = 0.0
    seconds: float = 0.0


class FuzzError(AssertionError):
    """A fetcher did not do what it must."""


async def fuzz(cases: int, seed: int, *, only: int | None = None, subjects: Mapping[str, Subject] = SUBJECTS) -> Report:
    """Give so many bodies to the fetchers.

    Args:
        cases: How many.
        seed: Of everything that is random.
        only: The number of the one case to run.
        subjects: The fetchers, by name.

    Raises:
        FuzzError: When something else came out than the contract allows, or the process grew.
    """
    report, drift = Report(seed), DriftWatch()
    names = sorted(subjects)
    answers = {name: await _answers(subjects[name]) for name in names}
    began_at, size = time.monotonic(), 0
    for number in range(cases) if only is None else (only,):
        name = names[number % len(names)]
        result = await _case(subjects[name], answers[name], f"{seed}/{number}", number)
        drift.note_results(name, [result])
        report.results[_kind(result)] += 1
        report.cases += 1
        if number == cases // 10:
            size = _size()
    report.oddities = sum(drift.counts.values())
    report.seconds = round(time.monotonic() - began_at, 1)
    if only is None:
        report.grown_mebibytes = round((_size() - size) / MEBIBYTE, 1)
    if report.grown_mebibytes > GROWTH_MEBIBYTES:
        raise FuzzError(f"the process grew by {report.grown_mebibytes} MiB")
    return report


async def _answers(subject: Subject) -> Mapping[str, bytes]:
    return await asyncio.to_thread(answers_of, subject)


async def _case(subject: Subject, answers: Mapping[str, bytes], seed: str, number: int) -> Fetched | FetchError:
    rng = random.Random(seed)
    endpoint = rng.choice(sorted(answers))
    body = spoil(answers[endpoint], rng)
    try:
        return await fetched(subject, ScriptedUpstream(subject.good, {endpoint: body}))
    except ConformanceError as error:
        raise FuzzError(f"case {number}, {endpoint} answering {body[:200]!r}: {error}") from error


def _kind(result: Fetched | FetchError) -> str:
    if isinstance(result, FetchError):
        return result.kind
    return "rows" if result.rows else "no rows"


def _size() -> int:
    gc.collect()
    return int(psutil.Process().memory_info().rss)


@click.command()
@click.option("--cases", type=click.IntRange(10), default=CASES, show_default=True)
@click.option("--seed", type=int, default=None, help="A random one where none is given.")
@click.option("--only", type=click.IntRange(0), default=None, help="Run this one case again.")
def main(cases: int, seed: int | None, only: int | None) -> None:
    """Give hostile bodies to all fetchers; the exit code is 1 where a fault was found."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    seed = secrets.randbelow(2**32) if seed is None else seed
    click.echo(f"seed {seed}, {len(SUBJECTS)} fetchers: {', '.join(sorted(SUBJECTS))}")
    try:
        report = asyncio.run(fuzz(cases, seed, only=only))
    except FuzzError as error:
        click.echo(f"FAILED  {error}")
        click.echo(f"again: make fuzz-fetchers ARGS='--seed {seed} --only NUMBER'")
        sys.exit(1)
    for kind, count in report.results.most_common():
        click.echo(f"{count:>9,}  {kind}")
    click.echo(
        f"ok: {report.cases:,} cases, {report.oddities:,} oddities in {report.seconds} s;"
        f" the process grew by {report.grown_mebibytes} MiB"
    )


if __name__ == "__main__":
    main()
