"""What the dashboard shows: how everything stands, looked at every few seconds while somebody watches. Read-only."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from daemon.contracts import Clock
from daemon.outage import Outage
from daemon.service import wait_for_any, wait_for_first, wait_or_stop
from daemon.web.dashboard_feed import Feed
from daemon.web.dashboard_history import History, point_of
from daemon.web.dashboard_reasons import held_by, reason_of

EVERY_SECONDS = 5.0
LOOK_UP_SECONDS = 10.0
REST = 9.0
"""So many times as long as a look-up takes is the rest after it: a tenth of the time goes into them at most."""
CURRENT_SECONDS = 35.0
"""What was looked up longer ago is shown as what it is: the last that is known."""
MAX_WATCHERS = 200
MAX_CONNECTIONS = 64
"""So many sessions are listed at most."""

Rows = Sequence[Mapping[str, Any]]


class SessionLike(Protocol):
    """One connection to Realtime, as presence tells it."""

    @property
    def number(self) -> int:
        """Which connection."""
        ...

    @property
    def age_seconds(self) -> float | None:
        """Age of its session; None while it is down."""
        ...

    @property
    def topics(self) -> int:
        """How many topics it is to have."""
        ...

    @property
    def confirmed(self) -> int:
        """How many of them are current."""
        ...

    @property
    def sessions_ended(self) -> Mapping[str, int]:
        """By cause, how many sessions have ended."""
        ...

    @property
    def channels_lost(self) -> Mapping[str, int]:
        """By cause, how many channels have failed alone."""
        ...


class Dashboard:
    """The service that looks, and tells everybody who watches.

    It harms nobody: whatever it is given may fail, and then it shows that it does not know.

    Args:
        clock: The time that points of the history bear, and for ages.
        detail: Gives everything that ``/health`` shows.
        sessions: Gives the connections to Realtime.
        top_pairs: Looks up the pairs with the most viewers: rows of ``daemon.store.top_pairs.read_top_pairs``.
        outcomes: Looks up how jobs ended lately: rows of ``daemon.store.top_pairs.read_outcomes``.
        every_seconds: From one look to the next.
        look_up_seconds: The same for what is looked up in the database.
        history: Remembers S.
        max_watchers: How many may watch at the same time.
    """

    name = "dashboard"

    def __init__(
        self,
        clock: Clock,
        *,
        detail: Callable[[], Mapping[str, Any]],
        sessions: Callable[[], Sequence[SessionLike]],
        top_pairs: Callable[[], Awaitable[Rows]],
        outcomes: Callable[[], Awaitable[Rows]],
        every_seconds: float = EVERY_SECONDS,
        look_up_seconds: float = LOOK_UP_SECONDS,
        history: History | None = None,
        max_watchers: int = MAX_WATCHERS,
    ) -> None:
        self._clock = clock
        self._detail = detail
        self._sessions = sessions
        self._top_pairs = top_pairs
        self._outcomes = outcomes
        self._every_seconds = every_seconds
        self._look_up_seconds = look_up_seconds
        self._history = history or History()
        self._looks = Outage("dashboard", "/health and the log say more")
        self._look_ups = Outage("dashboard_look_ups", "top pairs and outcomes are shown as unknown meanwhile")
        self._found: _Found | None = None
        self._history_is_told = False
        self.feed = Feed(max_watchers=max_watchers)

    async def run(self, stop: asyncio.Event) -> None:
        """Look until ``stop``."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._look(stop))
            group.create_task(self._look_up(stop))

    async def _look(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            self._once()
            await wait_for_any(stop, self.feed.arrived, self._every_seconds)

    def _once(self) -> None:
        """Take a point for the history where one is due, and tell the watchers."""
        now = self._clock.monotonic()
        if not self.feed.watchers:
            self.feed.forget()
            if not self._history.is_due(now):
                return
        try:
            detail, sessions = self._detail(), self._sessions()
            is_current = _is_current(detail)
            point = point_of(self._clock.now().timestamp(), detail["freshness"] if is_current else None)
            told = self._told(detail, sessions, now)
        except Exception as error:  # noqa: BLE001 - a page to look at must not end the daemon
            self._looks.failed(error)
            point, told = point_of(self._clock.now().timestamp(), None), {"detail": None, "is_current": False}
        else:
            self._looks.passed()
        is_new = self._history.note(now, point)
        self._history_is_told &= not is_new
        if self.feed.watchers:
            frame = {"every_seconds": self._every_seconds, **told, "newest": point._asdict() if is_new else None}
            self.feed.publish(frame, None if self._history_is_told else self._history.columns())
            self._history_is_told = True

    def _told(self, detail: Mapping[str, Any], sessions: Sequence[SessionLike], now: float) -> Mapping[str, Any]:
        """Return everything that the page shows."""
        found, upstreams = self._found, detail["upstreams"] or ()
        age = 0.0 if found is None else now - found.at
        holds = {row["upstream"]: held_by(row) for row in upstreams}
        return {
            "detail": detail,
            "is_current": _is_current(detail),
            "holds": holds,
            "sessions": [_session(each) for each in sessions[:MAX_CONNECTIONS]],
            "found_seconds_ago": None if found is None else age,
            "found_is_current": found is not None and age < found.good_for_seconds,
            "top_pairs": None if found is None else [_shown(row, age, holds) for row in found.top_pairs],
            "outcomes": None if found is None else found.outcomes,
        }

    async def _look_up(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            await wait_for_first(None, stop, self.feed.watched)
            if not stop.is_set():
                began_at = self._clock.monotonic()
                await self._look_up_once()
                took = self._clock.monotonic() - began_at
                await wait_or_stop(stop, max(self._look_up_seconds, REST * took))

    async def _look_up_once(self) -> None:
        """Look up what takes statements of its own."""
        began_at = self._clock.monotonic()
        try:
            top_pairs, outcomes = await self._top_pairs(), await self._outcomes()
        except Exception as error:  # noqa: BLE001 - the same
            self._look_ups.failed(error)
            return
        self._look_ups.passed()
        now = self._clock.monotonic()
        self._found = _Found(began_at, CURRENT_SECONDS + (REST + 2) * (now - began_at), top_pairs, outcomes)
        self.feed.arrived.set()


@dataclass(frozen=True, slots=True)
class _Found:
    """What the last look-up has found."""

    at: float
    """Monotonic seconds at its beginning."""
    good_for_seconds: float
    top_pairs: Rows
    outcomes: Rows


def _is_current(detail: Mapping[str, Any]) -> bool:
    age = detail["looked_seconds_ago"]
    return age is not None and age < CURRENT_SECONDS


def _session(session: SessionLike) -> Mapping[str, Any]:
    return {
        "number": session.number,
        "age_seconds": session.age_seconds,
        "topics": session.topics,
        "current": session.confirmed,
        "ended": sum(session.sessions_ended.values()),
        "lost": sum(session.channels_lost.values()),
    }


def _shown(row: Mapping[str, Any], age: float, holds: Mapping[str, str | None]) -> Mapping[str, Any]:
    """Return a pair as it stands by now, a while after it was looked up."""
    moved = {
        **row,
        "age_seconds": _moved(row["age_seconds"], age),
        "fresh_for_seconds": _moved(row["fresh_for_seconds"], -age),
        "due_in_seconds": _moved(row["due_in_seconds"], -age),
        "waits_seconds": _moved(row["waits_seconds"], -age),
    }
    fresh = moved["fresh_for_seconds"]
    return {
        "symbol": row["symbol"],
        "data_type": row["data_type"],
        "viewers": row["viewers"],
        "age_seconds": moved["age_seconds"],
        "ttl_seconds": row["ttl_seconds"],
        "due_in_seconds": moved["due_in_seconds"],
        "is_fresh": fresh is not None and fresh > 0,
        "why": reason_of(moved, holds.get(row["upstream"])),
    }


def _moved(seconds: float | None, by: float) -> float | None:
    return None if seconds is None else seconds + by
