"""The listener against the development server: real sockets, real viewers."""

from __future__ import annotations

import asyncio
import re
import time

import pytest

from daemon.contracts import Pair, Subscription
from daemon.presence.channel import Patience
from devstack.realtime.server import RealtimeServer
from devstack.realtime.tokens import mint_token
from tests.presence.stage import (
    AAPL,
    LOBBY,
    MSFT,
    SECRET,
    LogRecorder,
    Peer,
    Recorder,
    following,
    listening,
    looking_at,
    new_server,
    viewing,
)

OURS = re.compile(r"/(daemon|realtime/_async|websockets)/")
"""Where the code of a task that a listener started is."""

HOSTILE_STATE = {
    "a": {"metas": [{"phx_ref": 7, **looking_at("AAPL")}]},
    "b": {"metas": [looking_at("AAPL")]},
    "c": {"metas": [{"phx_ref": "c", "presence_ref": {"x": 1}, **looking_at("NFLX", user="eve")}]},
    "d": {"metas": [{"phx_ref": "d", "views": "x" * 100_000}]},
    "e": {"metas": [None, 1, "x", [], {"phx_ref": None}]},
    "f": {"metas": "metas"},
    "g": None,
}


async def test_the_first_view_of_a_pair_becomes_demand_at_once(server: RealtimeServer, log: LogRecorder) -> None:
    async with listening(server.url, coalesce_seconds=3600) as stage:
        await log.written("realtime_connected")

        async with viewing(server, looking_at("AAPL")):
            await stage.demand.until(lambda: bool(stage.demand.changes))

        change = stage.demand.changes[0]
        assert change.source == LOBBY
        assert change.viewers == {AAPL: 1}
        assert change.joined == [Subscription("user:ada", AAPL)]


async def test_viewers_who_were_there_before_are_found(server: RealtimeServer) -> None:
    async with (
        viewing(server, looking_at("AAPL", "MSFT")),
        viewing(server, looking_at("AAPL", user="bob"), role="authenticated"),
        listening(server.url) as stage,
    ):
        await stage.demand.until(lambda: stage.demand.viewers == {AAPL: 2, MSFT: 1})

        assert stage.listener.status().shards[LOBBY].viewers == 2


async def test_two_tabs_of_one_user_are_one_viewer(server: RealtimeServer) -> None:
    async with (
        viewing(server, looking_at("AAPL")),
        viewing(server, looking_at("AAPL", "MSFT")),
        listening(server.url) as stage,
    ):
        await stage.demand.until(lambda: stage.demand.viewers == {AAPL: 1, MSFT: 1})


async def test_both_payloads_are_understood(server: RealtimeServer) -> None:
    payload = {"symbol": "AAPL", "dataTypes": ["quote", "profile"], "subscribedAt": "2026-08-01T00:00:00Z"}

    async with listening(server.url) as stage, viewing(server, payload):
        await stage.demand.until(lambda: stage.demand.viewers == {AAPL: 1, Pair("AAPL", "profile"): 1})

    assert stage.demand.changes[0].joined[0].viewer.startswith("conn:")


async def test_a_viewer_who_leaves_is_gone_after_the_grace(server: RealtimeServer) -> None:
    async with listening(server.url, leave_grace_seconds=0.3) as stage:
        async with viewing(server, looking_at("AAPL")):
            await stage.demand.until(lambda: stage.demand.viewers == {AAPL: 1})
        left_at = time.monotonic()

        await stage.demand.until(lambda: stage.demand.viewers == {AAPL: 0})

        assert time.monotonic() - left_at >= 0.25
        assert stage.demand.changes[-1].left == [Subscription("user:ada", AAPL)]


async def test_a_page_that_shows_something_else_is_followed(server: RealtimeServer) -> None:
    async with listening(server.url) as stage, viewing(server, looking_at("AAPL")) as page:
        await stage.demand.until(lambda: stage.demand.viewers == {AAPL: 1})

        await page.track(looking_at("MSFT"))

        await stage.demand.until(lambda: stage.demand.viewers == {AAPL: 0, MSFT: 1})


async def test_a_page_that_reloads_within_the_grace_never_left(server: RealtimeServer) -> None:
    async with listening(server.url, leave_grace_seconds=3600, coalesce_seconds=0) as stage:
        async with viewing(server, looking_at("AAPL")):
            await stage.demand.until(lambda: stage.demand.viewers == {AAPL: 1})
        async with viewing(server, looking_at("AAPL", "MSFT")):
            await stage.demand.until(lambda: MSFT in stage.demand.viewers)

        assert stage.demand.viewers == {AAPL: 1, MSFT: 1}
        assert not any(change.left for change in stage.demand.changes)


async def test_an_outage_keeps_the_last_view_and_a_new_state_replaces_it(log: LogRecorder) -> None:
    async with new_server() as server, listening(server.url) as stage:
        async with viewing(server, looking_at("AAPL")):
            await stage.demand.until(lambda: stage.demand.viewers == {AAPL: 1})
            await server.stop()
        await log.written("realtime_disconnected")
        during_the_outage = dict(stage.demand.viewers)
        assert not stage.listener.status().connected
        assert stage.listener.status().shards[LOBBY].viewers == 1

        await server.start()
        async with viewing(server, looking_at("MSFT", user="bob")):
            await stage.demand.until(lambda: stage.demand.viewers == {AAPL: 0, MSFT: 1})

        assert during_the_outage == {AAPL: 1}
        assert stage.listener.status().connected
        assert [line["cause"] for line in log.of("realtime_disconnected")] == ["closed_1012"]
        assert log.of("realtime_connected")[1]["seconds_down"] > 0


async def test_an_outage_longer_than_the_grace_makes_everybody_leave() -> None:
    async with new_server() as server, listening(server.url, presence_grace_seconds=0.3) as stage:
        async with viewing(server, looking_at("AAPL")):
            await stage.demand.until(lambda: stage.demand.viewers == {AAPL: 1})
            await server.stop()

        await stage.demand.until(lambda: stage.demand.viewers == {AAPL: 0})

        await server.start()
        async with viewing(server, looking_at("AAPL")):
            await stage.demand.until(lambda: stage.demand.viewers == {AAPL: 1})


async def test_hostile_metas_leave_the_listener_alive(server: RealtimeServer, log: LogRecorder) -> None:
    async with listening(server.url) as stage:
        await log.written("realtime_connected")

        server.inject(LOBBY, "presence_diff", {"joins": HOSTILE_STATE, "leaves": HOSTILE_STATE})
        server.inject(LOBBY, "presence_diff", {"joins": 1})
        server.inject(LOBBY, "presence_diff", None)
        server.inject(LOBBY, "presence_state", [])
        server.inject(LOBBY, "presence_state", HOSTILE_STATE)
        server.inject(LOBBY, "phx_reply", {"status": 1})
        server.inject(LOBBY, "nonsense", {})
        async with viewing(server, looking_at("MSFT")):
            await stage.demand.until(lambda: MSFT in stage.demand.viewers)

        assert stage.demand.viewers[Pair("NFLX", "quote")] == 1
        assert AAPL not in stage.demand.viewers
        assert not log.of("realtime_disconnected")
        drops = stage.listener.status().drops
        assert {"invalid_phx_ref", "malformed_presence", "oversized_meta", "malformed_frame"} <= drops.keys()


async def test_a_page_that_forges_its_ref_harms_only_itself(server: RealtimeServer) -> None:
    forged = {**looking_at("AAPL", user="eve"), "phx_ref": ["x"], "presence_ref": "y"}

    async with listening(server.url) as stage, viewing(server, forged), viewing(server, looking_at("MSFT")):
        await stage.demand.until(lambda: MSFT in stage.demand.viewers)

        assert stage.demand.viewers == {MSFT: 1}


async def test_states_beyond_a_mebibyte_are_taken_in(server: RealtimeServer, log: LogRecorder) -> None:
    crowd = {
        f"key-{number:06}": {"metas": [{"phx_ref": f"r{number}", "userId": f"u{number}", "views": {"AAPL": ["quote"]}}]}
        for number in range(20_000)
    }

    async with listening(server.url) as stage:
        await log.written("realtime_connected")
        server.inject(LOBBY, "presence_state", crowd)
        await stage.demand.until(lambda: stage.demand.viewers.get(AAPL) == 20_000)

        assert not log.of("realtime_disconnected")


async def test_the_flag_turned_off_drains_and_turned_on_joins_again(server: RealtimeServer, log: LogRecorder) -> None:
    async with (
        listening(server.url, leave_grace_seconds=3600) as stage,
        viewing(server, looking_at("AAPL")),
    ):
        await stage.demand.until(lambda: stage.demand.viewers == {AAPL: 1})

        stage.turn(on=False)
        await stage.demand.until(lambda: stage.demand.viewers == {AAPL: 0})
        await server.until(lambda: server.connections == 1)

        stage.turn(on=True)
        await stage.demand.until(lambda: stage.demand.viewers == {AAPL: 1})
        assert not log.of("realtime_disconnected")


async def test_the_time_down_begins_when_the_channels_are_left_for_the_flag(
    server: RealtimeServer, log: LogRecorder
) -> None:
    async with listening(server.url) as stage:
        await log.written("realtime_connected")
        stage.clock.ahead_seconds += 1000
        stage.turn(on=False)
        await log.written("realtime_left")
        stage.clock.ahead_seconds += 500
        stage.turn(on=True)
        await log.written("realtime_connected", times=2)

    assert log.of("realtime_left") == [{"level": "info", "event": "realtime_left", "connection": 0}]
    assert 500 <= log.of("realtime_connected")[1]["seconds_down"] < 600


async def test_while_the_flag_is_off_nothing_is_joined(server: RealtimeServer) -> None:
    async with listening(server.url, on=False) as stage, viewing(server, looking_at("AAPL")):
        status = stage.listener.status()

        assert not status.enabled
        assert not status.connected
        assert server.members(LOBBY) == 1

    assert stage.demand.changes == []


async def test_stopping_ends_within_two_seconds_and_leaves_nothing(server: RealtimeServer, log: LogRecorder) -> None:
    async with viewing(server, looking_at("AAPL")):
        before = asyncio.all_tasks()
        async with listening(server.url, lobbies=2) as stage:
            await log.written("realtime_connected")
            await stage.demand.until(lambda: stage.demand.viewers == {AAPL: 1})
            await server.until(lambda: server.connections == 2)
            stopped_at = time.monotonic()

        assert time.monotonic() - stopped_at < 2
        await server.until(lambda: server.connections == 1)
        assert [task for task in asyncio.all_tasks() - before if OURS.search(repr(task))] == []
        assert stage.demand.viewers == {AAPL: 1}


async def test_a_key_that_is_refused_is_reported_once_and_never_shown(server: RealtimeServer, log: LogRecorder) -> None:
    key = mint_token(SECRET, "service_role", expires_in_seconds=-60)

    async with listening(server.url, key=key) as stage:
        await stage.key.until(lambda: stage.sessions_ended("http_403") >= 3)

    assert not log.of("realtime_disconnected")
    assert not log.of("realtime_unreachable")
    assert len(log.of("realtime_key_refused")) == 1
    assert "SUPABASE_SERVICE_ROLE_KEY" in log.of("realtime_key_refused")[0]["hint"]
    assert len(log.of("service_key_found_expiring")) == 1
    assert key not in str(log.lines)


async def test_a_secret_key_that_is_no_token_works_too(server: RealtimeServer, log: LogRecorder) -> None:
    async with listening(server.url, key="sb_secret_development") as stage, viewing(server, looking_at("AAPL")):
        await stage.demand.until(lambda: stage.demand.viewers == {AAPL: 1})

    assert not log.of("service_key_found_expiring")


async def test_a_server_that_is_not_there_yet_is_waited_for(log: LogRecorder) -> None:
    server = new_server()
    await server.start()
    await server.stop()

    async with listening(server.url) as stage:
        await stage.key.until(lambda: stage.sessions_ended("unreachable") >= 3)
        async with server:
            await log.written("realtime_connected")
            assert not log.of("realtime_disconnected")

    host = server.url.removeprefix("http://")
    hint = "check SUPABASE_URL and the network; trying again"
    assert log.of("realtime_unreachable") == [
        {
            "level": "warning",
            "event": "realtime_unreachable",
            "connection": 0,
            "cause": "unreachable",
            "host": host,
            "hint": hint,
        }
    ]
    assert log.of("realtime_connected")[0]["failures"] >= 3


async def test_a_server_that_hangs_up_at_once_is_not_flooded(log: LogRecorder) -> None:
    connections = Recorder()
    greeted: list[Peer] = []

    async def hang_up(peer: Peer) -> None:
        greeted.append(peer)
        connections.notify()
        await peer.close()

    async with (
        following(hang_up) as url,
        listening(url, connections=12, connections_seconds=3600) as stage,
    ):
        await connections.until(lambda: len(greeted) == 3)
        seconds_to_attempt = stage.listener._connections[0]._seconds_to_attempt()

    assert len(greeted) == 3
    assert seconds_to_attempt > 60
    assert log.of("realtime_disconnected")[0]["cause"] == "closed_1000"


@pytest.mark.parametrize(("seconds_connected", "failures"), [(59, 11), (61, 1)])
async def test_only_a_stable_minute_makes_the_next_delay_short(
    log: LogRecorder, seconds_connected: float, failures: int
) -> None:
    async with (
        new_server() as server,
        listening(server.url, patience=Patience(retry_low_seconds=15, canary_seconds=0)) as stage,
    ):
        await log.written("realtime_connected")
        backoff = stage.listener._connections[0]._backoff
        backoff.failures = 10

        stage.clock.ahead_seconds = seconds_connected
        await server.stop()
        await log.written("realtime_disconnected")

        assert backoff.failures == failures
