"""Why a pair is or is not refreshed, case by case, and S over time."""

from __future__ import annotations

from typing import Any

import pytest

from daemon.web.dashboard_history import History, Point, point_of
from daemon.web.dashboard_reasons import held_by, reason_of, short_duration

FRESH: dict[str, Any] = {
    "symbol": "AAPL", "data_type": "ratios-ttm", "viewers": 3, "upstream": "fmp", "ttl_seconds": 60,
    "queue_is_on": True, "type_is_on": True, "symbol_is_active": True,
    "last_outcome": "changed", "consecutive_failures": 0, "age_seconds": 10.0,
    "fresh_for_seconds": 50.0, "due_in_seconds": 45.0, "job_status": None, "lane": None, "retry_count": None,
    "max_retries": None, "error_message": None, "waits_seconds": None,
}  # fmt: skip
QUEUED = {"job_status": "pending", "lane": 1, "waits_seconds": -1.0}
NEVER = {"last_outcome": None, "age_seconds": None, "fresh_for_seconds": None, "due_in_seconds": None}
UPSTREAM: dict[str, Any] = {
    "calls_per_minute": 300, "calls_in_window": 10, "bytes_per_30_days": 100, "bytes_in_30_days": 10,
    "bytes_paced": None, "paused_until": None, "breaker_state": "closed",
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, "fresh"),
        ({"queue_is_on": False}, "flag use_queue_system is off"),
        ({"type_is_on": False}, "flag migrate_ratios_ttm_type is off"),
        ({"upstream": None, "type_is_on": False}, "type is not in the registry"),
        ({"symbol_is_active": None}, "symbol is not in supported_symbols"),
        ({"symbol_is_active": False}, "symbol is not active"),
        (NEVER, "never fetched, queued within a minute"),
        ({**NEVER, "age_seconds": 5.0}, "due, queued within a minute"),
        ({"due_in_seconds": -1.0}, "due, queued within a minute"),
        ({"fresh_for_seconds": -9.0}, "stale, not due yet"),
        ({"last_outcome": "empty"}, "nothing at the upstream"),
        (
            {"last_outcome": "failed", "consecutive_failures": 1, "due_in_seconds": 899.5},
            "failed once, again in 15 min",
        ),
        ({"last_outcome": "failed", "consecutive_failures": 4, "due_in_seconds": -1.0}, "failed 4 times, due again"),
        ({"job_status": "processing", "lane": 1}, "being refreshed now"),
        (QUEUED, "queued"),
        ({**QUEUED, "lane": 0}, "queued, first view"),
        ({**QUEUED, "lane": 2}, "queued as scheduled work"),
        (
            {**QUEUED, "waits_seconds": 11.2, "retry_count": 1, "max_retries": 3, "error_message": "timeout"},
            "retry 1 of 3 in 12 s: timeout",
        ),
    ],
)
def test_the_reason_is_said_in_short_words(changes: dict[str, Any], reason: str) -> None:
    assert reason_of({**FRESH, **changes}, None) == reason


def test_a_queued_pair_says_what_holds_it() -> None:
    assert reason_of({**FRESH, **QUEUED}, "breaker open") == "queued, held: breaker open"


@pytest.mark.parametrize(
    ("changes", "hold"),
    [
        ({}, None),
        ({"calls_per_minute": None, "bytes_per_30_days": None}, "no limits announced"),
        ({"paused_until": "soon"}, "upstream paused"),
        ({"breaker_state": "half_open"}, "breaker half-open"),
        ({"bytes_in_30_days": 95}, "bytes of 30 days spent"),
        ({"bytes_paced": 0}, "bytes ahead of pace"),
        ({"calls_in_window": 300}, "calls of this minute made"),
    ],
)
def test_what_holds_an_upstream_is_said_in_short_words(changes: dict[str, Any], hold: str | None) -> None:
    assert held_by({**UPSTREAM, **changes}) == hold


@pytest.mark.parametrize(
    ("seconds", "text"), [(-1, "0 s"), (59.9, "59 s"), (60, "1 min"), (7_199, "1 h"), (172_800, "2 d")]
)
def test_a_length_of_time_has_one_unit(seconds: float, text: str) -> None:
    assert short_duration(seconds) == text


def test_s_weighs_types_by_their_viewers() -> None:
    rows = [
        {"data_type": "quote", "viewers": 9, "fresh_viewers": 9},
        {"data_type": "profile", "viewers": 1, "fresh_viewers": 0},
    ]

    point = point_of(5.0, rows)

    assert point.overall == pytest.approx(0.1)
    assert point.by_type == {"quote": 0.0, "profile": 1.0}
    assert point_of(5.0, []).overall is None
    assert point_of(5.0, None) == Point(5.0, None, {})


def test_the_oldest_points_are_forgotten_and_a_type_has_as_many_as_all() -> None:
    history = History(every_seconds=30, points=3)

    taken = [history.note(30.0 * n, Point(100.0 + n, n / 10, {"quote": n / 10} if n > 2 else {})) for n in range(5)]

    assert taken == [True] * 5
    columns = history.columns()
    assert columns["at"] == [102.0, 103.0, 104.0]
    assert columns["by_type"] == {"quote": [None, 0.3, 0.4]}


def test_a_point_comes_when_it_is_due_and_never_before_the_last() -> None:
    history = History(every_seconds=30)

    taken = [history.note(at, Point(time, 0.1, {})) for at, time in ((0, 100), (29, 129), (30, 90), (31, 131))]

    assert taken == [True, False, False, True]


@pytest.mark.parametrize("held", ["bytes of 30 days spent", "no limits announced"])
@pytest.mark.parametrize("due", [None, -1.0])
def test_what_is_due_and_not_even_queued_is_told_as_such(held: str, due: float | None) -> None:
    pair = {**FRESH, "due_in_seconds": due, "fresh_for_seconds": None}

    assert reason_of(pair, held) == f"due, not queued: {held}"
    assert reason_of(pair, "breaker open").endswith("queued within a minute")
