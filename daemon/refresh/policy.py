"""What a refresh is worth, how long its answer is fresh, when the pair is due again. Pure: the clock is passed in."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

from daemon.contracts import Outcome
from daemon.refresh.market_hours import TradingHours

_SMOOTHING = 0.125
_SPREAD_SMOOTHING = 0.25
_SPREADS = 4


MEAN_SESSION_SECONDS = 260.0
"""How long somebody looks at a page: exponential sessions with a median of three minutes have this mean."""

HORIZON_SECONDS = 3_600.0
"""What is usual is known from the last half hour, and counts for the next hour: docs/decisions/0020."""


def watched_seconds(ttl_seconds: float, mean_session_seconds: float = MEAN_SESSION_SECONDS) -> float:
    """Return how long somebody who looks now is expected to go on looking within one TTL.

    Of a TTL of T seconds, a viewer whose session has the mean s is expected to watch s (1 - exp(-T / s)): most of a
    short one, little of a day.
    """
    return mean_session_seconds * -math.expm1(-ttl_seconds / mean_session_seconds)


def gain(
    weight: float,
    viewers: float,
    ttl_seconds: float,
    mean_session_seconds: float = MEAN_SESSION_SECONDS,
    usual_viewers: float = 0.0,
    horizon_seconds: float = HORIZON_SECONDS,
) -> float:
    """Return what a refresh is worth, in weighted viewer-seconds: what is expected to be watched within one TTL.

    Those who look now go on for a while, and then as many look as usual. ``refresh_gain_v2`` is the same in SQL for
    producers that name no gain, and know nothing of what is usual.

    Args:
        weight: The data type's weight.
        viewers: What the distinct viewers of the pair weigh: their number, or less.
        ttl_seconds: For how long the answer will be fresh.
        mean_session_seconds: How long somebody looks at a page, on average.
        usual_viewers: What the viewers of the pair weigh on average in the long run.
        horizon_seconds: How far into the future that counts.
    """
    watched = watched_seconds(ttl_seconds, mean_session_seconds)
    return weight * (viewers * watched + usual_viewers * max(min(ttl_seconds, horizon_seconds) - watched, 0.0))


@dataclass(frozen=True, slots=True)
class DueRules:
    """From how a refresh ended to when its pair is fresh until, and due again."""

    empty_seconds: float = 6 * 3600.0
    """A pair that the upstream has nothing for is not asked again before this, or its TTL where that is longer."""
    failed_seconds: float = 15 * 60.0
    """A pair that failed for good is not asked again before this, or its TTL where longer; doubles each time."""
    failed_longest_seconds: float = 24 * 3600.0
    outage_seconds: float = 60.0
    """A pair that failed for good because the upstream could not be reached is not asked again before this; doubles."""
    lead_share: float = 0.25
    """A refresh starts at most this share of the TTL before expiry."""

    def fresh_until(
        self, outcome: Outcome, checked_at: datetime, ttl_seconds: float, hours: TradingHours | None = None
    ) -> datetime:
        """Return until when a pair is fresh that was asked for at ``checked_at`` and did not fail.

        Args:
            outcome: How it ended.
            checked_at: Nothing is fresh from any later moment on.
            ttl_seconds: Of its data type.
            hours: The trading hours that its data follows, if it does.
        """
        if outcome is Outcome.EMPTY:
            return checked_at + timedelta(seconds=max(ttl_seconds, self.empty_seconds))
        if hours is not None:
            return hours.fresh_until(checked_at, ttl_seconds)
        return checked_at + timedelta(seconds=ttl_seconds)

    def due_before(self, expiry: datetime, lead_seconds: float, ttl_seconds: float) -> datetime:
        """Return when a pair is due that expires at ``expiry``: the lead earlier."""
        return expiry - timedelta(seconds=min(lead_seconds, ttl_seconds * self.lead_share))

    def due_after_outage(self, now: datetime, failures_before: int) -> datetime:
        """Return when a pair is due whose retries an unreachable upstream has used up: the pair is not to blame."""
        seconds = self.outage_seconds * 2 ** min(failures_before, 20)
        return now + timedelta(seconds=min(seconds, self.failed_seconds))

    def due_after_failure(self, now: datetime, ttl_seconds: float, failures_before: int) -> datetime:
        """Return when a pair is due that has just failed for good, after ``failures_before`` such ends in a row."""
        seconds = max(ttl_seconds, self.failed_seconds) * 2 ** min(failures_before, 20)
        return now + timedelta(seconds=min(seconds, max(ttl_seconds, self.failed_longest_seconds)))


class Lead:
    """The measured time from claim to commit: smoothed mean and four smoothed deviations, as TCP estimates its timeout.

    See RFC 6298, section 2, for the formula.

    Args:
        mean_seconds: What is assumed before the first measurement, or was measured by an earlier life.
        spread_seconds: Its spread.
        measured: Whether it was.
    """

    def __init__(self, mean_seconds: float = 1.0, spread_seconds: float = 0.0, *, measured: bool = False) -> None:
        self.mean_seconds = mean_seconds
        self.spread_seconds = spread_seconds
        self.is_measured = measured

    @property
    def seconds(self) -> float:
        """The lead that most refreshes keep within."""
        return self.mean_seconds + _SPREADS * self.spread_seconds

    def measure(self, seconds: float) -> None:
        """Take in one measurement."""
        if not self.is_measured:
            self.mean_seconds, self.spread_seconds, self.is_measured = seconds, seconds / 2, True
            return
        self.spread_seconds += _SPREAD_SMOOTHING * (abs(seconds - self.mean_seconds) - self.spread_seconds)
        self.mean_seconds += _SMOOTHING * (seconds - self.mean_seconds)
