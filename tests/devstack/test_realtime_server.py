"""The development Realtime server through real sockets: handshake, joins, tokens, ends and restarts."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession

from devstack.realtime.server import RealtimeServer
from devstack.realtime.tokens import mint_token
from tests.devstack.realtime_clients import (
    LOBBY,
    PUBLISHABLE_KEY,
    SECRET,
    SERVICE_KEY,
    States,
    development_server,
    official,
    private_channel,
    raw,
    user_token,
    without_topic,
)

CLOSED = {"event": "phx_close", "payload": {}}


@pytest.fixture
async def server() -> AsyncIterator[RealtimeServer]:
    async with development_server() as running:
        yield running


async def test_a_duplicate_join_is_answered_before_the_old_one_is_closed(server: RealtimeServer) -> None:
    async with raw(server) as client:
        await client.join(LOBBY, "1")
        await client.next()
        await client.track(LOBBY, {})
        await client.next()

        reply = await client.join(LOBBY, "2")

        assert (reply["event"], reply["ref"]) == ("phx_reply", "2")
        assert without_topic(await client.next()) == {**CLOSED, "ref": "1"}
        assert without_topic(await client.next()) == {"event": "presence_state", "payload": {}, "ref": None}
        assert server.members(LOBBY) == 1


async def test_a_pushed_token_that_expired_closes_the_channel_after_saying_so(server: RealtimeServer) -> None:
    async with raw(server) as client:
        await client.join(LOBBY)
        await client.next()

        await client.push(LOBBY, "access_token", {"access_token": user_token(expires_in_seconds=-5)})

        system = await client.next()
        assert system["event"] == "system"
        assert {**system["payload"], "message": system["payload"]["message"][:17]} == {
            "channel": LOBBY,
            "extension": "system",
            "status": "error",
            "message": "Token has expired",
        }
        assert without_topic(await client.next()) == {**CLOSED, "ref": "1"}


async def test_a_token_that_expires_with_time_closes_the_official_clients_channel(server: RealtimeServer) -> None:
    states = States()
    async with official(server, user_token(expires_in_seconds=2)) as client:
        await private_channel(client, LOBBY).subscribe(states)

        told = [await states.next() for _ in range(3)]

        assert [state.split()[0] for state in told] == ["SUBSCRIBED", "CHANNEL_ERROR", "CLOSED"]
        assert "Token has expired" in told[1]


async def test_a_new_token_that_reads_less_closes_the_channel(server: RealtimeServer) -> None:
    async with raw(server, mint_token(SECRET, "service_role")) as client:
        await client.join(LOBBY)
        await client.next()

        await client.push(LOBBY, "access_token", {"access_token": user_token("anon")})

        assert (await client.next())["payload"]["message"].startswith("You no longer have permission to read")
        assert (await client.next())["event"] == "phx_close"


async def test_opaque_and_repeated_tokens_change_nothing(server: RealtimeServer) -> None:
    token = user_token()
    async with raw(server, token) as client:
        await client.join(LOBBY)

        for pushed in (token, SERVICE_KEY, None, 5):
            await client.push(LOBBY, "access_token", {"access_token": pushed})

        await client.heartbeat()


async def test_the_token_of_a_join_stands_before_that_of_the_socket(server: RealtimeServer) -> None:
    config = {"private": True, "presence": {"enabled": True}}
    async with raw(server, PUBLISHABLE_KEY) as client:
        token = mint_token(SECRET, "service_role")

        await client.push(LOBBY, "phx_join", {"config": config, "access_token": token}, "1")

        assert [(await client.next())["event"] for _ in range(2)] == ["phx_reply", "presence_state"]


async def test_a_refused_join_tells_the_official_client_why(server: RealtimeServer) -> None:
    states = States()
    async with official(server, user_token()) as client:
        channel = private_channel(client, "boardroom")

        await channel.subscribe(states)

        reason = "Unauthorized: You do not have permissions to read from this Channel topic: boardroom"
        assert await states.next() == f'CHANNEL_ERROR {{"reason": "{reason}"}}'
        channel.rejoin_timer.reset()


async def test_joins_on_one_socket_wait_for_each_other(server: RealtimeServer) -> None:
    async with raw(server, user_token()) as client:
        for topic, ref in (("boardroom", "1"), (LOBBY, "2"), ("cellar", "3"), ("symbol:MSFT", "4")):
            await client.push(topic, "phx_join", {"config": {"private": True}}, ref)

        replies = [await client.next() for _ in range(4)]

        assert [(reply["ref"], reply["payload"]["status"]) for reply in replies] == [
            ("1", "error"),
            ("2", "ok"),
            ("3", "error"),
            ("4", "ok"),
        ]


async def test_a_push_to_a_topic_without_a_join_is_unmatched(server: RealtimeServer) -> None:
    async with raw(server) as client:
        await client.push("nowhere", "presence", {"event": "track", "payload": {}}, "9")

        answer = await client.next()

        assert answer["payload"] == {"status": "error", "response": {"reason": "unmatched topic"}}
        assert answer["ref"] == "9"


@pytest.mark.filterwarnings("ignore:ConnectionClosed:DeprecationWarning")  # the client's own use of websockets
async def test_a_restart_on_the_same_port_brings_the_official_client_back(server: RealtimeServer) -> None:
    states, url = States(), server.url
    async with official(server, mint_token(SECRET, "service_role")) as client:
        await private_channel(client, LOBBY).subscribe(states)

        await server.stop()
        await server.start()

        assert server.url == url
        assert [(await states.next()).split()[0] for _ in range(3)] == ["SUBSCRIBED", "CHANNEL_ERROR", "SUBSCRIBED"]
        assert server.members(LOBBY) == 1


async def test_a_stop_drains_every_socket_with_1012(server: RealtimeServer) -> None:
    async with raw(server) as client:
        await client.join(LOBBY)

        async with asyncio.TaskGroup() as tasks:
            code = tasks.create_task(client.closed())
            await server.stop()

        assert code.result() == 1012
        assert (server.connections, server.members(LOBBY)) == (0, 0)


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ("no json", 1011),
        ("[]", 1011),
        ('{"topic":"phoenix","event":"heartbeat","payload":{}}', 1011),
        ('{"topic":1,"event":"phx_join","payload":{},"ref":"1"}', 1011),
        ('{"topic":"a","event":"b","payload":NaN,"ref":"1"}', 1011),
        ("[" * 100_000, 1011),
        ('{"topic":"a","event":"b","ref":"1","payload":' + "[" * 300 + "]" * 300 + "}", 1011),
        (b"\x03binary", 1011),
    ],
    ids=["text", "array", "no ref", "topic", "NaN", "deep", "deep payload", "binary"],
)
async def test_garbage_closes_the_socket_that_sent_it_and_no_other(
    server: RealtimeServer, frame: str | bytes, code: int
) -> None:
    async with raw(server) as bystander, raw(server) as culprit:
        await bystander.join(LOBBY)
        await bystander.next()

        await (culprit.websocket.send_bytes(frame) if isinstance(frame, bytes) else culprit.websocket.send_str(frame))

        assert await culprit.closed() == code
        await bystander.heartbeat()


async def test_a_frame_that_is_too_large_closes_its_socket() -> None:
    async with RealtimeServer(SECRET, [SERVICE_KEY], max_frame_bytes=1_000) as small, raw(small) as client:
        await client.push(LOBBY, "phx_join", {"padding": "x" * 2_000}, "1")

        code = await client.closed()

        assert code == 1009


async def test_a_push_that_crashes_its_channel_ends_in_phx_error(server: RealtimeServer) -> None:
    async with raw(server) as client:
        await client.join(LOBBY, "4")
        await client.next()

        await client.push(LOBBY, "presence", {"event": 5}, "5")

        assert without_topic(await client.next()) == {"event": "phx_error", "payload": {}, "ref": "4"}
        assert server.members(LOBBY) == 0


async def test_the_official_client_finds_its_postgres_bindings_echoed(server: RealtimeServer) -> None:
    states = States()
    async with official(server, user_token()) as client:
        channel = private_channel(client, LOBBY)
        for table in ("quotes", "profiles"):
            channel.on_postgres_changes("UPDATE", lambda _: None, table=table)  # type: ignore[arg-type]

        await channel.subscribe(states)

        assert await states.next() == "SUBSCRIBED"
        assert len({binding.id for binding in channel.postgres_changes_callbacks}) == 2


@pytest.mark.parametrize(
    ("path", "apikey", "vsn", "status"),
    [
        ("/realtime/v1/websocket", "", "1.0.0", 401),
        ("/realtime/v1/websocket", "sb_secret_unknown", "1.0.0", 401),
        ("/socket/websocket", mint_token("another secret, as long as the right one", "anon"), "1.0.0", 401),
        ("/socket/websocket", mint_token(SECRET, ""), "1.0.0", 401),
        ("/socket/websocket", mint_token(SECRET, "anon", expires_in_seconds=-1), "1.0.0", 403),
        ("/socket/websocket", SERVICE_KEY, "9.9.9", 403),
        ("/realtime/v1/nothing", SERVICE_KEY, "1.0.0", 404),
    ],
    ids=["none", "unknown", "signature", "no role", "expired", "vsn", "path"],
)
async def test_a_handshake_is_refused_with_a_status_and_an_error(
    server: RealtimeServer, path: str, apikey: str, vsn: str, status: int
) -> None:
    async with ClientSession() as session:
        params = {"apikey": apikey, "vsn": vsn}

        async with session.get(server.url + path, params=params) as response:
            body = await response.json()

        assert response.status == status
        assert body["error"]


def test_a_secret_too_short_to_sign_with_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 32 bytes"):
        RealtimeServer("short")


async def test_a_client_that_does_not_keep_up_is_cut_off(server: RealtimeServer) -> None:
    async with raw(server) as client:
        await client.join(LOBBY)

        for _ in range(100_001):
            server.inject(LOBBY, "flood", {})

        await server.until(lambda: server.connections == 0)
        assert await client.closed() == 1006
