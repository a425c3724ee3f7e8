"""Endpoint ``holidays-by-exchange``: the holidays of New York by their rules, and the commonest ones elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from typing import TYPE_CHECKING

from devstack.upstream.listings import exchanges
from devstack.upstream.wire import Row

if TYPE_CHECKING:
    from devstack.upstream.market import Market

EARLY_CLOSE = "13:00"
MONDAY, THURSDAY, SATURDAY, SUNDAY = 0, 3, 5, 6
JUNETEENTH_SINCE = 2022


def holidays(market: Market, params: Mapping[str, str]) -> list[Row]:
    """Answer ``holidays-by-exchange?exchange=A&from=&to=``, newest first; without dates only the past year."""
    code, today = params["exchange"], market.now().date()
    first = _day(params.get("from"), today - timedelta(days=365))
    last = _day(params.get("to"), today)
    years = range(first.year, min(last.year, first.year + 100) + 1)
    rows = [row for year in years for row in holidays_of(code, year)]
    wanted = [row for row in rows if first.isoformat() <= row["date"] <= last.isoformat()]
    return sorted(wanted, key=lambda row: str(row["date"]), reverse=True)


def holidays_of(code: str, year: int) -> list[Row]:
    """Return the days off of an exchange in a year, as the endpoint words them."""
    return _american(code, year) if exchanges()[code].country_code == "US" else _common(code, year)


def _day(text: str | None, otherwise: date) -> date:
    try:
        return date.fromisoformat(text or "")
    except ValueError:
        return otherwise


def _american(code: str, year: int) -> list[Row]:
    thanksgiving = _nth(year, 11, THURSDAY, 4)
    closed = {
        "New Year's Day": _observed(date(year, 1, 1)),
        "Martin Luther King, Jr. Day": _nth(year, 1, MONDAY, 3),
        "Washington's Birthday": _nth(year, 2, MONDAY, 3),
        "Good Friday": easter(year) - timedelta(days=2),
        "Memorial Day": _nth(year, 6, MONDAY, 1) - timedelta(days=7),
        "Independence Day": _observed(date(year, 7, 4)),
        "Labor Day": _nth(year, 9, MONDAY, 1),
        "Thanksgiving": thanksgiving,
        "Christmas": _observed(date(year, 12, 25)),
    }
    if year >= JUNETEENTH_SINCE:
        closed["Juneteenth"] = _observed(date(year, 6, 19))
    early = {"Thanksgiving": thanksgiving + timedelta(days=1), "Christmas": date(year, 12, 24)}
    whole = [_closed(code, name, day) for name, day in closed.items() if day.weekday() < SATURDAY]
    half = [_half_day(code, name, day) for name, day in early.items() if day.weekday() < SATURDAY]
    taken = {row["date"] for row in whole}
    return whole + [row for row in half if row["date"] not in taken]


def _common(code: str, year: int) -> list[Row]:
    days = {
        "New Year's Day": date(year, 1, 1),
        "Good Friday": easter(year) - timedelta(days=2),
        "Christmas": date(year, 12, 25),
    }
    return [_closed(code, name, day) for name, day in days.items() if day.weekday() < SATURDAY]


def _closed(code: str, name: str, day: date) -> Row:
    return {
        "exchange": code,
        "date": day.isoformat(),
        "name": name,
        "isClosed": True,
        "adjOpenTime": None,
        "adjCloseTime": None,
    }


def _half_day(code: str, name: str, day: date) -> Row:
    return _closed(code, name, day) | {"isClosed": None, "adjCloseTime": EARLY_CLOSE, "isFullyClosed": False}


def _nth(year: int, month: int, weekday: int, count: int) -> date:
    first = date(year, month, 1)
    return first + timedelta(days=(weekday - first.weekday()) % 7 + 7 * (count - 1))


def _observed(day: date) -> date:
    """Return the trading day on which a holiday is kept: Friday for a Saturday, Monday for a Sunday.

    New Year's Day on a Saturday is not kept at all: New York trades on the last day of the year.
    """
    if day.weekday() == SATURDAY:
        return day if (day.month, day.day) == (1, 1) else day - timedelta(days=1)
    return day + timedelta(days=1) if day.weekday() == SUNDAY else day


def easter(year: int) -> date:
    """Return Easter Sunday, after the anonymous Gregorian computus (Nature, 20 April 1876)."""
    golden, century, rest = year % 19, year // 100, year % 100
    shift = century - century // 4 - (century - (century + 8) // 25 + 1) // 3
    epact = (19 * golden + shift + 15) % 30
    weekday = (32 + 2 * (century % 4) + 2 * (rest // 4) - epact - rest % 4) % 7
    late = (golden + 11 * epact + 22 * weekday) // 451
    month, day = divmod(epact + weekday - 7 * late + 114, 31)
    return date(year, month, day + 1)
