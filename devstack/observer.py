"""What the demo sees: samples of the truth in the database against the truth of the viewers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from statistics import quantiles
from typing import Any

from daemon.contracts import Pair, StoreUnavailableError
from daemon.store.database import Database, transposed
from devstack.glimpses import glimpse
from devstack.viewers import Crowd, Track

WARM_UP_SECONDS = 10.0
SAMPLE_SECONDS = 0.5

_PAIRS = """
select i.symbol, i.data_type, s.last_outcome, s.fresh_until > clock_timestamp() as fresh,
       extract(epoch from clock_timestamp() - s.last_success_at)::float8 as age_seconds,
       r.default_ttl_minutes * 60 as ttl_seconds, {glimpse} as value
from unnest($1::text[], $2::text[]) as i (symbol, data_type)
join data_type_registry_v2 r using (data_type)
left join refresh_state_v2 s using (symbol, data_type)
"""
_TOTALS = """
select u.calls_in_window, u.bytes_in_30_days, b.breaker_state, b.paused_until > now() as paused,
       (select count(*) from api_call_queue_v2_pending) as pending,
       (select count(*) from api_call_queue_v2_processing) as processing
from upstream_usage_v2('fmp') u, upstreams_v2 b
"""
_COMMITS = """
select symbol, data_type, lane, outcome, pg_xact_commit_timestamp(xmin) as committed_at
from api_call_queue_v2_completed
order by committed_at
"""


@dataclass(frozen=True, slots=True)
class PairSample:
    """A viewed pair at one moment."""

    pair: Pair
    viewers: int
    value: str | None
    fresh: bool
    age_seconds: float | None
    ttl_seconds: float
    outcome: str | None


@dataclass(frozen=True, slots=True)
class Totals:
    """Budgets, queue and breaker at one moment."""

    calls_in_window: int = 0
    bytes_in_30_days: int = 0
    breaker: str = "closed"
    paused: bool = False
    pending: int = 0
    processing: int = 0


@dataclass(slots=True)
class Freshness:
    """Viewed pair-seconds, counted from the end of the warm-up."""

    seconds: float = 0.0
    fresh_seconds: float = 0.0

    @property
    def share(self) -> float | None:
        """The fresh part of all; None until something was counted."""
        return self.fresh_seconds / self.seconds if self.seconds else None

    def count(self, seconds: float, *, viewed: int, fresh: int) -> None:
        """Add a time in which so many pairs were viewed, and so many of them fresh."""
        self.seconds += seconds * viewed
        self.fresh_seconds += seconds * fresh


class Observer:
    """Samples until it is stopped.

    Args:
        database: The owner's connections.
        crowd: Who knows what is really viewed.
        warm_up_seconds: How long nothing is counted.
        sample_seconds: How long it is from sample to sample.
    """

    def __init__(
        self,
        database: Database,
        crowd: Crowd,
        *,
        warm_up_seconds: float = WARM_UP_SECONDS,
        sample_seconds: float = SAMPLE_SECONDS,
    ) -> None:
        self._warm_up_seconds = warm_up_seconds
        self._sample_seconds = sample_seconds
        self._database = database
        self._crowd = crowd
        self.freshness = Freshness()
        """By pairs."""
        self.viewer_freshness = Freshness()
        """By viewers: what is missing to one is S, the share of viewer-seconds past the TTL."""
        self.samples: list[PairSample] = []
        self.totals = Totals()

    async def run(self, stop: asyncio.Event) -> None:
        """Take samples; while the database is away, what is viewed counts as not fresh."""
        loop = asyncio.get_running_loop()
        started = before = loop.time()
        while not stop.is_set():
            fresh = await self._fresh_samples()
            now = loop.time()
            if now - started >= self._warm_up_seconds:
                viewers = self._crowd.viewers()
                self.freshness.count(now - before, viewed=len(viewers), fresh=len(fresh))
                seeing = sum(sample.viewers for sample in fresh)
                self.viewer_freshness.count(now - before, viewed=sum(viewers.values()), fresh=seeing)
            before = now
            try:
                await asyncio.wait_for(stop.wait(), self._sample_seconds)
            except TimeoutError:
                continue

    async def _fresh_samples(self) -> list[PairSample]:
        """Take a sample and return the pairs that are fresh; without a database, none that anybody could see."""
        try:
            await self._sample()
        except StoreUnavailableError:
            return []
        return [sample for sample in self.samples if sample.fresh]

    async def _sample(self) -> None:
        viewers = self._crowd.viewers()
        query = _PAIRS.format(glimpse=glimpse({pair.data_type for pair in viewers}))
        rows = await self._database.fetch(query, *transposed(list(viewers), 2))
        self.samples = [
            PairSample(
                pair := Pair(row["symbol"], row["data_type"]),
                viewers[pair],
                row["value"],
                bool(row["fresh"]),
                row["age_seconds"],
                row["ttl_seconds"],
                row["last_outcome"],
            )
            for row in rows
        ]
        totals = await self._database.fetchrow(_TOTALS)
        assert totals is not None
        self.totals = Totals(
            totals["calls_in_window"],
            totals["bytes_in_30_days"],
            totals["breaker_state"],
            bool(totals["paused"]),
            totals["pending"],
            totals["processing"],
        )


@dataclass(frozen=True, slots=True)
class Commit:
    """A finished job, with the moment at which its rows could be seen."""

    pair: Pair
    lane: int
    outcome: str
    committed_at: datetime


async def read_commits(database: Database) -> list[Commit]:
    """Return every completed job in the order of the commits."""
    rows = await database.fetch(_COMMITS)
    return [Commit(Pair(r["symbol"], r["data_type"]), r["lane"], r["outcome"], r["committed_at"]) for r in rows]


def join_to_fresh_seconds(tracks: Iterable[Track], commits: Iterable[Commit]) -> list[float]:
    """Return from track sent to row committed, for every pair that nobody had ever asked for before that track."""
    first: dict[Pair, float] = {}
    for commit in commits:
        first.setdefault(commit.pair, commit.committed_at.timestamp())
    seen: set[Pair] = set()
    seconds = []
    for track in sorted(tracks, key=lambda track: track.at):
        new = track.pairs - seen
        seen |= new
        seconds += [first[pair] - track.at for pair in new if pair in first]
    return seconds


def percentiles(seconds: list[float]) -> dict[str, float | None]:
    """Return p50 and p99 in milliseconds; None where nothing was measured."""
    if len(seconds) < 2:  # noqa: PLR2004 - quantiles need two
        value = round(seconds[0] * 1000, 1) if seconds else None
        return {"p50": value, "p99": value}
    cuts = quantiles(seconds, n=100, method="inclusive")
    return {"p50": round(cuts[49] * 1000, 1), "p99": round(cuts[98] * 1000, 1)}


async def build_report(observer: Observer, crowd: Crowd, commits: list[Commit]) -> dict[str, Any]:
    """Return what the viewers and the database have seen; the upstream and the log add their part."""
    share, seeing = observer.freshness.share, observer.viewer_freshness.share
    viewed = {pair for track in crowd.tracks for pair in track.pairs}
    outcomes: dict[str, int] = {}
    for commit in commits:
        outcomes[commit.outcome] = outcomes.get(commit.outcome, 0) + 1
    return {
        "viewers": crowd.arrived,
        "pairs_viewed": len(viewed),
        "data_types": sorted({pair.data_type for pair in viewed & {commit.pair for commit in commits}}),
        "fresh_share": None if share is None else round(share, 5),
        "S": None if seeing is None else round(max(1 - seeing, 0.0), 5),
        "refreshes_at_expiry": sum(commit.lane == 1 for commit in commits),
        "jobs": outcomes,
        "join_to_fresh_ms": percentiles(join_to_fresh_seconds(crowd.tracks, commits)),
    }
