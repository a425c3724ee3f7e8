"""When schedules fire, and what is no schedule."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.schedule import ScheduleError, next_firing

FRIDAY = datetime(2026, 7, 31, 12, 30, tzinfo=UTC)

moments = st.datetimes(
    datetime(1990, 1, 1),  # noqa: DTZ001 - hypothesis adds the zone
    datetime(2090, 1, 1),  # noqa: DTZ001
    timezones=st.sampled_from(
        [UTC, ZoneInfo("America/New_York"), ZoneInfo("Australia/Lord_Howe"), timezone(timedelta(hours=-9, minutes=-30))]
    ),
)
minutes = st.integers(0, 59)
hours = st.integers(0, 23)


def one_of(values: st.SearchStrategy[int]) -> st.SearchStrategy[str]:
    return (
        st.just("*") | values.map(str) | st.lists(values, min_size=1, max_size=4).map(lambda v: ",".join(map(str, v)))
    )


schedules = st.tuples(
    one_of(minutes) | st.integers(1, 30).map("*/{}".format),
    one_of(hours),
    one_of(st.integers(1, 28)) | st.just("L"),
    one_of(st.integers(1, 12)),
    one_of(st.integers(0, 7)) | st.just("MON-FRI"),
).map(" ".join)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("* * * * *", datetime(2026, 7, 31, 12, 31, tzinfo=UTC)),
        ("30 12 * * *", datetime(2026, 8, 1, 12, 30, tzinfo=UTC)),
        ("30 21 * * MON-FRI", datetime(2026, 7, 31, 21, 30, tzinfo=UTC)),
        ("0 6 * * mon-fri", datetime(2026, 8, 3, 6, 0, tzinfo=UTC)),
        ("*/15 9-16 * * *", datetime(2026, 7, 31, 12, 45, tzinfo=UTC)),
        ("0 0 L * *", datetime(2026, 8, 31, 0, 0, tzinfo=UTC)),
        ("0 0 29 2 *", datetime(2028, 2, 29, 0, 0, tzinfo=UTC)),
        ("0 0 * 2 MON#5", datetime(2044, 2, 29, 0, 0, tzinfo=UTC)),
        ("0 0 13 * FRI", datetime(2026, 8, 7, 0, 0, tzinfo=UTC)),
    ],
)
def test_a_schedule_fires_when_cron_would(expression: str, expected: datetime) -> None:
    assert next_firing(expression, FRIDAY) == expected


@given(schedules, moments)
def test_the_next_firing_is_strictly_later_in_utc_and_on_a_full_minute(expression: str, after: datetime) -> None:
    firing = next_firing(expression, after)

    assert firing.tzinfo is UTC
    assert firing > after
    assert (firing.second, firing.microsecond) == (0, 0)


@given(schedules, moments)
def test_a_later_question_within_the_wait_has_the_same_answer(expression: str, after: datetime) -> None:
    firing = next_firing(expression, after)

    assert next_firing(expression, firing - timedelta(microseconds=1)) == firing


@given(minutes, hours, moments)
def test_a_daily_schedule_fires_every_24_hours_also_where_clocks_change(
    minute: int, hour: int, after: datetime
) -> None:
    expression = f"{minute} {hour} * * *"

    first = next_firing(expression, after)

    assert (first.hour, first.minute) == (hour, minute)
    assert next_firing(expression, first) - first == timedelta(days=1)


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("", "'' has 0 fields instead of 5"),
        ("@daily", "'@daily' has 1 field instead of 5"),
        ("0 0 0 * * *", "has 6 fields instead of 5"),
        ("61 * * * *", "has a bad minute, '61'"),
        ("* 24 * * *", "has a bad hour, '24'"),
        ("* * 0 * *", "has a bad day-of-month, '0'"),
        ("* * 32 * *", "has a bad day-of-month, '32'"),
        ("* * * FOO *", "has a bad month, 'FOO'"),
        ("* * * * 8", "has a bad day-of-week, '8'"),
        ("* * * * MON#6", "has a bad day-of-week, 'MON#6'"),
        ("*/0 * * * *", "has a bad minute, '*/0'"),
        ("5-1 * * * *", "has a bad minute, '5-1'"),
        ("0 0 31 2 *", "'0 0 31 2 *' never fires: its months have no such day"),
        ("0 0 31 4,6 *", "never fires"),
        ("0 0 99 13 *", "has a bad day-of-month, '99'"),
        (f"{'9' * 5000} * * * *", "is longer than 200 characters"),
    ],
)
def test_what_is_no_schedule_is_refused_with_what_is_wrong(expression: str, said: str) -> None:
    with pytest.raises(ScheduleError) as refusal:
        next_firing(expression, FRIDAY)

    assert said in str(refusal.value)
    assert '"minute hour day-of-month month day-of-week" (UTC)' in str(refusal.value)
    assert len(str(refusal.value)) < 250


@given(st.text(st.sampled_from("0123456789*,-/#LWMONFRI ٣²"), max_size=60))
def test_any_text_is_a_schedule_or_is_refused(expression: str) -> None:
    try:
        assert next_firing(expression, FRIDAY) > FRIDAY
    except ScheduleError as refusal:
        assert str(refusal)  # noqa: PT017 - either is right


def test_a_schedule_that_fires_no_more_before_the_end_of_time_is_refused() -> None:
    with pytest.raises(ScheduleError, match="never fires"):
        next_firing("* * * * *", datetime.max.replace(tzinfo=UTC))


def test_a_moment_without_a_time_zone_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="without a time zone"):
        next_firing("* * * * *", datetime(2026, 1, 1))  # noqa: DTZ001
