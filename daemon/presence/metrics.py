"""Presence as Prometheus reads it. Labels are bounded: causes and reasons are fixed sets, shards are configured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from daemon.presence.status import PresenceStatus


class PresenceCollector(Collector):
    """Reads the status at every scrape.

    Args:
        read: Returns the status as it is now.
    """

    def __init__(self, read: Callable[[], PresenceStatus]) -> None:
        self._read = read

    def collect(self) -> Iterator[Metric]:
        """Yield everything."""
        status = self._read()
        yield GaugeMetricFamily(
            "refreshd_presence_enabled", "1 where the flag use_presence_tracking is on", float(status.enabled)
        )
        yield GaugeMetricFamily(
            "refreshd_presence_largest_state",
            "Presences in the largest of the topics' last states",
            status.largest_state,
        )
        yield from _connections(status)
        yield from _shards(status)
        yield _counter(
            "refreshd_presence_drops", "Untrusted things that were dropped, by reason", "reason", status.drops
        )


def _counter(name: str, meaning: str, label: str, counts: Mapping[str, int]) -> Metric:
    counter = CounterMetricFamily(name, meaning, labels=[label])
    for value, number in sorted(counts.items()):
        counter.add_metric([value], number)
    return counter


def _connections(status: PresenceStatus) -> Iterator[Metric]:
    ages = GaugeMetricFamily(
        "refreshd_presence_session_age_seconds",
        "Age of the session on each connection to Realtime; absent while the connection is down",
        labels=["connection"],
    )
    ended, lost = Counter[str](), Counter[str]()
    for connection in status.connections:
        ended.update(connection.sessions_ended)
        lost.update(connection.channels_lost)
        if connection.age_seconds is not None:
            ages.add_metric([str(connection.number)], connection.age_seconds)
    kept = sum(1 for connection in status.connections if connection.topics)
    yield GaugeMetricFamily("refreshd_presence_connections", "Connections to Realtime that are to be open", kept)
    yield ages
    yield _counter(
        "refreshd_presence_sessions_ended", "Sessions that ended or could not be opened, by cause", "cause", ended
    )
    yield _counter("refreshd_presence_channels_lost", "Channels that failed alone, by cause", "cause", lost)


def _shards(status: PresenceStatus) -> Iterator[Metric]:
    topics = GaugeMetricFamily("refreshd_presence_topics", "Topics of each shard of ours", labels=["shard"])
    confirmed = GaugeMetricFamily(
        "refreshd_presence_topics_confirmed", "Those whose presence is current", labels=["shard"]
    )
    viewers = GaugeMetricFamily(
        "refreshd_presence_viewers", "Distinct viewers, added up over the topics of each shard", labels=["shard"]
    )
    for name, shard in sorted(status.shards.items()):
        topics.add_metric([name], shard.topics)
        confirmed.add_metric([name], shard.confirmed)
        viewers.add_metric([name], shard.viewers)
    yield from (topics, confirmed, viewers)
