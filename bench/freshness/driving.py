"""From a trace to what a policy reached on it: single viewers up to ten thousand, the viewers by symbol above."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bench.freshness import bound
from bench.freshness.budget import BUFFER, Budget
from bench.freshness.orders import Order
from bench.freshness.simulation import Report, Simulation
from bench.freshness.world import MEAN_SESSION_SECONDS, SYMBOLS, TYPES, Viewed, World
from daemon.refresh.prices import Allowance

BYTES_PER_30_DAYS = 20e9
LATENCY_SECONDS = 0.25
LARGEST_BY_EVENTS = 10_000
TAGGED = 20_000
"""So many viewers are followed one by one, for the times they wait."""

_EVENT_STEP_SECONDS = 0.5
_COUNT_STEP_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What the upstream allows."""

    calls_per_minute: int
    limits_bytes: bool = False
    window_seconds: float = 60.0
    """Within which the calls of a minute fit, for the bound; every policy keeps the daemon's window of 62 s."""


def run(world: World, order: Order, plan: Plan, *, batched: bool = False) -> Report:
    """Let a policy work on a trace."""
    budget = Budget(Allowance(plan.calls_per_minute, BYTES_PER_30_DAYS), bytes_count=plan.limits_bytes)
    simulation = Simulation(
        order,
        budget,
        world.fresh_until,
        world.popularity * world.viewers,
        latency_seconds=LATENCY_SECONDS,
        batched=batched,
        seconds=world.seconds,
        seed=world.seed,
    )
    if world.viewers <= LARGEST_BY_EVENTS:
        _by_events(world, simulation)
    else:
        _by_counts(world, simulation)
    simulation.advance(world.seconds)
    return simulation.report()


def _by_events(world: World, simulation: Simulation) -> None:
    starts, ends, symbols = world.sessions
    tagged = np.random.default_rng([world.seed, 5]).random(len(starts)) < TAGGED / len(starts)
    moves = [(float(at), 1, number) for number, at in enumerate(starts)]
    moves += [(float(at), -1, number) for number, at in enumerate(ends) if at < world.seconds]
    for at, change, number in sorted(moves):
        simulation.advance(at)
        simulation.move(int(symbols[number]), change)
        if change > 0 and at > 0 and tagged[number]:
            simulation.tag(int(symbols[number]), float(ends[number]))


def _by_counts(world: World, simulation: Simulation) -> None:
    chance = np.random.default_rng([world.seed, 5])
    share = min(1.0, TAGGED / (world.joins_per_second * world.seconds))
    for second, (viewers, joined) in enumerate(world.counts()):
        simulation.advance(float(second))
        simulation.replace(viewers.astype(np.float64))
        tagged = chance.binomial(joined, share) if second else np.zeros_like(joined)
        for symbol in np.repeat(np.arange(SYMBOLS), tagged):
            simulation.tag(int(symbol), second + chance.exponential(MEAN_SESSION_SECONDS))


def solve(world: World) -> tuple[list[bound.Curve], float]:
    """Return what the bound needs to know of a trace, and all its viewer-seconds."""
    by_events = world.viewers <= LARGEST_BY_EVENTS
    watched = _watched_by_events(world) if by_events else _watched_by_counts(world)
    step = _EVENT_STEP_SECONDS if by_events else _COUNT_STEP_SECONDS
    curves = bound.solve_all(watched, world.fresh_until, step, exact=not by_events)
    return curves, float(watched.sum(dtype=np.float64)) * len(TYPES)


def least_staleness(curves: list[bound.Curve], viewer_seconds: float, plan: Plan, seconds: float) -> float:
    """Return the S that no policy can beat."""
    size = BYTES_PER_30_DAYS * BUFFER * seconds / 2_592_000 if plan.limits_bytes else np.inf
    return bound.lower_bound(curves, plan.calls_per_minute * seconds / plan.window_seconds, size) / viewer_seconds


def _watched_by_counts(world: World) -> Viewed:
    return np.array([viewers for viewers, _ in world.counts()], dtype=np.float32)


def _watched_by_events(world: World) -> Viewed:
    """Return the viewer-seconds by (step, symbol), exactly."""
    starts, ends, symbols = world.sessions
    steps = int(world.seconds / _EVENT_STEP_SECONDS)
    change = np.zeros((steps + 1, SYMBOLS), dtype=np.float32)
    for times, sign in ((starts, 1.0), (ends, -1.0)):
        inside = times < world.seconds
        at = times[inside] / _EVENT_STEP_SECONDS
        step = at.astype(np.int64)
        rest = 1.0 - (at - step)
        np.add.at(change, (step, symbols[inside]), sign * rest * _EVENT_STEP_SECONDS)
        np.add.at(change, (np.minimum(step + 1, steps), symbols[inside]), sign * (1.0 - rest) * _EVENT_STEP_SECONDS)
    watched: Viewed = np.cumsum(change[:steps], axis=0, dtype=np.float32).clip(0.0)
    return watched
