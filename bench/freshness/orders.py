"""The policies that are compared: when a pair is due, and what goes first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bench.freshness.world import MEAN_SESSION_SECONDS, TYPES, Floats
from daemon.refresh.policy import gain

MINUTE = 60.0


@dataclass(frozen=True, slots=True)
class Order:
    """One policy.

    The best product of worth and viewers goes first, the longest waiting where it is equal.
    """

    name: str
    worth: Callable[[Floats], Floats]
    """From the cost of a refresh, by type, to what one viewer of each type counts for."""
    every_minute: bool = False
    """Looks only once a minute at what is stale, and ranks it by the viewers it has then."""
    everything: bool = False
    """Refreshes what nobody looks at, too, and never mind how many do."""
    before_expiry: bool = False
    """Is early by the lead."""
    lane: bool = False
    """Gives a tenth to pairs that were never fetched, oldest first."""
    usual: Callable[[Floats], Floats] | None = None
    """The same as ``worth`` for one viewer in the long run, where that counts."""


def _by_index(costs: Floats) -> Floats:
    """The daemon's: gain for the cost."""
    gains = [gain(1.0, 1.0, kind.ttl_seconds, MEAN_SESSION_SECONDS) for kind in TYPES]
    return np.asarray(np.array(gains) / costs, dtype=np.float64)


def _with_the_usual(costs: Floats) -> Floats:
    gains = [gain(1.0, 0.0, kind.ttl_seconds, MEAN_SESSION_SECONDS, usual_viewers=1.0) for kind in TYPES]
    return np.asarray(np.array(gains) / costs, dtype=np.float64)


INDEX = Order("refreshd: index, before expiry", _by_index, before_expiry=True, lane=True, usual=_with_the_usual)
EVENTS = Order("event-driven, priority = viewers", np.ones_like)
MINUTES = Order("minute loop, priority = viewers", np.ones_like, every_minute=True)
POLL_ALL = Order("FIFO poll-all", np.ones_like, everything=True)
ORDERS = (POLL_ALL, MINUTES, EVENTS, INDEX)
