"""What holds calls to an upstream, in words, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from daemon.cli.display import duration, safe, shown
from daemon.holds import BYTES_SHARE, Hold, breaker_in_words, hold_of


def hold_reason(upstream: Mapping[str, Any]) -> str | None:
    """Return why nothing is claimed for an upstream now, None where nothing holds it."""
    match hold_of(upstream):
        case None:
            why = None
        case Hold.NO_LIMITS:
            why = "no running daemon has announced limits: start one with `refreshd run`"
        case Hold.PAUSED:
            reason = safe(upstream["pause_reason"] or "no reason given")
            why = f"the upstream is paused until {shown(upstream['paused_until'])}: {reason}"
        case Hold.BREAKER:
            reason = safe(upstream["breaker_reason"] or "no reason given")
            why = f"the breaker is {breaker_in_words(upstream)} ({reason})"
        case Hold.BYTES_SPENT:
            why = "95 % of the bytes of 30 days are spent: they come back hour by hour as the oldest leave the 30 days"
        case Hold.BYTES_AHEAD:
            seconds = -upstream["bytes_paced"] / (upstream["bytes_per_30_days"] * BYTES_SHARE / 2_592_000)
            why = f"bytes are ahead of the pace that lasts for 30 days, for another {duration(seconds + 1)}"
        case Hold.CALLS_MADE:
            why = "all calls of this minute are made: the next ones follow as they leave the minute"
    return why
