"""All policies, all plans and the bound on one size: what one worker process does."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from typing import Any

from bench.freshness.budget import WINDOW_SECONDS
from bench.freshness.driving import Plan, least_staleness, run, solve
from bench.freshness.orders import EVENTS, INDEX, ORDERS
from bench.freshness.world import World

PLANS = tuple(Plan(calls, limits_bytes) for limits_bytes in (False, True) for calls in (300, 3_000))


def measure(viewers: int, seconds: float, seed: int) -> dict[str, Any]:
    """Run every policy and the bound on one size; all figures of it."""
    began = time.monotonic()
    world = World(viewers, seconds, seed)
    curves, viewer_seconds = solve(world)
    cases = []
    for plan in PLANS:
        reports = {order.name: asdict(run(world, order, plan)) for order in ORDERS}
        batched = {order.name: asdict(run(world, order, plan, batched=True)) for order in (EVENTS, INDEX)}
        bound = least_staleness(curves, viewer_seconds, plan, seconds)
        guarded = least_staleness(curves, viewer_seconds, replace(plan, window_seconds=WINDOW_SECONDS), seconds)
        cases.append(
            {**asdict(plan), "bound": bound, "bound_at_62_s": guarded, "policies": reports, "with_batch_quote": batched}
        )
    return {"viewers": viewers, "cases": cases, "runtime_seconds": round(time.monotonic() - began, 1)}
