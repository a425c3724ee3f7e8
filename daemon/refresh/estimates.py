"""What is measured while the daemon runs, and survives it: how long viewers stay, how long a refresh takes."""

from __future__ import annotations

import math
from collections.abc import Iterable

from daemon.contracts import Clock, DemandChange, Standing
from daemon.refresh.policy import MEAN_SESSION_SECONDS, Lead
from daemon.store.estimates import Estimate

MEMORY_SECONDS = 86_400.0
"""What was seen a day ago counts for 1/e of what is seen now."""

_ASSUMED_DEPARTURES = 200.0
"""The first mean counts for so many viewers who left."""
_SHORTEST, _LONGEST = 10.0, 21_600.0


class SessionLength:
    """The mean time that somebody looks at a page: watched seconds by departures.

    That is the estimator of greatest likelihood for exponential sessions, those that still last included (Kalbfleisch
    and Prentice, The Statistical Analysis of Failure Time Data, section 3.2).

    Args:
        clock: Monotonic seconds.
        first_seconds: What is assumed before enough has been seen.
        leave_grace_seconds: So much later is a departure told than it happened.
    """

    def __init__(
        self, clock: Clock, *, first_seconds: float = MEAN_SESSION_SECONDS, leave_grace_seconds: float = 0.0
    ) -> None:
        self._clock = clock
        self._grace = leave_grace_seconds
        self._departures = _ASSUMED_DEPARTURES
        self._watched = _ASSUMED_DEPARTURES * first_seconds
        self._open: dict[str, int] = {}
        self._looking = 0
        self._seen_at = clock.monotonic()

    @property
    def mean_seconds(self) -> float:
        """The estimate, from ten seconds to six hours."""
        return min(max(self._watched / self._departures, _SHORTEST), _LONGEST)

    @property
    def departures(self) -> float:
        """For how many departures the estimate stands."""
        return self._departures

    def note_demand(self, change: DemandChange) -> None:
        """Take in a change."""
        self._pass_time()
        before = self._open.pop(change.source, 0)
        if change.standing is Standing.HANDED_OVER:
            self._looking -= before
            return
        left = min(len(change.left), before)
        after = before - left + len(change.joined)
        if after:
            self._open[change.source] = after
        self._looking += after - before
        self._departures += left
        self._watched = max(self._watched - left * self._grace, 0.0)

    def restore(self, mean_seconds: float, departures: float) -> None:
        """Go on from what an earlier life has measured."""
        self._departures = max(departures, 1.0)
        self._watched = mean_seconds * self._departures

    def _pass_time(self) -> None:
        now = self._clock.monotonic()
        seconds, self._seen_at = now - self._seen_at, now
        kept = math.exp(-seconds / MEMORY_SECONDS)
        self._departures = max(self._departures * kept, 1.0)
        self._watched = self._watched * kept + self._looking * seconds


class Estimates:
    """Everything that is measured.

    Args:
        session: How long viewers stay.
    """

    def __init__(self, session: SessionLength) -> None:
        self.session = session
        self._leads: dict[str, Lead] = {}

    def lead(self, data_type: str) -> Lead:
        """Return how long a refresh of this type takes from claim to commit."""
        return self._leads.setdefault(data_type, Lead())

    def restore(self, known: Iterable[Estimate]) -> None:
        """Take over what an earlier life has measured."""
        for estimate in known:
            if estimate.estimate == "session_seconds":
                self.session.restore(estimate.mean, estimate.observations)
            else:
                self._leads[estimate.subject] = Lead(estimate.mean, estimate.spread, measured=True)

    def known(self) -> list[Estimate]:
        """Return what is worth remembering."""
        session = Estimate("session_seconds", "", self.session.mean_seconds, 0.0, self.session.departures)
        leads = [
            Estimate("lead_seconds", data_type, lead.mean_seconds, lead.spread_seconds, 0.0)
            for data_type, lead in self._leads.items()
            if lead.is_measured
        ]
        return [session, *leads]
