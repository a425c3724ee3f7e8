"""A hundred hours of the policy, as `make soak-policy` simulates ten thousand."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from tests.refresh.policy_hours import Load, World, random_load, simulate


@pytest.fixture(scope="module")
def overloaded() -> Load:
    """A load that asks for several times the calls that there are."""
    chance = random.Random(5)
    while (load := random_load(chance)).ample or load.limits_bytes or load.disturbed or load.joins_per_second < 0.05:
        pass
    return load


def test_no_budget_is_overshot_and_nobody_waits_without_being_reported() -> None:
    report = simulate(hours=100, hours_per_world=5, seed=3)

    assert report.worlds == 20
    assert min(report.restarts, report.clock_steps, report.outages, report.failures) > 0
    assert report.worst_window_share <= 1
    assert report.worst_bytes_share <= 1
    assert report.staleness_with_ample_budget < 0.01
    assert report.longest_wait_with_ample_budget_seconds < 30
    assert all(starved.waited_seconds > starved.bound_seconds for starved in report.starved)


def test_overload_starves_pairs_and_the_report_names_them(overloaded: Load) -> None:
    report = World(0, overloaded, seed=1).run(hours=8)

    assert report.starved
    assert all(starved.rank >= 0 for starved in report.starved)


@pytest.mark.parametrize(("bytes_per_call", "prices"), [(2_000.0, (1e-4, 1.0)), (40_000.0, (1.0, 1e-4))])
def test_the_prices_of_a_steady_load_settle_where_one_budget_binds(
    overloaded: Load, bytes_per_call: float, prices: tuple[float, float]
) -> None:
    size = bytes_per_call * overloaded.calls_per_minute * 43_200.0
    world = World(0, replace(overloaded, limits_bytes=True, bytes_per_30_days=size), seed=2)

    report = world.run(hours=24)

    assert (world.prices.calls, world.prices.bytes) == prices
    assert report.largest_price_drift < 0.01


def test_the_same_seed_is_the_same_world(overloaded: Load) -> None:
    assert World(0, overloaded, seed=9).run(hours=1) == World(0, overloaded, seed=9).run(hours=1)
