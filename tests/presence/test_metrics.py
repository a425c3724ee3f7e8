"""Presence as Prometheus reads it, and the page that lists it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from prometheus_client import CollectorRegistry

from daemon.contracts import Answer, FetchErrorKind, Oddity, OddityKind
from daemon.loop_lag import LoopLag
from daemon.presence.metrics import PresenceCollector
from daemon.presence.status import ConnectionStatus, PresenceStatus, ShardStatus
from daemon.processor.calls import CallEnd, CallWatch
from daemon.processor.drift import DriftWatch
from daemon.processor.metrics import DriftCollector
from tests.clocks import StandingClock

PAGE = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")

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


def a_watch_that_has_seen_everything() -> CallWatch:
    watch = CallWatch()
    watch.note_end(CallEnd("profile", 0.1, 200, 5_000, "etag", Answer(304, b"", "etag", 200)))
    watch.note_failure("profile", FetchErrorKind.MALFORMED)
    watch.note_refused("breaker")
    return watch


def test_the_page_lists_every_metric_with_its_labels_and_no_other() -> None:
    registry = CollectorRegistry()
    registry.register(PresenceCollector(lambda: STATUS))
    LoopLag(StandingClock(), registry)
    drift = DriftWatch()
    drift.note("quote", Oddity(OddityKind.UNKNOWN_FIELD, "news"))
    registry.register(DriftCollector(drift))
    registry.register(a_watch_that_has_seen_everything())

    collected = set()
    for family in registry.collect():
        labels = sorted({label for sample in family.samples for label in sample.labels} - {"le"})
        name = f"{family.name}_total" if family.type == "counter" else family.name
        collected.add((name, family.type, ", ".join(labels)))

    rows = re.findall(r"^\| `(refreshd_\w+)` \| (\w+) \| ([\w, ]*?) ?\|", PAGE, re.MULTILINE)
    assert set(rows) == collected
