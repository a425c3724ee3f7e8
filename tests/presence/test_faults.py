"""Every fault of a Realtime server, through real sockets: the listener comes back by itself and knows who is there."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from daemon.contracts import KnownTopic, Pair
from daemon.presence.channel import Patience
from daemon.presence.client import KNOWN_CLOSE_CODES
from devstack.realtime.faults import (
    DiffFault,
    Faults,
    JoinFault,
    StateFault,
    doubling,
    leaving_early,
    losing_every,
    with_ghosts,
)
from devstack.realtime.server import RealtimeServer
from tests.presence.stage import (
    AAPL,
    CALM,
    HASTY,
    LOBBY,
    MSFT,
    OTHER_LOBBY,
    LogRecorder,
    Stage,
    listening,
    looking_at,
    new_server,
    viewing,
)

US = "service_role"
WATCHFUL = replace(CALM, heartbeat_seconds=0.05, silence_seconds=0.5, state_seconds=0.5, close_seconds=0.2)
CLOSE_CODES = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 4000, 4999]
REFUSALS = [400, 401, 403, 404, 429, 500, 502, 503]


async def hears(stage: Stage, server: RealtimeServer, *, topic: str = LOBBY) -> None:
    """Assert that a viewer who comes now is heard, whatever was before."""
    async with viewing(server, looking_at("HEARD", user="eve"), topic=topic):
        await stage.demand.until(lambda: stage.demand.viewers.get(Pair("HEARD", "quote")) == 1)
    await stage.demand.until(lambda: stage.demand.viewers[Pair("HEARD", "quote")] == 0)


# --- the connection ---


@pytest.mark.parametrize("code", CLOSE_CODES)
async def test_whatever_code_a_connection_is_closed_with_it_is_made_again_and_nobody_left(
    server: RealtimeServer, log: LogRecorder, code: int
) -> None:
    async with listening(server.url) as stage, viewing(server, looking_at("AAPL")):
        await stage.demand.until(lambda: stage.demand.viewers == {AAPL: 1})

        server.faults.close(code, role=US)
        await log.written("realtime_connected", times=2)

        cause = f"closed_{code}" if code in KNOWN_CLOSE_CODES else "closed_other"
        assert stage.sessions_ended(cause) == 1
        assert stage.demand.viewers == {AAPL: 1}
        assert not any(change.left for change in stage.demand.changes)
        await hears(stage, server)


async def test_a_reset_in_mid_session_is_survived(server: RealtimeServer, log: LogRecorder) -> None:
    async with listening(server.url) as stage, viewing(server, looking_at("AAPL")):
        await stage.demand.until(lambda: stage.demand.viewers == {AAPL: 1})

        server.faults.reset(role=US)
        await log.written("realtime_connected", times=2)

        assert stage.demand.viewers == {AAPL: 1}
        await hears(stage, server)


def freeze(server: RealtimeServer) -> None:
    server.faults.freeze(role=US)


def fall_silent(server: RealtimeServer) -> None:
    server.switches.phoenix_silent = True


@pytest.mark.parametrize("silence", [freeze, fall_silent])
async def test_a_silence_is_found_and_ends_with_a_new_connection(
    server: RealtimeServer, log: LogRecorder, silence: Callable[[RealtimeServer], None]
) -> None:
    async with listening(server.url, patience=WATCHFUL) as stage, viewing(server, looking_at("AAPL")):
        await stage.demand.until(lambda: stage.demand.viewers == {AAPL: 1})

        silence(server)
        await log.written("realtime_disconnected")
        server.switches.heal()
        await log.written("realtime_connected", times=2)

        assert log.of("realtime_disconnected")[0]["cause"] in {"silence", "heartbeat_unanswered"}
        assert stage.demand.viewers == {AAPL: 1}
        await hears(stage, server)


def test_a_silence_is_found_within_twenty_five_seconds() -> None:
    assert Patience().silence_seconds <= 25


async def test_a_broadcast_that_is_swallowed_is_a_silence_of_its_own(server: RealtimeServer, log: LogRecorder) -> None:
    singing = replace(CALM, canary_seconds=0.05, canary_reply_seconds=0.2)
    async with listening(server.url, patience=singing) as stage:
        await log.written("realtime_connected")

        server.switches.broadcasts_swallowed = True
        await log.written("realtime_disconnected")
        server.switches.heal()

        assert log.of("realtime_disconnected")[0]["cause"] == "canary_unanswered"
        await hears(stage, server)


@pytest.mark.parametrize("status", REFUSALS)
async def test_a_handshake_that_is_refused_is_tried_again_until_it_works(
    server: RealtimeServer, log: LogRecorder, status: int
) -> None:
    server.switches.http_status = status
    async with listening(server.url) as stage:
        await server.until(lambda: len(server.handshakes) >= 3)

        server.switches.heal()

        await log.written("realtime_connected")
        assert stage.sessions_ended(f"http_{status}") >= 2
        assert len(log.of("realtime_unreachable")) + len(log.of("realtime_key_refused")) == 1
        await hears(stage, server)


async def test_a_handshake_without_an_answer_is_given_up_and_tried_again(
    server: RealtimeServer, log: LogRecorder
) -> None:
    server.switches.handshakes_unanswered = True
    async with listening(server.url, patience=HASTY) as stage:
        await log.written("realtime_unreachable")
        server.switches.heal()

        await log.written("realtime_connected")
        await hears(stage, server)


async def test_a_redirect_is_refused_and_its_target_never_asked(server: RealtimeServer, log: LogRecorder) -> None:
    async with new_server() as elsewhere:
        server.switches.redirect_to = elsewhere.url.replace("http", "ws") + "/socket/websocket"
        async with listening(server.url):
            await log.written("realtime_unreachable")
            server.switches.heal()
            await log.written("realtime_connected")

        assert not elsewhere.handshakes


async def test_a_hostile_server_is_dialled_twenty_times_in_ten_minutes_at_most(server: RealtimeServer) -> None:
    server.switches.close_on_accept = 1000
    async with listening(server.url, connections=20, connections_seconds=600) as stage:
        await server.until(lambda: bool(server.handshakes))
        line = stage.listener._connections[0]
        dialled = []
        for minute in range(40):
            stage.clock.ahead_seconds = 60.0 * minute
            line._woken.set()
            while line.age_seconds is not None or line._seconds_to_attempt() < 1:  # until only time can help
                line._woken.set()
                await asyncio.sleep(0)
            dialled.append(len(server.handshakes))

    in_ten_minutes = [after - before for before, after in zip([0, *dialled], dialled[9:], strict=False)]
    assert 10 <= max(in_ten_minutes) <= 20
    assert dialled[-1] - dialled[-11] >= 10


# --- one channel ---


async def test_a_channel_that_is_refused_is_asked_for_again_and_the_other_lives_on(
    server: RealtimeServer, log: LogRecorder
) -> None:
    server.switches.joins[LOBBY] = JoinFault(refused_because="not today")
    async with listening(server.url, lobbies=2) as stage, viewing(server, looking_at("AAPL"), topic=OTHER_LOBBY):
        await stage.demand.until(lambda: stage.demand.viewers == {AAPL: 1})
        await log.written("realtime_channel_lost")

        server.switches.heal()
        await log.written("realtime_channel_rejoined")

        assert "Unauthorized: not today" in log.of("realtime_channel_lost")[0]["detail"]
        assert len(server.handshakes) == 2  # ours and the viewer's
        await hears(stage, server)


async def test_joins_that_are_slow_delay_nobody_for_ever(server: RealtimeServer) -> None:
    server.switches.joins[LOBBY] = JoinFault(delay_seconds=0.3)
    async with listening(server.url, lobbies=2) as stage, viewing(server, looking_at("AAPL"), topic=OTHER_LOBBY):
        await stage.demand.until(lambda: stage.demand.viewers == {AAPL: 1})
        await server.until(lambda: server.members(LOBBY) == 1)

        assert len(server.handshakes) == 2
        await hears(stage, server)


async def test_a_join_that_is_never_answered_is_tried_again(server: RealtimeServer, log: LogRecorder) -> None:
    server.switches.joins[LOBBY] = JoinFault(unanswered=True)
    async with listening(server.url, patience=HASTY) as stage:
        await log.written("realtime_channel_lost")
        server.switches.heal()

        await hears(stage, server)


def crash(faults: Faults, topic: str) -> None:
    faults.crash(topic)


def shut_down(faults: Faults, topic: str) -> None:
    faults.shut_down(topic, "Too many presence messages per second")


@pytest.mark.parametrize("end", [crash, shut_down])
async def test_one_channel_of_a_hundred_that_is_closed_costs_the_others_nothing(
    server: RealtimeServer, log: LogRecorder, end: Callable[[Faults, str], None]
) -> None:
    topics = [f"symbol:S{number}" for number in range(99)]
    async with listening(server.url, groups=1, look_for_topics_seconds=0.02, channels_per_connection=101) as stage:
        stage.shards.topics = [KnownTopic(topic, 0.0) for topic in topics]
        await server.until(lambda: all(server.members(topic) == 1 for topic in [*topics, LOBBY]))
        members = {topic: member_of(server, topic) for topic in topics}

        end(server.faults, LOBBY)
        await log.written("realtime_channel_rejoined")

        assert len(server.handshakes) == 1
        assert {topic: member_of(server, topic) for topic in topics} == members
        assert [line["topic"] for line in log.of("realtime_channel_lost")] == [LOBBY]
        await hears(stage, server)


def member_of(server: RealtimeServer, topic: str) -> object:
    """Return the one channel in a topic: another join makes another."""
    (member,) = server._rooms.named(topic)[0].members
    return member


# --- states and diffs ---


async def test_a_state_that_is_late_is_waited_for_and_diffs_before_it_are_not_lost(server: RealtimeServer) -> None:
    early = {"joins": {"bob": {"metas": [{"phx_ref": "b1", **looking_at("MSFT", user="bob")}]}}, "leaves": {}}
    server.switches.states[LOBBY] = StateFault(delay_seconds=0.2, early_diff=early)
    async with viewing(server, looking_at("AAPL")), listening(server.url) as stage:
        server.inject(LOBBY, "presence_diff", early)

        await stage.demand.until(lambda: stage.demand.viewers == {AAPL: 1, MSFT: 1})


async def test_a_state_that_never_comes_ends_the_session(server: RealtimeServer, log: LogRecorder) -> None:
    server.switches.states[LOBBY] = StateFault(missing=True)
    async with listening(server.url, patience=WATCHFUL) as stage, viewing(server, looking_at("AAPL")):
        await log.written("realtime_disconnected")
        server.switches.heal()

        await stage.demand.until(lambda: stage.demand.viewers == {AAPL: 1})
        assert log.of("realtime_disconnected")[0]["cause"] == "no_presence_state"


def losing_a_third() -> DiffFault:
    return losing_every(3)


def all_doubled() -> DiffFault:
    return doubling


def among_ghosts() -> DiffFault:
    return with_ghosts


@pytest.mark.parametrize("fault", [losing_a_third, all_doubled, among_ghosts, leaving_early])
async def test_diffs_that_are_lost_doubled_ghostly_or_out_of_order_end_in_the_truth_with_the_next_session(
    server: RealtimeServer, log: LogRecorder, fault: Callable[[], DiffFault]
) -> None:
    async with contextlib.AsyncExitStack() as stack:
        stage = await stack.enter_async_context(listening(server.url))
        await log.written("realtime_connected")
        server.switches.diffs[LOBBY] = fault()
        for number in range(6):
            user = f"user-{number % 4}"
            async with viewing(server, looking_at("MSFT", user=user)) as channel:
                await channel.track(looking_at("AAPL", user=user))
        for number in range(5):
            await stack.enter_async_context(viewing(server, looking_at("AAPL", user=f"user-{number}")))
        await server.until(lambda: sum(map(len, server.presences(LOBBY).values())) == 5)

        server.switches.heal()
        stage.listener.renew("drift")

        await log.written("realtime_connected", times=2)
        await stage.demand.until(lambda: standing(stage) == {AAPL: 5})


def standing(stage: Stage) -> dict[Pair, int]:
    """Return the pairs that anybody views."""
    return {pair: viewers for pair, viewers in stage.demand.viewers.items() if viewers}


async def test_two_clients_under_one_key_are_two_presences(server: RealtimeServer) -> None:
    def meta(ref: str, user: str) -> dict[str, Any]:
        return {"phx_ref": ref, **looking_at("AAPL", user=user)}

    async with listening(server.url) as stage:
        await server.until(lambda: server.members(LOBBY) == 1)
        server.inject(
            LOBBY, "presence_diff", {"joins": {"k": {"metas": [meta("1", "a"), meta("2", "b")]}}, "leaves": {}}
        )
        await stage.demand.until(lambda: stage.demand.viewers == {AAPL: 2})

        server.inject(LOBBY, "presence_diff", {"joins": {}, "leaves": {"k": {"metas": [meta("1", "a")]}}})

        await stage.demand.until(lambda: stage.demand.viewers == {AAPL: 1})


async def test_a_state_of_many_mebibytes_and_a_flood_of_diffs_are_taken_in(server: RealtimeServer) -> None:
    async with contextlib.AsyncExitStack() as stack:
        stage = await stack.enter_async_context(listening(server.url))
        channel = await stack.enter_async_context(viewing(server, looking_at("MSFT")))
        await stage.demand.until(lambda: stage.demand.viewers == {MSFT: 1})

        server.faults.fill(LOBBY, ((f"key-{n}", looking_at("AAPL", user=f"user-{n}")) for n in range(20_000)))
        server.faults.close(1012, role=US)
        await stage.demand.until(lambda: stage.demand.viewers.get(AAPL) == 20_000)
        for number in range(2_000):
            joins = {f"late-{number}": {"metas": [{"phx_ref": "r", **looking_at("MSFT", user=f"late-{number}")}]}}
            server.inject(LOBBY, "presence_diff", {"joins": joins, "leaves": {}})
        await channel.track(looking_at("MSFT", "AAPL"))

        await stage.demand.until(lambda: stage.demand.viewers == {AAPL: 20_001, MSFT: 2_001})
        assert stage.listener.status().drops == {}
        assert stage.listener.status().largest_state == 20_001
        assert len(stage.demand.changes) < 1_000


@pytest.mark.parametrize("frame", [b"\x00\xff", "{", "[]", "null", '{"topic": 1}', "\ud7ff" * 10, b"", ""])
async def test_frames_that_are_corrupt_are_passed_over(server: RealtimeServer, frame: str | bytes) -> None:
    async with listening(server.url) as stage, viewing(server, looking_at("AAPL")):
        await stage.demand.until(lambda: stage.demand.viewers == {AAPL: 1})

        server.faults.send(frame, role=US)

        await hears(stage, server)
        assert len(server.handshakes) == 3  # ours and the two viewers'
        assert sum(stage.listener.status().drops.values()) == 1


async def test_bytes_that_are_no_websocket_end_the_connection_and_not_the_listener(log: LogRecorder) -> None:
    dialled = []

    async def answer_nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        dialled.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"\x16\x03\x01 this is not HTTP \xff\xfe\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer_nonsense, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with listening(f"http://127.0.0.1:{port}") as stage:
            await log.written("realtime_unreachable")
            await stage.key.until(lambda: len(dialled) >= 3)
