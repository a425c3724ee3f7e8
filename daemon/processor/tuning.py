"""How the processor works, as the settings say."""

from __future__ import annotations

from daemon.processor.breaker import BreakerLimits
from daemon.refresh.policy import DueRules
from daemon.settings import Settings


def due_rules(settings: Settings) -> DueRules:
    """Return when pairs are due again, as the settings say."""
    return DueRules(
        empty_seconds=settings.empty_recheck_seconds,
        failed_seconds=settings.failed_recheck_seconds,
        failed_longest_seconds=settings.failed_recheck_max_seconds,
    )


def breaker_limits(settings: Settings) -> BreakerLimits:
    """Return when the breaker opens, as the settings say."""
    return BreakerLimits(
        failures_in_a_row=settings.breaker_failures,
        window_seconds=settings.breaker_window_seconds,
        window_attempts=settings.breaker_window_calls,
        window_failed_share=settings.breaker_window_failure_share,
        open_seconds=settings.breaker_open_seconds,
        longest_open_seconds=settings.breaker_open_max_seconds,
        probe_seconds=settings.breaker_probe_seconds,
    )
