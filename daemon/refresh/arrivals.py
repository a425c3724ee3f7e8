"""How long pages wait for a pair that nobody had looked at, and what was refreshed although nobody looks any more."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import Counter, Histogram, Metric
from prometheus_client.registry import Collector

from daemon.contracts import Clock, Pair

BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)


class Arrivals(Collector):
    """Measures from the first view of a pair to fresh data; register it to have it shown.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since: dict[Pair, float] = {}
        self._seconds = Histogram(
            "refreshd_first_view_seconds",
            "From the first look at a pair that had to be fetched to fresh data",
            ["data_type"],
            buckets=BUCKETS,
            registry=None,
        )
        self._unserved = Counter(
            "refreshd_first_views_unserved",
            "Pairs whose viewers all left before fresh data came",
            ["data_type"],
            registry=None,
        )
        self._unseen = Counter(
            "refreshd_refreshes_unseen",
            "Refreshes of pairs that nobody looks at any more",
            ["data_type"],
            registry=None,
        )

    def began(self, pair: Pair) -> None:
        """Note that somebody looks at a pair that nobody looked at."""
        self._since[pair] = self._clock.monotonic()

    def fresh(self, pair: Pair) -> None:
        """Note that a pair is fresh."""
        since = self._since.pop(pair, None)
        if since is not None:
            self._seconds.labels(pair.data_type).observe(self._clock.monotonic() - since)

    def forget(self, pair: Pair) -> None:
        """Note that nothing is to be fetched: the pair is fresh already, or has failed and is asked for later."""
        self._since.pop(pair, None)

    def left(self, pair: Pair) -> None:
        """Note that nobody looks at a pair any more."""
        if self._since.pop(pair, None) is not None:
            self._unserved.labels(pair.data_type).inc()

    def unseen(self, pair: Pair) -> None:
        """Note that a pair was refreshed for nobody."""
        self._unseen.labels(pair.data_type).inc()

    def collect(self) -> Iterator[Metric]:
        """Yield everything."""
        for collector in (self._seconds, self._unserved, self._unseen):
            yield from collector.collect()
