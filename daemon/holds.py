"""What holds calls to an upstream: the one rule, which pages, commands and health each put into their own words."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

BYTES_SHARE = 0.95
"""The share of the bytes of 30 days that is spent at most."""


class Hold(StrEnum):
    """Why nothing is claimed for an upstream, in a few words."""

    NO_LIMITS = "no limits announced"
    PAUSED = "upstream paused"
    BREAKER = "breaker"
    BYTES_SPENT = "bytes of 30 days spent"
    BYTES_AHEAD = "bytes ahead of pace"
    CALLS_MADE = "calls of this minute made"


def hold_of(upstream: Mapping[str, Any]) -> Hold | None:
    """Return why nothing is claimed for an upstream now, None where nothing holds it.

    Args:
        upstream: A row of ``upstreams`` of :class:`daemon.store.queue_state.QueueState`.
    """
    if upstream["calls_per_minute"] is None:
        return Hold.NO_LIMITS
    if upstream["paused_until"] is not None:
        return Hold.PAUSED
    if upstream["breaker_state"] != "closed":
        return Hold.BREAKER
    if bytes_are_spent(upstream):
        return Hold.BYTES_SPENT
    if upstream["bytes_paced"] is not None and upstream["bytes_paced"] <= 0:
        return Hold.BYTES_AHEAD
    return Hold.CALLS_MADE if upstream["calls_in_window"] >= upstream["calls_per_minute"] else None


def bytes_are_spent(upstream: Mapping[str, Any]) -> bool:
    """Return whether the bytes of 30 days are used up; they never are where no limits are announced."""
    limit = upstream["bytes_per_30_days"]
    return limit is not None and upstream["bytes_in_30_days"] >= BYTES_SHARE * limit


def breaker_in_words(upstream: Mapping[str, Any]) -> str:
    """Return the state of the breaker as people say it: ``half-open``."""
    return str(upstream["breaker_state"]).replace("_", "-")
