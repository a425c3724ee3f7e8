"""Presence as Prometheus reads it, and the page that lists it."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry

from daemon.presence.metrics import PresenceCollector
from daemon.presence.status import ConnectionStatus, PresenceStatus, ShardStatus

STATUS = PresenceStatus(
    enabled=True,
    shards={"viewers:0": ShardStatus(1, 1, 30), "symbols:3": ShardStatus(4, 3, 5)},
    connections=[
        ConnectionStatus(0, 12.5, 3, 3, {"closed_1001": 2, "renewed": 1}, {"channel_error": 4}),
        ConnectionStatus(1, None, 2, 0, {"closed_1001": 1}, {"channel_error": 1}),
    ],
    drops={"unknown_symbol": 7},
    largest_state=31,
)


def scraped(status: PresenceStatus) -> Mapping[str, float]:
    """Return every sample, written as Prometheus does."""
    registry = CollectorRegistry()
    registry.register(PresenceCollector(lambda: status))
    return {
        sample.name + "".join(f"{{{label}={value}}}" for label, value in sample.labels.items()): sample.value
        for family in registry.collect()
        for sample in family.samples
    }


def test_everything_that_the_status_knows_is_there() -> None:
    assert scraped(STATUS) == {
        "refreshd_presence_enabled": 1,
        "refreshd_presence_largest_state": 31,
        "refreshd_presence_connections": 2,
        "refreshd_presence_session_age_seconds{connection=0}": 12.5,
        "refreshd_presence_sessions_ended_total{cause=closed_1001}": 3,
        "refreshd_presence_sessions_ended_total{cause=renewed}": 1,
        "refreshd_presence_channels_lost_total{cause=channel_error}": 5,
        "refreshd_presence_topics{shard=viewers:0}": 1,
        "refreshd_presence_topics{shard=symbols:3}": 4,
        "refreshd_presence_topics_confirmed{shard=viewers:0}": 1,
        "refreshd_presence_topics_confirmed{shard=symbols:3}": 3,
        "refreshd_presence_viewers{shard=viewers:0}": 30,
        "refreshd_presence_viewers{shard=symbols:3}": 5,
        "refreshd_presence_drops_total{reason=unknown_symbol}": 7,
    }
