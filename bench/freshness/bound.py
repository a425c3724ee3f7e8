"""What no policy can beat: the least staleness that one who knows the future reaches with the same budgets.

The budgets are relaxed to their totals over the trace, and the totals to prices (Lagrange). At a given price, the best
refreshes of one pair do not depend on the others, and are found by going backwards through its trace: at every step,
either wait, or pay and be fresh for one TTL. What that costs all pairs, less the price of the whole budget, is below
what any policy reaches that keeps within the budget, whatever the price; the largest such value is the bound.

Steps are generous where they have to be: an answer takes no time, and a refresh covers every step that its TTL touches.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bench.freshness.world import TYPES, Floats, Type, Viewed

_COSTS = np.concatenate([[0.0], np.geomspace(1.0, 1e6, 60)])
"""Prices of one refresh, in viewer-seconds, at which a type is solved; between two of them, the chord is below."""
_PRICES = np.concatenate([[0.0], np.geomspace(0.1, 1e6, 160)])
_LARGEST_CHUNK = 200
_COSTS_AT_ONCE = 61


@dataclass(frozen=True, slots=True)
class Curve:
    """By ``_COSTS``, the least of stale viewer-seconds and costs together that one type allows."""

    kind: Type
    least: Floats

    def at(self, cost: Floats) -> Floats:
        """Return it for other costs, from below: the curve is concave."""
        return np.asarray(np.interp(cost, _COSTS, self.least), dtype=np.float64)


def solve_type(kind: Type, watched: Floats, fresh_until: Floats, step_seconds: float, *, exact: bool) -> Floats:
    """Return the least costs of some pairs of one type, by ``_COSTS``.

    Args:
        kind: The type.
        watched: By (step, pair), the viewer-seconds of the step.
        fresh_until: By pair, until when it is fresh at the start.
        step_seconds: How long a step is.
        exact: Whether refreshes happen between steps only: then a TTL touches no more of them than it is long.
    """
    steps, pairs = watched.shape
    cells = int(np.ceil(kind.ttl_seconds / step_seconds)) + (0 if exact else 1)
    first = np.clip(np.ceil(np.nan_to_num(fresh_until) / step_seconds), 0, steps).astype(np.int64)
    least = np.zeros(len(_COSTS))
    if cells >= steps:
        total = np.cumsum(watched[::-1], axis=0)[::-1]
        open_at = np.where(first < steps, total[np.minimum(first, steps - 1), np.arange(pairs)], 0.0)
        return np.asarray(np.minimum(open_at[None, :], _COSTS[:, None]).sum(axis=1), dtype=np.float64)
    for begin in range(0, len(_COSTS), _COSTS_AT_ONCE):
        costs = _COSTS[begin : begin + _COSTS_AT_ONCE, None]
        ring = np.zeros((cells, len(costs), pairs))
        value = np.zeros((len(costs), pairs))
        picked = np.zeros((len(costs), pairs))
        for step in range(steps - 1, -1, -1):
            after = ring[step % cells] + costs  # written one TTL later in time
            value = np.minimum(value + watched[step], after)
            ring[step % cells] = value
            chosen = first == step
            if chosen.any():
                picked[:, chosen] = value[:, chosen]
        least[begin : begin + _COSTS_AT_ONCE] = picked.sum(axis=1)
    return least


def lower_bound(curves: list[Curve], calls: float, size_bytes: float) -> float:
    """Return the stale viewer-seconds that cannot be avoided with so many calls and bytes (infinite: no limit)."""
    byte_prices = _PRICES / 10_000.0 if np.isfinite(size_bytes) else np.zeros(1)
    call_price, byte_price = np.meshgrid(_PRICES, byte_prices, indexing="ij")
    value = sum(curve.at(call_price * curve.kind.calls + byte_price * curve.kind.size_bytes) for curve in curves)
    budget = call_price * calls + (byte_price * size_bytes if np.isfinite(size_bytes) else 0.0)
    return float(np.max(value - budget))


def chunks(pairs: int) -> list[slice]:
    """Return how many pairs are solved together: as many as stay in the cache."""
    return [slice(at, min(at + _LARGEST_CHUNK, pairs)) for at in range(0, pairs, _LARGEST_CHUNK)]


def solve_all(watched: Viewed, fresh_until: Floats, step_seconds: float, *, exact: bool) -> list[Curve]:
    """Return the curve of every type.

    Args:
        watched: By (step, symbol), viewer-seconds, the same for every type of a page.
        fresh_until: By (type, symbol).
        step_seconds: How long a step is.
        exact: See :func:`solve_type`.
    """
    curves = []
    for row, kind in enumerate(TYPES):
        if kind.is_global:
            everybody = watched.sum(axis=1, keepdims=True).astype(np.float64)
            least = solve_type(kind, everybody, fresh_until[row, :1], step_seconds, exact=exact)
        else:
            least = np.zeros(len(_COSTS))
            for part in chunks(watched.shape[1]):
                seen = watched[:, part].astype(np.float64)
                least += solve_type(kind, seen, fresh_until[row, part], step_seconds, exact=exact)
        curves.append(Curve(kind, least))
    return curves
