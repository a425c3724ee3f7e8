"""The listener as one of several: what it owns, remembers, hands over, and joins on demand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from daemon.contracts import DemandChange, KnownTopic, KnownViewer, Standing, Subscription
from daemon.presence.channel import Patience
from devstack.realtime.server import RealtimeServer
from devstack.realtime.tokens import mint_token
from tests.presence.stage import (
    AAPL,
    LOBBY,
    MSFT,
    OTHER_LOBBY,
    SECRET,
    DemandRecorder,
    LogRecorder,
    OnlyListener,
    listening,
    looking_at,
    viewing,
)

TOPIC = "symbol:AAPL"
SEEKING: dict[str, Any] = {"groups": 4, "look_for_topics_seconds": 0.02, "renew_seconds": 0.05}
SHOWS_AAPL = {"symbol": "AAPL", "dataTypes": ["quote"], "userId": "ada"}


def of_source(demand: DemandRecorder, source: str) -> list[DemandChange]:
    return [change for change in demand.changes if change.source == source]


async def test_a_symbol_topic_is_joined_when_it_is_asked_for_and_left_when_it_is_quiet(server: RealtimeServer) -> None:
    async with listening(server.url, **SEEKING, quiet_seconds=0.3) as stage:
        stage.shards.topics = [KnownTopic(TOPIC, 0.0)]
        async with viewing(server, SHOWS_AAPL, topic=TOPIC):
            await stage.demand.until(lambda: stage.demand.viewers == {AAPL: 1})
            stage.shards.topics = []
        await stage.demand.until(lambda: stage.demand.viewers == {AAPL: 0})
        await server.until(lambda: server.members(TOPIC) == 0)

        stage.shards.topics = [KnownTopic(TOPIC, 0.0)]
        await server.until(lambda: server.members(TOPIC) == 1)


async def test_a_symbol_topic_that_is_viewed_is_kept_and_noted_though_nobody_asks_again(server: RealtimeServer) -> None:
    async with listening(server.url, **SEEKING) as stage, viewing(server, SHOWS_AAPL, topic=TOPIC):
        stage.shards.topics = [KnownTopic(TOPIC, 0.0)]
        await stage.demand.until(lambda: stage.demand.viewers == {AAPL: 1})
        stage.shards.topics = []

        for _ in range(3):
            stage.clock.ahead_seconds += 300
            await stage.shards.until(lambda: stage.shards.viewed == [TOPIC])
            stage.shards.viewed = []

        assert server.members(TOPIC) == 2
        assert stage.demand.viewers == {AAPL: 1}


async def test_lobbies_and_symbol_topics_add_up_to_distinct_viewers(server: RealtimeServer) -> None:
    async with (
        listening(server.url, **SEEKING) as stage,
        viewing(server, looking_at("AAPL")),
        viewing(server, SHOWS_AAPL, topic=TOPIC),
        viewing(server, {**SHOWS_AAPL, "userId": "bob"}, topic=TOPIC),
    ):
        stage.shards.topics = [KnownTopic(TOPIC, 0.0)]

        await stage.demand.until(lambda: stage.demand.viewers == {AAPL: 2})


async def test_topics_beyond_what_a_connection_carries_go_over_another(server: RealtimeServer) -> None:
    names = [f"symbol:S{number}" for number in range(7)]
    async with listening(server.url, **SEEKING, channels_per_connection=3) as stage:
        stage.shards.topics = [KnownTopic(name, 0.0) for name in names]

        await server.until(lambda: all(server.members(name) == 1 for name in names))

        assert [connection.topics for connection in stage.listener.status().connections] == [2, 2, 2, 2]
        assert server.connections == 4


async def test_topics_of_shards_that_are_not_ours_are_not_joined(server: RealtimeServer, log: LogRecorder) -> None:
    async with listening(server.url, lobbies=2, shards=OnlyListener(held={OTHER_LOBBY})) as stage:
        await log.written("realtime_connected")

        assert server.members(LOBBY) == 0
        assert server.members(OTHER_LOBBY) == 1
        assert set(stage.listener.status().shards) == {OTHER_LOBBY}


async def test_a_shard_beyond_our_share_is_left_first_and_released_then_with_its_rows(server: RealtimeServer) -> None:
    async with listening(server.url, renew_seconds=0.05) as stage, viewing(server, looking_at("AAPL")):
        await stage.demand.until(lambda: stage.demand.viewers == {AAPL: 1})

        stage.shards.held, stage.shards.surplus = frozenset(), frozenset({LOBBY})
        await stage.shards.until(lambda: stage.shards.released == [LOBBY])
        stage.shards.surplus = frozenset()

        last = of_source(stage.demand, LOBBY)[-1]
        assert (last.standing, last.viewers, last.left) == (Standing.HANDED_OVER, {AAPL: 0}, ())
        await server.until(lambda: server.members(LOBBY) == 1)


async def test_what_an_earlier_owner_knew_is_demand_at_once_and_confirmed_by_the_first_state(
    server: RealtimeServer, log: LogRecorder
) -> None:
    shards = OnlyListener()
    shards.viewers[LOBBY] = [KnownViewer("user:ada", frozenset({AAPL}), 10.0)]
    await server.stop()

    async with listening(server.url, shards=shards) as stage:
        await stage.demand.until(lambda: stage.demand.viewers == {AAPL: 1})
        remembered = list(stage.demand.changes)
        await server.start()
        async with viewing(server, looking_at("AAPL")):
            await log.written("realtime_connected")
            await stage.demand.until(lambda: stage.demand.changes[-1].standing is Standing.CONFIRMED)

    assert [(change.standing, change.joined) for change in remembered] == [
        (Standing.REMEMBERED, [Subscription("user:ada", AAPL)])
    ]


async def test_what_nobody_confirms_ages_out_by_the_age_that_it_has(server: RealtimeServer) -> None:
    shards = OnlyListener()
    shards.viewers[LOBBY] = [KnownViewer("user:ada", frozenset({AAPL}), 250.0)]
    await server.stop()

    async with listening(server.url, shards=shards, presence_grace_seconds=250.2) as stage:
        await stage.demand.until(lambda: stage.demand.viewers == {AAPL: 0})

        assert [change.standing for change in stage.demand.changes] == [Standing.REMEMBERED] * 2
        assert stage.demand.changes[-1].left == [Subscription("user:ada", AAPL)]


async def test_a_remembered_pair_that_may_not_be_asked_for_any_more_is_told_as_left(server: RealtimeServer) -> None:
    forbidden = AAPL._replace(data_type="horoscope")
    shards = OnlyListener()
    shards.viewers[LOBBY] = [KnownViewer("user:ada", frozenset({AAPL, forbidden}), 10.0)]

    async with listening(server.url, shards=shards) as stage:
        await stage.demand.until(lambda: bool(stage.demand.changes))

    assert stage.demand.changes[0].viewers == {AAPL: 1}
    assert stage.demand.changes[0].left == [Subscription("user:ada", forbidden)]


async def test_a_database_that_is_away_takes_no_shard_from_us(server: RealtimeServer, log: LogRecorder) -> None:
    async with listening(server.url, renew_seconds=0.02) as stage, viewing(server, looking_at("AAPL")):
        await stage.demand.until(lambda: stage.demand.viewers == {AAPL: 1})
        stage.shards.is_down = True
        await log.written("part_interrupted")

        async with viewing(server, looking_at("MSFT", user="bob")):
            await stage.demand.until(lambda: stage.demand.viewers == {AAPL: 1, MSFT: 1})

        stage.shards.is_down = False
        await log.written("part_recovered")
        assert not log.of("shards_handed_over")


async def test_at_the_end_the_listener_says_farewell_and_its_rows_stay(server: RealtimeServer) -> None:
    async with viewing(server, looking_at("AAPL")):
        async with listening(server.url) as stage:
            await stage.demand.until(lambda: stage.demand.viewers == {AAPL: 1})

        assert stage.shards.retired
        assert stage.demand.viewers == {AAPL: 1}


async def test_a_session_that_is_old_enough_gives_way_to_a_fresh_one_without_anybody_leaving(
    server: RealtimeServer, log: LogRecorder
) -> None:
    async with (
        listening(server.url, session_seconds=0.2, leave_grace_seconds=0.01) as stage,
        viewing(server, looking_at("AAPL")),
    ):
        await log.written("realtime_renewed", times=2)
        await stage.demand.until(lambda: stage.demand.viewers == {AAPL: 1})

    assert stage.demand.viewers == {AAPL: 1}
    assert [change.viewers for change in stage.demand.changes if change.viewers] == [{AAPL: 1}]
    assert not log.of("realtime_disconnected")


async def test_a_session_ends_before_its_key_and_the_next_one_has_the_fresh_key(
    server: RealtimeServer, log: LogRecorder
) -> None:
    expiring = mint_token(SECRET, "service_role", expires_in_seconds=302)
    fresh = mint_token(SECRET, "service_role", expires_in_seconds=86_400 * 7)

    async with listening(server.url, key=expiring) as stage:
        await log.written("realtime_connected")
        stage.key.key = fresh
        await log.written("realtime_connected", times=2)

        assert [line["cause"] for line in log.of("realtime_renewed")] == ["renewed"]
        assert stage.listener._connections[0]._session_key == fresh


async def test_a_key_that_was_replaced_is_used_on_reload_and_one_that_was_not_changes_nothing(
    server: RealtimeServer, log: LogRecorder
) -> None:
    async with listening(server.url) as stage:
        await log.written("realtime_connected")
        stage.listener.check_key()
        stage.key.key = "sb_secret_development"
        stage.listener.check_key()
        await log.written("realtime_connected", times=2)

    assert [line["cause"] for line in log.of("realtime_renewed")] == ["key_changed"]


async def test_a_catalogue_that_changed_is_applied_to_those_who_are_there(
    server: RealtimeServer, log: LogRecorder
) -> None:
    async with (
        listening(server.url) as stage,
        viewing(server, {"userId": "ada", "views": {"AAPL": ["horoscope"]}}),
    ):
        await server.until(lambda: server.presences(LOBBY) != {})
        await log.written("realtime_connected")
        stage.catalogue.data_types = ("quote", "horoscope")
        stage.listener.renew("catalogue_changed")

        await stage.demand.until(lambda: stage.demand.viewers == {AAPL._replace(data_type="horoscope"): 1})


@pytest.mark.parametrize("canary_seconds", [0.0, 0.02])
async def test_a_canary_sings_on_a_topic_of_its_own(server: RealtimeServer, canary_seconds: float) -> None:
    patience = Patience(canary_seconds=canary_seconds, retry_low_seconds=0.01, retry_high_seconds=0.05)

    async with listening(server.url, patience=patience) as stage, viewing(server, looking_at("AAPL")):
        await stage.demand.until(lambda: stage.demand.viewers == {AAPL: 1})
        if canary_seconds:
            await server.until(lambda: len(server.topics("refreshd:canary:")) == 1)

        assert len(server.topics("refreshd:canary:")) == bool(canary_seconds)
        assert stage.sessions_ended("canary_unanswered") == 0


async def test_a_renewal_waits_for_the_bucket_while_the_session_lives_on(
    server: RealtimeServer, log: LogRecorder
) -> None:
    async with listening(server.url, connections=4, connections_seconds=600) as stage:
        await log.written("realtime_connected")

        for _ in range(3):
            stage.listener.renew("catalogue_changed")
        async with viewing(server, looking_at("AAPL")):
            await stage.demand.until(lambda: stage.demand.viewers == {AAPL: 1})

        assert stage.listener.status().connected
        assert not log.of("realtime_renewed")
        assert stage.listener._connections[0]._renewal is not None


async def test_a_renewal_that_waited_happens_once_when_the_bucket_allows_it(
    server: RealtimeServer, log: LogRecorder
) -> None:
    async with listening(server.url, connections=4, connections_seconds=0.9) as stage:
        await log.written("realtime_connected")

        for _ in range(3):
            stage.listener.renew("catalogue_changed")
        await log.written("realtime_connected", times=2)

        assert len(log.of("realtime_renewed")) == 1
        assert len(server.handshakes) == 2


async def test_topics_asked_for_while_the_database_was_away_are_joined_afterwards(
    server: RealtimeServer, log: LogRecorder
) -> None:
    class Remembering(OnlyListener):
        """Gives a topic only to who looks back far enough."""

        async def read_topics(self, within_seconds: float) -> Sequence[KnownTopic]:
            return [known for known in await super().read_topics(within_seconds) if within_seconds > 600]

    shards = Remembering()
    async with listening(server.url, **SEEKING, shards=shards) as stage:
        await log.written("realtime_connected")
        stage.shards.is_down = True
        await log.written("part_interrupted")
        shards.topics = [KnownTopic(TOPIC, 300.0)]
        stage.shards.is_down = False

        await server.until(lambda: server.members(TOPIC) == 1)
