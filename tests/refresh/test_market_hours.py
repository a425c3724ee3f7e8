"""When an exchange trades, and for how long its prices are fresh: the calendar, the clock and the upstream's word."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.refresh.market_hours import TradingHours, read_hours
from daemon.store.exchanges import StoredExchange

TTL = 60.0
HOLIDAYS: tuple[Mapping[str, Any], ...] = (
    {"date": "2026-11-26", "name": "Thanksgiving", "isClosed": True, "adjOpenTime": None, "adjCloseTime": None},
    {"date": "2026-11-27", "name": "Thanksgiving", "isClosed": None, "adjOpenTime": None, "adjCloseTime": "13:00"},
)


def stored(**changes: Any) -> StoredExchange:
    row = StoredExchange(
        exchange="NASDAQ",
        opening_hour="09:30 AM -05:00",
        closing_hour="04:00 PM -05:00",
        opening_additional=None,
        closing_additional=None,
        timezone="America/New_York",
        is_market_open=None,
        holidays=HOLIDAYS,
        holidays_checked_on=date(2026, 11, 1),
        fetched_at=datetime(2026, 11, 1, tzinfo=UTC),
        delay="Real-time",
    )
    return row._replace(**changes)


def hours(**changes: Any) -> TradingHours:
    known = read_hours(stored(**changes))
    assert known is not None
    return known


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


NEW_YORK = hours()
TOKYO = hours(
    opening_hour="09:00 AM +09:00",
    closing_hour="11:30 AM +09:00",
    opening_additional="12:30 PM +09:00",
    closing_additional="03:30 PM +09:00",
    timezone="Asia/Tokyo",
    delay="20 min",
    holidays=(),
)
moments = st.floats(0, 3 * 365 * 86_400).map(lambda seconds: at("2025-01-01 00:00:00") + timedelta(seconds=seconds))
RIYADH = hours(opening_hour="10:00 AM +03:00", closing_hour="03:00 PM +03:00", timezone="Asia/Riyadh", holidays=())


@pytest.mark.parametrize(
    ("known", "moment", "is_open"),
    [
        (NEW_YORK, "2026-11-30 14:29:59", False),
        (NEW_YORK, "2026-11-30 14:30:00", True),
        (NEW_YORK, "2026-11-30 20:59:59", True),
        (NEW_YORK, "2026-11-30 21:00:00", False),
        (NEW_YORK, "2026-07-01 13:30:00", True),  # daylight saving time, whatever offset the feed has today
        (NEW_YORK, "2026-11-28 16:00:00", False),
        (NEW_YORK, "2026-11-29 16:00:00", False),
        (NEW_YORK, "2026-11-26 16:00:00", False),
        (NEW_YORK, "2026-11-27 17:59:00", True),
        (NEW_YORK, "2026-11-27 18:00:00", False),
        (TOKYO, "2026-11-30 02:29:00", True),
        (TOKYO, "2026-11-30 02:30:00", False),
        (TOKYO, "2026-11-30 03:30:00", True),
        (TOKYO, "2026-11-30 06:30:00", False),
        (RIYADH, "2026-11-27 09:00:00", False),
        (RIYADH, "2026-11-29 09:00:00", True),
    ],
)
def test_an_exchange_is_open_by_its_hours_days_off_and_time_zone(
    known: TradingHours, moment: str, is_open: bool
) -> None:
    assert known.is_open(at(moment)) is is_open


@pytest.mark.parametrize(
    ("known", "checked_at", "until"),
    [
        (NEW_YORK, "2026-11-30 15:00:00", "2026-11-30 15:01:00"),
        (NEW_YORK, "2026-11-30 20:59:50", "2026-11-30 21:00:50"),  # that one is due once more after the close
        (NEW_YORK, "2026-11-30 21:00:50", "2026-11-30 21:01:50"),  # the last price may still be on its way
        (NEW_YORK, "2026-11-30 21:01:00", "2026-12-01 14:31:00"),
        (NEW_YORK, "2026-11-25 22:00:00", "2026-11-27 14:31:00"),  # Thanksgiving lies between
        (NEW_YORK, "2026-11-27 18:01:00", "2026-11-30 14:31:00"),  # the day after ends early, then comes the weekend
        (NEW_YORK, "2026-11-30 14:29:59", "2026-11-30 14:31:00"),
        (TOKYO, "2026-11-30 02:35:00", "2026-11-30 02:36:00"),  # shown 20 minutes later
        (TOKYO, "2026-11-30 02:51:00", "2026-11-30 03:31:00"),  # at lunch
        (TOKYO, "2026-11-30 06:51:00", "2026-12-01 00:01:00"),
        (RIYADH, "2026-11-26 13:00:00", "2026-11-29 07:01:00"),
    ],
)
def test_after_the_close_one_fetch_is_fresh_until_a_ttl_after_the_next_opening(
    known: TradingHours, checked_at: str, until: str
) -> None:
    assert known.fresh_until(at(checked_at), TTL) == at(until)


def test_the_upstream_says_closed_on_a_day_that_the_calendar_does_not_know() -> None:
    told = hours(is_market_open=False, fetched_at=at("2026-11-30 15:00:00"))

    assert not told.is_open(at("2026-11-30 15:05:00"))
    assert told.fresh_until(at("2026-11-30 15:05:00"), TTL) == at("2026-11-30 15:20:00")
    assert told.is_open(at("2026-11-30 15:15:00"))  # its word has aged


def test_the_upstream_says_open_on_a_day_off() -> None:
    told = hours(is_market_open=True, fetched_at=at("2026-11-28 15:00:00"))

    assert told.is_open(at("2026-11-28 15:05:00"))
    assert told.fresh_until(at("2026-11-28 15:05:00"), TTL) == at("2026-11-28 15:06:00")


def test_the_upstreams_word_of_before_the_opening_says_nothing_about_after_it() -> None:
    told = hours(is_market_open=False, fetched_at=at("2026-11-30 14:28:00"))

    assert told.is_open(at("2026-11-30 14:31:00"))
    assert told.fresh_until(at("2026-11-30 14:31:00"), TTL) == at("2026-11-30 14:32:00")


def test_a_late_opening_counts() -> None:
    late = {"date": "2026-11-30", "isClosed": None, "adjOpenTime": "11:00", "adjCloseTime": None}

    assert hours(holidays=(late,)).next_opening(at("2026-11-30 10:00:00")) == at("2026-11-30 16:00:00")


@pytest.mark.parametrize(
    "changes",
    [
        {"opening_hour": "CLOSED", "closing_hour": "CLOSED"},
        {"opening_hour": None},
        {"opening_hour": "25:99 AM +01:00"},
        {"timezone": None},
        {"timezone": "Atlantis/Capital"},
        {"timezone": "../../etc/passwd"},
        {"opening_hour": "12:00 AM -05:00", "closing_hour": "11:59 PM -05:00"},
    ],
)
def test_too_little_is_known_of_some_and_some_never_close(changes: dict[str, Any]) -> None:
    assert read_hours(stored(**changes)) is None


@pytest.mark.parametrize(
    ("delay", "seconds"), [("Real-time", 0), ("15 min", 900), (None, 1200), ("", 1200), ("soon", 1200)]
)
def test_the_delay_of_an_exchange_is_what_the_upstream_states(delay: str | None, seconds: float) -> None:
    assert hours(delay=delay).delay_seconds == seconds


def test_records_of_holidays_that_say_nothing_are_passed_over() -> None:
    junk = (
        {"date": 7},
        {"date": "soon", "isClosed": True},
        {"isClosed": True},
        {"date": "2026-11-30", "isClosed": None},
    )

    assert hours(holidays=junk).is_open(at("2026-11-30 15:00:00"))


@given(
    st.sampled_from([NEW_YORK, TOKYO, RIYADH]),
    moments,
    st.floats(1, 86_400),
)
def test_whoever_fetches_again_when_it_is_due_never_shows_a_moving_price_for_longer_than_the_ttl(
    known: TradingHours, moment: datetime, ttl: float
) -> None:
    until = known.fresh_until(moment, ttl)

    assert until >= moment + timedelta(seconds=ttl)
    if until > moment + timedelta(seconds=ttl):  # nothing moves between the fetch and the opening it waits for
        opening = until - timedelta(seconds=ttl)
        assert known.is_open(opening)
        assert all(
            not known.is_open(moment + (opening - moment) * share / 50 - timedelta(microseconds=1))
            for share in range(1, 51)
        )


@given(
    st.sampled_from([NEW_YORK, TOKYO, RIYADH]),
    moments,
)
def test_a_closed_exchange_costs_one_fetch_a_closure(known: TradingHours, moment: datetime) -> None:
    fetches, now, opening = 0, moment, known.next_opening(moment)
    assert opening is not None
    if known.is_moving(moment):
        return

    while now < opening:
        fetches, now = fetches + 1, known.fresh_until(now, TTL)

    assert fetches == 1
