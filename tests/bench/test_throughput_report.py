"""Medians, ratios and goals of the throughput benchmark."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.results import Goal, Result
from bench.throughput_report import Alone, Reading, Readings, Situation, build_result, within_rounds

LEAST, MOST = 1_000, 1_000_000
ALONE = Alone(
    claims_ms={"quote, 1,000 pending": 5.0, "quote, 1,000,000 pending": 6.0},
    sweeps_seconds={"quote, 1,000 pending": 0.1, "quote, 1,000,000 pending": 4.9},
    upstreams_ms={"upstream ms": 1.5},
)
ONE = Situation("quote", LEAST, 1)


def reading(*, jobs: int = 1_000, daemon: float = 0.1, postgres: float = 0.2, peak: float = 80.0) -> Reading:
    return Reading(
        jobs=jobs,
        calls=10,
        seconds=2.0,
        daemon_cpu_seconds=daemon,
        postgres_cpu_seconds=postgres,
        memory_at_start_mb=70.0,
        memory_peak_mb=peak,
    )


def readings(*, growth: float = 1.0) -> Readings:
    """Return two rounds, the second on a machine half as fast, in which the deepest backlog costs that much more."""
    return {
        Situation("quote", depth, daemons): [
            reading(jobs=1_000 * daemons, daemon=slowness * daemons * 0.1 * (growth if depth == MOST else 1.0))
            for slowness in (1, 2)
        ]
        for depth in (LEAST, MOST)
        for daemons in (1, 2)
    }


def goals(result: Result) -> dict[str, Goal]:
    return {goal.name: goal for goal in result.goals}


def test_what_a_job_costs_is_microseconds_of_cpu() -> None:
    one = reading(jobs=1_000, daemon=0.1, postgres=0.2)

    assert (one.daemon_microseconds, one.postgres_microseconds) == pytest.approx((100.0, 200.0))
    assert one.jobs_per_second == 500.0


def test_a_ratio_compares_each_round_within_itself() -> None:
    other = ONE._replace(depth=MOST)
    uneven = {
        ONE: [reading(daemon=0.1), reading(daemon=0.9), reading(daemon=0.3)],
        other: [reading(daemon=0.2), reading(daemon=1.8), reading(daemon=0.3)],
    }

    assert within_rounds(uneven, other, ONE, "daemon_microseconds") == pytest.approx(2.0)


def test_a_ratio_of_rounds_that_are_missing_is_refused() -> None:
    other = ONE._replace(depth=MOST)

    with pytest.raises(ValueError, match="zip"):
        within_rounds({ONE: [reading()], other: [reading(), reading()]}, other, ONE, "jobs_per_second")


def test_a_cost_that_does_not_grow_meets_its_goal() -> None:
    met = goals(build_result(readings(growth=1.1), ALONE))

    assert all(goal.met for goal in met.values())
    assert met["daemon CPU: quote, 1 process, 1,000,000 / 1,000 pending"].measured == pytest.approx(1.1)
    assert met["claim: quote, 1,000,000 / 1,000 pending"].measured == pytest.approx(1.2)


def test_a_cost_that_grows_misses_its_goal_and_alone_does() -> None:
    result = goals(build_result(readings(growth=1.3), ALONE))

    assert {name for name, goal in result.items() if not goal.met} == {
        "daemon CPU: quote, 1 process, 1,000,000 / 1,000 pending",
        "daemon CPU: quote, 2 processes, 1,000,000 / 1,000 pending",
    }


def test_two_processes_are_shown_together_and_each() -> None:
    result = build_result(readings(), ALONE)

    assert result.figures["quote, 1,000 pending, 2 processes: jobs per s"] == 1_000.0
    assert result.figures["quote, 1,000 pending, 2 processes: jobs per s and process"] == 500.0
    assert result.ratios["jobs per s, 2 / 1 processes: quote, 1,000 pending"] == pytest.approx(2.0)
    assert result.figures["upstream ms"] == 1.5


def test_memory_is_shown_at_its_highest_of_all_rounds() -> None:
    rounds = dict(readings())
    rounds[ONE] = [reading(peak=75.0), reading(peak=90.0)]

    assert build_result(rounds, ALONE).figures["quote, 1,000 pending, 1 process: memory peak MB"] == 90.0


def test_a_sweep_that_is_given_up_misses_its_goal() -> None:
    slow = replace(ALONE, sweeps_seconds={"quote, 1,000 pending": 0.1, "quote, 1,000,000 pending": 5.0})

    missed = [goal for goal in build_result(readings(), slow).goals if not goal.met]

    assert [(goal.name, goal.measured) for goal in missed] == [("slowest sweep, s", 5.0)]
