"""What calls and bytes cost: the prices that make one order right for two budgets. Pure.

``choose_jobs_v2`` and ``adapt_prices_v2`` are the same in SQL, where all processes share them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

ADAPT_SECONDS = 30.0
FIRST_VIEW_SHARE = 0.1
_STEP = 0.15
_TARGET_SHARE = 0.98
_LARGEST_SHARE = 4.0
_CHEAPEST, _DEAREST = 1e-4, 1e4
_MINUTES_IN_30_DAYS = 43_200.0


@dataclass(frozen=True, slots=True)
class Allowance:
    """The two budgets of an upstream's plan."""

    calls_per_minute: float
    bytes_per_30_days: float

    @property
    def bytes_per_call(self) -> float:
        """The bytes that the budgets leave for one call, were both used to the end."""
        return self.bytes_per_30_days / (self.calls_per_minute * _MINUTES_IN_30_DAYS)


@dataclass(frozen=True, slots=True)
class Prices:
    """What a call costs, and what the bytes that the budgets leave for one call cost."""

    calls: float = 1.0
    bytes: float = 1.0

    def cost(self, allowance: Allowance, calls: float, size_bytes: float) -> float:
        """Return the cost of a refresh.

        Args:
            allowance: The budgets.
            calls: Its calls; a share of one where several refreshes ride in a call.
            size_bytes: Its bytes, which nobody shares.
        """
        return self.calls * calls + self.bytes * size_bytes / allowance.bytes_per_call

    def adapted(self, calls_share: float, bytes_share: float) -> Prices:
        """Return the prices after ``ADAPT_SECONDS``, given the shares of the budgets that were lately used."""
        return Prices(_adapted(self.calls, calls_share), _adapted(self.bytes, bytes_share))


def first_view_chance(cost: float, best_cost: float) -> float:
    """Return how probably the next call goes to the oldest first view instead of the best refresh.

    A tenth, and less where it costs more than the best: first views get a tenth of what is spent, not of the calls.
    """
    return FIRST_VIEW_SHARE * min(1.0, best_cost / cost)


def _adapted(price: float, used_share: float) -> float:
    moved = price * math.exp(_STEP * (min(used_share, _LARGEST_SHARE) - _TARGET_SHARE))
    return min(max(moved, _CHEAPEST), _DEAREST)
