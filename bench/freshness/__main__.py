"""``make bench-freshness``: S of the daemon's policy beside simpler ones and the bound, on the same seeded traces."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import click

from bench.freshness import outcome
from bench.freshness.measuring import measure
from bench.freshness.plot import draw

SIZES = (1_000, 10_000, 100_000, 1_000_000)


@click.command(help=__doc__)
@click.option("--seconds", default=3_600.0, show_default=True, help="Length of every trace, simulated.")
@click.option("--seed", default=1, show_default=True)
@click.option("--quick", is_flag=True, help="The two small sizes for ten minutes each; nothing is written.")
def main(seconds: float, seed: int, quick: bool) -> None:
    """Measure all sizes, two at a time, then print tables and write the figures and the plot."""
    sizes, seconds = (SIZES[:2], 600.0) if quick else (SIZES, seconds)
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        found = list(pool.map(measure, sizes, [seconds] * len(sizes), [seed] * len(sizes)))
    result = {"name": "freshness", "seconds": seconds, "seed": seed, "sizes": found, "goals": outcome.goals(found)}
    outcome.show(result)
    if not quick:
        outcome.write(result)
        draw(result)


if __name__ == "__main__":
    main()
