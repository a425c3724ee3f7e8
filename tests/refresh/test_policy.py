"""The policy's pure functions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.contracts import Outcome
from daemon.refresh.policy import DueRules, Lead, gain

NOW = datetime(2026, 11, 2, 15, 0, tzinfo=UTC)
RULES = DueRules()


def test_the_gain_is_the_weighted_seconds_that_viewers_are_expected_to_watch() -> None:
    nearly_all_of_a_short_ttl = gain(2.0, 3, 6.0)
    no_more_than_a_session_of_a_long_one = gain(1.0, 1, 86_400.0)

    assert 0.98 * 36 < nearly_all_of_a_short_ttl < 36
    assert no_more_than_a_session_of_a_long_one == pytest.approx(260)


def test_what_is_usual_counts_for_the_rest_of_the_ttl_as_far_as_the_horizon() -> None:
    assert gain(1.0, 0, 86_400.0, 260.0, 1.0, 86_400.0) == pytest.approx(86_140)
    assert gain(1.0, 1, 86_400.0, 260.0, 1.0, 86_400.0) == pytest.approx(86_400)
    assert gain(1.0, 1, 86_400.0, 260.0, 1.0, 3_600.0) == pytest.approx(3_600)
    assert gain(1.0, 1, 86_400.0, 260.0, 1.0, 10.0) == pytest.approx(260)
    assert gain(2.0, 5, 60.0, 260.0, usual_viewers=5) == pytest.approx(600)


@given(st.floats(0, 10_000), st.floats(60, 1e6))
def test_a_refresh_never_starts_more_than_a_quarter_of_the_ttl_before_expiry(lead: float, ttl: float) -> None:
    expiry = NOW + timedelta(seconds=ttl)

    due = RULES.due_before(expiry, lead, ttl)

    assert NOW + timedelta(seconds=ttl * 0.75) <= due + timedelta(microseconds=1)
    assert due <= expiry


def test_an_empty_answer_is_not_asked_for_again_for_six_hours_or_its_ttl() -> None:
    assert RULES.fresh_until(Outcome.EMPTY, NOW, 60) == NOW + timedelta(hours=6)
    assert RULES.fresh_until(Outcome.EMPTY, NOW, 86_400) == NOW + timedelta(days=1)


def test_the_lead_follows_what_is_measured_and_leaves_room_for_its_spread() -> None:
    lead = Lead()

    for seconds in [0.1, 0.2] * 50:
        lead.measure(seconds)

    assert 0.2 < lead.seconds < 0.5
