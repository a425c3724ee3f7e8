"""What the settings mean for the processor."""

from __future__ import annotations

import math

from daemon.processor.breaker import BreakerLimits
from daemon.processor.loop import ProcessorLimits
from daemon.refresh.policy import DueRules
from daemon.settings import Settings
from daemon.store.budgets import Limits


def upstream_limits(settings: Settings) -> Limits:
    """Return what is announced to every process."""
    return Limits(
        settings.calls_per_minute,
        settings.bytes_per_30_days,
        settings.first_view_share,
        settings.price_step,
    )


def due_rules(settings: Settings) -> DueRules:
    """Return when a pair is due again."""
    return DueRules(
        empty_seconds=settings.empty_recheck_seconds,
        failed_seconds=settings.failed_recheck_seconds,
        failed_longest_seconds=settings.failed_recheck_max_seconds,
        lead_share=settings.lead_share,
    )


def processor_limits(settings: Settings) -> ProcessorLimits:
    """Return how the loop works."""
    return ProcessorLimits(
        concurrency=settings.concurrency,
        lease_seconds=math.ceil(settings.job_lease_seconds),
        renew_seconds=settings.job_renew_seconds,
        linger_seconds=settings.batch_linger_seconds,
        drain_seconds=settings.request_timeout_seconds + 1,
    )


def breaker_limits(settings: Settings) -> BreakerLimits:
    """Return when the breaker opens, and for how long."""
    return BreakerLimits(
        failures_in_a_row=settings.breaker_failures,
        window_seconds=settings.breaker_window_seconds,
        window_attempts=settings.breaker_window_calls,
        window_failed_share=settings.breaker_window_failure_share,
        open_seconds=settings.breaker_open_seconds,
        longest_open_seconds=settings.breaker_open_max_seconds,
        probe_seconds=settings.breaker_probe_seconds,
    )
