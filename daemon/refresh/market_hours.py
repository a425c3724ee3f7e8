"""When an exchange trades, and for how long a price is therefore fresh. Pure: the moment is passed in.

Hours, lunch break and time zone are those of the exchange-market-status rows, with their holidays and early closes.
The weekend follows from the time zone, since no feed tells it. What the upstream itself said lately, open or closed,
wins over what is computed. An exchange of which too little is known has no hours: its prices age by their TTL alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from daemon.store.exchanges import StoredExchange

TOLD_SECONDS = 900.0
"""For so long the upstream's own word counts: three times the TTL of exchange-market-status."""

SETTLED_SECONDS = 60.0
"""After the close, the last price is still on its way for so long."""

ASSUMED_DELAY_SECONDS = 1_200.0
"""Of an exchange whose delay the upstream does not state: the longest of those it does state for large ones."""

_AROUND_THE_CLOCK = timedelta(hours=23)
"""What trades longer than this is no exchange with a close (crypto, currencies): the TTL alone decides."""

_LONGEST_CLOSURE_DAYS = 15
"""Beyond the longest holidays (the Lunar New Year closes some exchanges for eleven days)."""

_SATURDAY_SUNDAY = frozenset({6, 7})
_FRIDAY_SATURDAY = frozenset({5, 6})
_FRIDAY_SATURDAY_ZONES = frozenset(
    {
        "Africa/Cairo",
        "Asia/Amman",
        "Asia/Bahrain",
        "Asia/Dhaka",
        "Asia/Kuwait",
        "Asia/Muscat",
        "Asia/Qatar",
        "Asia/Riyadh",
    }
)

_HOUR = re.compile(r"(\d{1,2}):(\d{2})\s*([AP]M)?", re.IGNORECASE)
_DELAY = re.compile(r"(\d{1,3})\s*min", re.IGNORECASE)

Session = tuple[time, time]
"""Local times of opening and closing."""


@dataclass(frozen=True, slots=True)
class Told:
    """What the upstream said, and when."""

    is_open: bool
    at: datetime


@dataclass(frozen=True, slots=True)
class TradingHours:
    """When an exchange trades.

    ``sessions`` are those of an ordinary day, in local time and in their order; ``closed`` the days off; ``openings``
    and ``closings`` the days that begin late or end early; ``delay_seconds`` how much later the upstream shows a price.
    """

    zone: ZoneInfo
    sessions: Sequence[Session]
    weekend: frozenset[int] = _SATURDAY_SUNDAY
    closed: frozenset[date] = frozenset()
    openings: Mapping[date, time] = field(default_factory=dict)
    closings: Mapping[date, time] = field(default_factory=dict)
    told: Told | None = None
    delay_seconds: float = ASSUMED_DELAY_SECONDS

    def is_open(self, moment: datetime) -> bool:
        """Return whether the exchange trades at ``moment``."""
        told = self._told(moment)
        return told if told is not None else self._computed(moment)

    def is_moving(self, moment: datetime) -> bool:
        """Return whether the upstream's price can still change: while it trades, and until the last price is shown."""
        told = self._told(moment)
        if told is not None and told is not self._computed(moment):
            return told
        settling = timedelta(seconds=self.delay_seconds + SETTLED_SECONDS)
        sessions = self._sessions_from(moment - timedelta(days=1))
        return any(opens <= moment < closes + settling for opens, closes in sessions)

    def next_opening(self, moment: datetime) -> datetime | None:
        """Return the first opening after ``moment`` by the calendar, None where it knows none."""
        return next((opens for opens, _ in self._sessions_from(moment) if opens > moment), None)

    def fresh_until(self, checked_at: datetime, ttl_seconds: float) -> datetime:
        """Return until when a price is fresh that was asked for at ``checked_at``.

        While it can change, for its TTL. After the close one fetch is enough: its price stays what it is until the
        exchange opens again, and is a TTL old at most for a TTL longer.
        """
        ttl = timedelta(seconds=ttl_seconds)
        if self.is_moving(checked_at):
            return checked_at + ttl
        if self._computed(checked_at) or (opening := self.next_opening(checked_at)) is None:
            # Closed against the calendar, or for longer than it reaches: ask the upstream again after a while.
            return checked_at + max(ttl, timedelta(seconds=TOLD_SECONDS))
        return opening + ttl

    def _told(self, moment: datetime) -> bool | None:
        """Return what the upstream said lately, unless a session has begun or ended since."""
        told = self.told
        if told is None or not 0 <= (moment - told.at).total_seconds() < TOLD_SECONDS:
            return None
        turned = (edge for session in self._sessions_from(told.at - timedelta(days=1)) for edge in session)
        return None if any(told.at < edge <= moment for edge in turned) else told.is_open

    def _computed(self, moment: datetime) -> bool:
        return any(opens <= moment < closes for opens, closes in self._sessions_from(moment - timedelta(days=1)))

    def _sessions_from(self, moment: datetime) -> Iterator[tuple[datetime, datetime]]:
        """Yield opening and closing of every session from the local day of ``moment`` on, in UTC."""
        day = moment.astimezone(self.zone).date()
        for offset in range(_LONGEST_CLOSURE_DAYS + 1):
            yield from self._sessions_of(day + timedelta(days=offset))

    def _sessions_of(self, day: date) -> Iterator[tuple[datetime, datetime]]:
        if day.isoweekday() in self.weekend or day in self.closed:
            return
        first, last = self.openings.get(day, time.min), self.closings.get(day, time.max)
        for session in self.sessions:
            opens, closes = max(session[0], first), min(session[1], last)
            if opens < closes:
                yield self._moment(day, opens), self._moment(day, closes)

    def _moment(self, day: date, local: time) -> datetime:
        return datetime.combine(day, local, self.zone).astimezone(UTC)


def read_hours(row: StoredExchange) -> TradingHours | None:
    """Return the hours of an exchange, None where its row does not tell enough or it trades around the clock."""
    zone = _zone(row.timezone)
    first = _session(row.opening_hour, row.closing_hour)
    if zone is None or first is None or _length(first) >= _AROUND_THE_CLOCK:
        return None
    second = _session(row.opening_additional, row.closing_additional)
    days = [(day, record) for record in row.holidays if (day := _day(record.get("date"))) is not None]
    return TradingHours(
        zone=zone,
        sessions=(first,) if second is None or second[0] < first[1] else (first, second),
        weekend=_FRIDAY_SATURDAY if zone.key in _FRIDAY_SATURDAY_ZONES else _SATURDAY_SUNDAY,
        closed=frozenset(day for day, record in days if _is_closed(record)),
        openings=_adjusted(days, "adjOpenTime"),
        closings=_adjusted(days, "adjCloseTime"),
        told=None if row.is_market_open is None else Told(row.is_market_open, row.fetched_at),
        delay_seconds=_delay(row.delay),
    )


def _zone(name: str | None) -> ZoneInfo | None:
    try:
        return ZoneInfo(name) if name else None
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def _session(opening: str | None, closing: str | None) -> Session | None:
    opens, closes = _local(opening), _local(closing)
    return (opens, closes) if opens is not None and closes is not None and opens < closes else None


def _local(text: object) -> time | None:
    """Return the time in ``09:30 AM -04:00`` or ``13:00``. The offset is today's: the zone knows better."""
    match = _HOUR.match(text.strip()) if isinstance(text, str) else None
    if match is None:
        return None
    hour, minute, half = int(match[1]), int(match[2]), (match[3] or "").upper()
    if half:
        hour = hour % 12 + (12 if half == "PM" else 0)
    try:
        return time(hour, minute)
    except ValueError:
        return None


def _length(session: Session) -> timedelta:
    opens, closes = (timedelta(hours=edge.hour, minutes=edge.minute) for edge in session)
    return closes - opens


def _day(text: object) -> date | None:
    try:
        return date.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None


def _is_closed(record: Mapping[str, Any]) -> bool:
    """A day with hours of its own is a short day, whatever else is said of it."""
    return record.get("isClosed") is True and not record.get("adjOpenTime") and not record.get("adjCloseTime")


def _adjusted(days: Sequence[tuple[date, Mapping[str, Any]]], key: str) -> dict[date, time]:
    return {day: local for day, record in days if (local := _local(record.get(key))) is not None}


def _delay(text: str | None) -> float:
    """Return the seconds in ``15 min``; ``Real-time`` is none."""
    if text is None:
        return ASSUMED_DELAY_SECONDS
    match = _DELAY.search(text)
    if match is not None:
        return int(match[1]) * 60.0
    return 0.0 if text.strip().lower().startswith("real") else ASSUMED_DELAY_SECONDS
