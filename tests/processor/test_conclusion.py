"""What becomes of jobs, by what the fetch found out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from daemon.contracts import Fetched, FetchError, FetchErrorKind, Job, Lane, Outcome, Pair
from daemon.processor.conclusion import Asked, conclude, conclude_failure
from daemon.refresh.policy import DueRules
from daemon.store.budgets import Settlement

NOW = datetime(2026, 11, 2, 15, 0, tzinfo=UTC)
ASKED = Asked(NOW, 0.5, DueRules())
ROWS = ({"symbol": "AAPL", "price": 1.5},)
STORED = NOW - timedelta(minutes=1)


def job(*, symbol: str = "AAPL", source_timestamp: datetime | None = STORED, failures: int = 0) -> Job:
    return Job(
        uuid4(), uuid4(), Pair(symbol, "quote"), "quote", "fmp", 60.0, 1.0, Lane.VIEWED, 1, 0, 2000,
        source_timestamp, None, failures,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("fetched", "outcome"),
    [
        (Fetched(ROWS, NOW), Outcome.CHANGED),
        (Fetched(ROWS, None), Outcome.CHANGED),
        (Fetched(ROWS, STORED), Outcome.UNCHANGED),
        (Fetched(ROWS, STORED - timedelta(seconds=1)), Outcome.REJECTED),
        (Fetched(None), Outcome.UNCHANGED),
        (Fetched(()), Outcome.EMPTY),
    ],
)
def test_the_outcome_follows_from_rows_and_source_timestamp(fetched: Fetched, outcome: Outcome) -> None:
    [completion] = conclude([job()], {"AAPL": fetched}, [], ASKED).completions

    assert completion.outcome is outcome
    assert bool(completion.rows) == (outcome is Outcome.CHANGED)
    assert completion.next_due_at > NOW


def test_a_source_timestamp_from_the_future_is_stored_but_not_believed() -> None:
    [completion] = conclude([job()], {"AAPL": Fetched(ROWS, NOW + timedelta(hours=1))}, [], ASKED).completions

    assert completion.outcome is Outcome.CHANGED
    assert completion.source_timestamp is None


def test_nothing_is_fresh_from_later_than_when_it_was_asked_for() -> None:
    [completion] = conclude([job()], {"AAPL": Fetched(ROWS, NOW)}, [], ASKED).completions

    assert completion.fresh_until == NOW + timedelta(seconds=60)
    assert completion.next_due_at == NOW + timedelta(seconds=59.5)


def test_a_symbol_that_is_missing_from_a_batch_is_empty_for_itself_alone() -> None:
    jobs = [job(symbol="AAPL"), job(symbol="GONE")]

    effect = conclude(jobs, {"AAPL": Fetched(ROWS, NOW)}, [Settlement(1, 1, 1000)], ASKED)

    assert [(c.job.symbol, c.outcome, c.received_bytes) for c in effect.completions] == [
        ("AAPL", Outcome.CHANGED, 500),
        ("GONE", Outcome.EMPTY, 500),
    ]


@pytest.mark.parametrize("kind", FetchErrorKind)
def test_every_kind_of_failure_has_its_end(kind: FetchErrorKind) -> None:
    effect = conclude_failure([job()], FetchError(kind, "why"), [Settlement(1, 1, 10)], ASKED)

    charged = kind not in {"rate_limited", "bandwidth_exhausted", "unauthorised", "batch_refused"}
    assert len(effect.failures) == charged
    assert len(effect.resets) == (not charged)
    assert len(effect.settlements) == 1
    if charged:
        assert effect.failures[0].retryable == (kind not in {"plan", "wrong_symbol", "bad_request"})


def test_failures_for_good_double_the_time_up_to_a_day() -> None:
    due = [
        conclude_failure([job(failures=n)], FetchError(FetchErrorKind.PLAN, "why"), [], ASKED).failures[0].next_due_at
        - NOW
        for n in range(9)
    ]

    assert due[:3] == [timedelta(minutes=15), timedelta(minutes=30), timedelta(minutes=60)]
    assert due[-1] == timedelta(days=1)
