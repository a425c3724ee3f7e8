"""The simulation keeps its budgets, and the bound is one: no policy of these traces gets below it."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.freshness import bound
from bench.freshness.budget import WINDOW_SECONDS, Budget
from bench.freshness.driving import Plan, least_staleness, run, solve
from bench.freshness.orders import EVENTS, INDEX, MINUTES, ORDERS, POLL_ALL
from bench.freshness.world import TYPES, Type, World
from daemon.refresh.prices import Allowance
from daemon.store.database import Database

WORLD = World(viewers=300, seconds=400.0, seed=7)
PLANS = [Plan(60), Plan(3_000), Plan(300, limits_bytes=True)]


def stale(watched: list[float], fresh_until: int, cells: int, refreshes: tuple[int, ...]) -> float:
    """Return the viewer-seconds of the steps that nothing covers."""
    covered = set(range(fresh_until)) | {cell for at in refreshes for cell in range(at, at + cells)}
    return sum(seconds for step, seconds in enumerate(watched) if step not in covered)


@given(
    st.lists(st.sampled_from([0.0, 1.0, 3.0, 10.0]), min_size=2, max_size=9),
    st.integers(1, 4),
    st.integers(0, 9),
    st.sampled_from([0, 1, 12, 30]),
)
def test_the_best_refreshes_of_one_pair_are_found(watched: list[float], cells: int, fresh: int, place: int) -> None:
    kind = Type("any", float(cells), 1.0)
    cost = float(bound._COSTS[place])

    least = bound.solve_type(kind, np.array(watched)[:, None], np.array([float(fresh)]), 1.0, exact=True)

    steps = range(len(watched))
    best = min(
        stale(watched, min(fresh, len(watched)), cells, refreshes) + cost * len(refreshes)
        for count in range(len(watched) + 1)
        for refreshes in combinations(steps, count)
    )
    assert least[place] == pytest.approx(best)


@pytest.mark.parametrize("plan", PLANS, ids=str)
def test_no_policy_gets_below_the_bound(plan: Plan) -> None:
    curves, viewer_seconds = solve(WORLD)
    least = least_staleness(curves, viewer_seconds, plan, WORLD.seconds)

    reached = {order.name: run(WORLD, order, plan) for order in ORDERS}

    for report in reached.values():
        assert least <= report.staleness <= 1
        assert report.viewer_seconds == pytest.approx(viewer_seconds, rel=1e-3)
    ours, others = reached[INDEX.name].staleness, [reached[order.name].staleness for order in (MINUTES, POLL_ALL)]
    assert ours < min(others)


def test_a_larger_budget_and_batches_are_never_worse() -> None:
    small, large = run(WORLD, INDEX, Plan(60)), run(WORLD, INDEX, Plan(3_000))
    batched = run(WORLD, INDEX, Plan(60), batched=True)

    assert large.staleness < small.staleness
    assert batched.staleness < small.staleness


def test_the_same_seed_gives_the_same_figures() -> None:
    assert run(World(200, 200.0, 3), EVENTS, Plan(300)) == run(World(200, 200.0, 3), EVENTS, Plan(300))


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(1, 3)), max_size=300), st.sampled_from([5, 30, 300]))
def test_the_calls_of_any_window_stay_within_the_limit(steps: list[tuple[float, int]], limit: int) -> None:
    budget, now, made = Budget(Allowance(limit, 1e12), bytes_count=False), 0.0, []
    for seconds, calls in steps:
        now += seconds
        if budget.calls_left(now) >= calls:
            budget.spend(now, calls, 0.0)
            made.append((now, calls))
        else:
            assert budget.next_at(now, calls) > now

    for begin, _ in made:
        assert sum(calls for at, calls in made if begin <= at < begin + WINDOW_SECONDS) <= limit


async def test_the_types_are_those_of_the_registry(owner: Database) -> None:
    rows = await owner.fetch(
        "select data_type, default_ttl_minutes * 60, estimated_data_size_bytes, api_calls_per_job,"
        " symbol_column is null from data_type_registry_v2"
    )

    ours = {(kind.name, kind.ttl_seconds, kind.size_bytes, kind.calls, kind.is_global) for kind in TYPES}
    assert ours == {tuple(row) for row in rows}
