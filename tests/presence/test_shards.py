"""Which shard a topic belongs to, and which symbol topics are worth being a member of."""

from __future__ import annotations

from collections import Counter

import pytest

from daemon.contracts import KnownTopic
from daemon.presence.shards import Layout
from daemon.presence.topics import TopicBook

TOPIC = "symbol:AAPL"


def test_a_lobby_is_a_shard_and_a_symbol_topic_belongs_to_one_group() -> None:
    layout = Layout(lobbies=2, groups=4)

    assert layout.shards == ("viewers:0", "viewers:1", "symbols:0", "symbols:1", "symbols:2", "symbols:3")
    assert layout.shard_of("viewers:1") == "viewers:1"
    assert layout.shard_of("viewers:2") is None
    assert layout.shard_of(TOPIC) in layout.shards
    assert layout.shard_of("other:1") is None


def test_without_groups_symbol_topics_belong_to_nobody() -> None:
    assert Layout(lobbies=1, groups=0).shard_of(TOPIC) is None


def test_the_groups_are_the_same_in_every_process_and_fill_evenly() -> None:
    layout = Layout(lobbies=0, groups=4)

    sizes = Counter(layout.shard_of(f"symbol:S{number}") for number in range(1_000))

    assert layout.shard_of(TOPIC) == "symbols:3"
    assert all(200 < size < 300 for size in sizes.values())


@pytest.mark.parametrize(("seconds", "wanted"), [(599, True), (601, False)])
def test_a_topic_is_wanted_until_it_has_been_quiet_for_long(seconds: float, wanted: bool) -> None:
    book = TopicBook(quiet_seconds=600)
    book.note(KnownTopic(TOPIC, 0.0), 1_000.0)

    assert book.wants(TOPIC, 1_000.0 + seconds) is wanted


def test_a_topic_met_for_the_first_time_gets_a_full_quiet_period_however_old_it_is() -> None:
    book = TopicBook(quiet_seconds=600)

    book.note(KnownTopic(TOPIC, 80_000.0), 1_000.0)
    book.note(KnownTopic(TOPIC, 80_500.0), 1_500.0)

    assert book.wanted(1_599.0) == [TOPIC]
    assert book.wanted(1_601.0) == []


def test_asking_again_and_being_viewed_keep_a_topic() -> None:
    book = TopicBook(quiet_seconds=600)
    book.note(KnownTopic(TOPIC, 0.0), 0.0)

    book.note(KnownTopic(TOPIC, 10.0), 500.0)
    book.viewed(TOPIC, 800.0)

    assert book.wants(TOPIC, 1_399.0)


def test_what_is_forgotten_is_met_for_the_first_time_again() -> None:
    book = TopicBook(quiet_seconds=600)
    book.note(KnownTopic(TOPIC, 0.0), 0.0)
    book.note(KnownTopic("symbol:MSFT", 0.0), 0.0)

    book.forget(lambda topic: topic == TOPIC)
    book.note(KnownTopic(TOPIC, 5_000.0), 5_000.0)
    book.forget_before(1_000.0)

    assert book.wanted(5_000.0) == [TOPIC]
