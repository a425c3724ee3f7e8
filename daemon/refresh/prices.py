"""What calls and bytes cost: the prices that make one order right for two budgets. Pure.

``choose_jobs_v2`` and ``adapt_prices_v2`` are the same in SQL, where all processes share them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

ADAPT_SECONDS = 30.0
FIRST_VIEW_SHARE = 0.1
STEP = 0.15
_LARGEST_SHARE = 4.0
_CHEAPEST = 1e-4
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

    def adapted(self, calls_share: float, bytes_share: float, step: float = STEP) -> Prices:
        """Return the prices after ``ADAPT_SECONDS``: what is used more of its budget becomes dearer against the other.

        Only their ratio matters. The dearer of the two is therefore always 1, and the other one never below 1e-4:
        prices that both rise, or both fall, cannot run into a bound and lose the ratio that was found.

        Args:
            calls_share: Calls of the last window of 62 s, as a share of what one may hold.
            bytes_share: Bytes of that window, as a share of what the pace allows in it.
            step: How fast the ratio moves.
        """
        calls = self.calls * math.exp(step * min(calls_share, _LARGEST_SHARE))
        size = self.bytes * math.exp(step * min(bytes_share, _LARGEST_SHARE))
        dearer = max(calls, size)
        return Prices(max(calls / dearer, _CHEAPEST), max(size / dearer, _CHEAPEST))


def first_view_chance(cost: float, best_cost: float) -> float:
    """Return how probably the next call goes to the oldest first view instead of the best refresh.

    A tenth, and less where it costs more than the best: first views get a tenth of what is spent, not of the calls.
    """
    return FIRST_VIEW_SHARE * min(1.0, best_cost / cost)
