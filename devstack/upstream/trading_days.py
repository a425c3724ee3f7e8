"""When an exchange trades: its hours, weekends, holidays and early closes; and a clock that plays days quickly."""

from __future__ import annotations

import time as seconds
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from functools import cache

from devstack.upstream.holidays import holidays_of
from devstack.upstream.listings import Exchange, exchanges

LONGEST_CLOSURE_DAYS = 10


def sessions_on(exchange: Exchange, day: date) -> tuple[tuple[time, time], ...]:
    """Return opening and closing times on a local date, none where the exchange stays closed."""
    if day.isoweekday() in exchange.weekend:
        return ()
    closes_at = _holidays(exchange.code, day.year).get(day, time.max)
    return tuple((opens, min(closes, closes_at)) for opens, closes in exchange.sessions if opens < closes_at)


def is_trading(exchange: Exchange, moment: datetime) -> bool:
    """Return whether the exchange trades at a moment."""
    local = moment.astimezone(exchange.zone)
    return any(opens <= local.time() < closes for opens, closes in sessions_on(exchange, local.date()))


def last_trading(exchange: Exchange, epoch_seconds: float) -> float:
    """Return the moment itself while the exchange trades, and otherwise that of its last close, in epoch seconds."""
    local = datetime.fromtimestamp(epoch_seconds, UTC).astimezone(exchange.zone)
    for back in range(LONGEST_CLOSURE_DAYS):
        day = local.date() - timedelta(days=back)
        for opens, closes in reversed(sessions_on(exchange, day)):
            opened, closed = (datetime.combine(day, moment, exchange.zone).timestamp() for moment in (opens, closes))
            if opened <= epoch_seconds:
                return min(epoch_seconds, closed)
    return epoch_seconds


def played_clock(begin: datetime, speed: float) -> Callable[[], float]:
    """Return a clock of epoch seconds that starts at ``begin`` now and runs ``speed`` times as fast as time."""
    started = seconds.monotonic()
    return lambda: begin.timestamp() + (seconds.monotonic() - started) * speed


@cache
def _holidays(code: str, year: int) -> Mapping[date, time]:
    """Return when each day off closes: at midnight, before anything opens, where it is a whole one."""
    if not exchanges()[code].country_code:  # currencies and the like keep nobody's holidays
        return {}
    return {
        date.fromisoformat(str(row["date"])): time.fromisoformat(str(row["adjCloseTime"] or "00:00"))
        for row in holidays_of(code, year)
    }
