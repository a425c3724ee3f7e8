"""Why a pair is or is not being refreshed, in the few words that a cell of a table has room for.

``refreshd explain`` says the same in sentences, and knows more.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from daemon.contracts import type_flag
from daemon.holds import Hold, breaker_in_words, hold_of

SCHEDULED = 2
"""The lane of work that nobody waits for."""
FIRST_VIEW = 0

NOTHING_QUEUED: frozenset[str] = frozenset({Hold.NO_LIMITS, Hold.BYTES_SPENT})
"""Under these, jobs are not even opened."""

_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60))


def reason_of(pair: Mapping[str, Any], held: str | None) -> str:
    """Return what a pair waits for.

    Args:
        pair: A row of ``daemon.store.top_pairs.read_top_pairs``.
        held: Why nothing is claimed of its upstream now, if so; see :func:`held_by`.
    """
    return _obstacle(pair) or _job(pair, held) or _state(pair, held)


def held_by(upstream: Mapping[str, Any]) -> str | None:
    """Return why nothing is claimed for an upstream now, None where nothing holds it."""
    hold = hold_of(upstream)
    return f"{hold} {breaker_in_words(upstream)}" if hold is Hold.BREAKER else hold


def short_duration(seconds: float) -> str:
    """Return a length of time by its largest unit alone, rounded down: ``1 h``."""
    for unit, size in _UNITS:
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{max(int(seconds), 0)} s"


def _obstacle(pair: Mapping[str, Any]) -> str | None:
    """Return what stands in the way until somebody changes something."""
    if not pair["queue_is_on"]:
        return "flag use_queue_system is off"
    if pair["upstream"] is None:
        return "type is not in the registry"
    if not pair["type_is_on"]:
        return f"flag {type_flag(pair['data_type'])} is off"
    if pair["symbol_is_active"] is None:
        return "symbol is not in supported_symbols"
    return None if pair["symbol_is_active"] else "symbol is not active"


def _job(pair: Mapping[str, Any], held: str | None) -> str | None:
    """Return how the open job stands, if there is one."""
    if pair["job_status"] is None:
        return None
    if pair["job_status"] == "processing":
        return "being refreshed now"
    if pair["waits_seconds"] > 0:
        retry = f"retry {pair['retry_count']} of {pair['max_retries']}"
        return f"{retry} in {short_duration(pair['waits_seconds'] + 1)}: {pair['error_message'] or 'no reason given'}"
    if held is not None:
        return f"queued, held: {held}"
    if pair["lane"] == SCHEDULED:
        return "queued as scheduled work"
    return "queued, first view" if pair["lane"] == FIRST_VIEW else "queued"


def _state(pair: Mapping[str, Any], held: str | None) -> str:
    """Return what is known of a pair without a job."""
    due = pair["due_in_seconds"]
    if (due is None or due <= 0) and held in NOTHING_QUEUED:
        return f"due, not queued: {held}"
    if due is None:
        return "never fetched, queued within a minute" if pair["age_seconds"] is None else "due, queued within a minute"
    if pair["last_outcome"] == "failed":
        failures = pair["consecutive_failures"]
        times = "once" if failures == 1 else f"{failures} times"
        return f"failed {times}, " + (f"again in {short_duration(due + 1)}" if due > 0 else "due again")
    if due <= 0:
        return "due, queued within a minute"
    if pair["last_outcome"] == "empty":
        return "nothing at the upstream"
    fresh = pair["fresh_for_seconds"]
    return "fresh" if fresh is not None and fresh > 0 else "stale, not due yet"
