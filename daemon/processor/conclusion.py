"""From what a fetch found out to what becomes of its jobs. Pure: the clock is passed in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from daemon.contracts import Fetched, FetchError, FetchErrorKind, Job, Outcome, Pair
from daemon.refresh.market_hours import TradingHours
from daemon.refresh.policy import DueRules
from daemon.store.budgets import Settlement
from daemon.store.queue import Completion, Effect, Failure

NOT_THE_JOBS_FAULT = frozenset(
    {
        FetchErrorKind.RATE_LIMITED,
        FetchErrorKind.BANDWIDTH_EXHAUSTED,
        FetchErrorKind.UNAUTHORISED,
        FetchErrorKind.BATCH_REFUSED,
    }
)
"""Asked again once the obstacle is gone, and no retry charged."""

UNREACHABLE = frozenset({FetchErrorKind.TIMEOUT, FetchErrorKind.TRANSPORT, FetchErrorKind.UPSTREAM_ERROR})
"""What says that the upstream cannot be used now; everything else is an answer."""

FINAL = frozenset({FetchErrorKind.PLAN, FetchErrorKind.WRONG_SYMBOL, FetchErrorKind.BAD_REQUEST})
"""Asking again brings the same answer."""

FUTURE_TOLERANCE = timedelta(minutes=5)
"""A source timestamp further ahead is not believed: it would make every honest one look old."""


def no_hours(_pair: Pair) -> None:
    """No pair follows trading hours."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The circumstances of a call.

    ``at`` is when the call was about to be made: nothing is fresh from any later moment on. ``hours_of`` gives the
    trading hours that the data of a pair follows.
    """

    at: datetime
    lead_seconds: float
    rules: DueRules
    hours_of: Callable[[Pair], TradingHours | None] = no_hours


def conclude(
    jobs: Sequence[Job],
    results: Mapping[str, Fetched | FetchError],
    settlements: Sequence[Settlement],
    asked: Asked,
) -> Effect:
    """Return the effect of a good call: each job by what was found for its symbol; what is missing is empty."""
    share = sum(settlement.received_bytes for settlement in settlements) // max(len(jobs), 1)
    completions: list[Completion] = []
    failures: list[Failure] = []
    resets: list[Job] = []
    for job in jobs:
        result = results.get(job.symbol, Fetched(rows=()))
        if isinstance(result, Fetched):
            completions.append(_complete(job, result, share, asked))
        elif result.kind in NOT_THE_JOBS_FAULT:
            resets.append(job)
        else:
            failures.append(_fail(job, result, asked))
    return Effect(completions, failures, resets, settlements)


def conclude_failure(jobs: Sequence[Job], error: FetchError, settlements: Sequence[Settlement], asked: Asked) -> Effect:
    """Return the effect of a call that failed as a whole."""
    if error.kind in NOT_THE_JOBS_FAULT:
        return Effect(resets=jobs, settlements=settlements)
    return Effect(failures=[_fail(job, error, asked) for job in jobs], settlements=settlements)


def _complete(job: Job, fetched: Fetched, share: int, asked: Asked) -> Completion:
    source_timestamp = fetched.source_timestamp
    if source_timestamp is not None and source_timestamp > asked.at + FUTURE_TOLERANCE:
        source_timestamp = None
    outcome = _outcome(job, fetched, source_timestamp)
    expiry = asked.rules.fresh_until(outcome, asked.at, job.ttl_seconds, asked.hours_of(job.pair))
    changed = outcome is Outcome.CHANGED
    return Completion(
        job=job,
        outcome=outcome,
        fresh_until=expiry,
        next_due_at=asked.rules.due_before(expiry, asked.lead_seconds, job.ttl_seconds),
        received_bytes=share,
        rows=(fetched.rows or ()) if changed else (),
        source_timestamp=source_timestamp if changed else None,
        etag=fetched.etag if outcome in {Outcome.CHANGED, Outcome.UNCHANGED} else None,
        due_if_refused=asked.rules.due_after_failure(asked.at, job.ttl_seconds, job.failures_before),
        replaces=fetched.replaces if changed else None,
    )


def _outcome(job: Job, fetched: Fetched, source_timestamp: datetime | None) -> Outcome:
    if fetched.rows is None:
        return Outcome.UNCHANGED
    if not fetched.rows:
        return Outcome.EMPTY
    if source_timestamp is None or job.source_timestamp is None or source_timestamp > job.source_timestamp:
        return Outcome.CHANGED
    return Outcome.UNCHANGED if source_timestamp == job.source_timestamp else Outcome.REJECTED


def _fail(job: Job, error: FetchError, asked: Asked) -> Failure:
    due_at = (
        asked.rules.due_after_outage(asked.at, job.failures_before)
        if error.kind in UNREACHABLE
        else asked.rules.due_after_failure(asked.at, job.ttl_seconds, job.failures_before)
    )
    return Failure(
        job=job,
        message=f"{error.kind}: {error}",
        retryable=error.kind not in FINAL,
        next_due_at=due_at,
        retry_after_seconds=error.retry_after_seconds,
    )
