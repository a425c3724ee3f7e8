"""What holds calls to an upstream, in words, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from daemon.cli.display import duration, safe, shown

BUFFER = 0.95
"""The share of the bytes of 30 days that is spent at most."""


def hold_reason(upstream: Mapping[str, Any]) -> str | None:
    """Return why nothing is claimed for an upstream now, None where nothing holds it."""
    if upstream["calls_per_minute"] is None:
        return "no running daemon has announced limits: start one with `refreshd run`"
    if upstream["paused_until"] is not None:
        reason = safe(upstream["pause_reason"] or "no reason given")
        return f"the upstream is paused until {shown(upstream['paused_until'])}: {reason}"
    if upstream["breaker_state"] != "closed":
        reason = safe(upstream["breaker_reason"] or "no reason given")
        return f"the breaker is {upstream['breaker_state'].replace('_', '-')} ({reason})"
    return _spent(upstream)


def _spent(upstream: Mapping[str, Any]) -> str | None:
    """Return which budget is used up."""
    if upstream["bytes_in_30_days"] >= upstream["bytes_per_30_days"] * BUFFER:
        return "95 % of the bytes of 30 days are spent: they come back hour by hour as the oldest leave the 30 days"
    if upstream["bytes_paced"] is not None and upstream["bytes_paced"] <= 0:
        seconds = -upstream["bytes_paced"] / (upstream["bytes_per_30_days"] * BUFFER / 2_592_000)
        return f"bytes are ahead of the pace that lasts for 30 days, for another {duration(seconds + 1)}"
    if upstream["calls_in_window"] >= upstream["calls_per_minute"]:
        return "all calls of this minute are made: the next ones follow as they leave the minute"
    return None
