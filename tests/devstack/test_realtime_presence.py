"""The development Realtime server through real sockets: who sees whom, and what is passed on."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from functools import partial
from typing import Any

import pytest
from realtime import AsyncRealtimeChannel

from devstack.realtime.access import Permissions
from devstack.realtime.server import RealtimeServer
from devstack.realtime.tokens import mint_token
from tests.devstack.realtime_clients import (
    LOBBY,
    PUBLISHABLE_KEY,
    SECRET,
    development_server,
    metas,
    official,
    private_channel,
    raw,
    user_token,
    without_topic,
)


@pytest.fixture
async def server() -> AsyncIterator[RealtimeServer]:
    async with development_server() as running:
        yield running


async def test_the_official_client_sees_who_was_there_and_who_comes(server: RealtimeServer) -> None:
    synced: asyncio.Queue[list[str]] = asyncio.Queue()

    def report(channel: AsyncRealtimeChannel) -> None:
        synced.put_nowait([meta["userId"] for metas in channel.presence_state().values() for meta in metas])  # type: ignore[typeddict-item]

    async with (
        official(server, mint_token(SECRET, "service_role")) as service,
        official(server, user_token()) as viewer,
    ):
        early, late = private_channel(viewer, LOBBY), private_channel(viewer, "symbol:AAPL")
        await early.subscribe()
        await early.track({"userId": "ada", "views": {"AAPL": ["quote"]}})
        await server.until(lambda: len(server.presences(LOBBY)) == 1)

        for topic in (LOBBY, "symbol:AAPL"):
            seen = private_channel(service, topic)
            seen.on_presence_sync(partial(report, seen))
            await seen.subscribe()
        await late.subscribe()
        await late.track({"userId": "ada", "symbol": "AAPL"})

        async with asyncio.timeout(10):
            assert [await synced.get() for _ in range(3)] == [["ada"], [], ["ada"]]
        assert server.connections == 2
        assert server.members(LOBBY) == 2


async def test_a_viewer_of_a_private_lobby_writes_and_sees_nothing(server: RealtimeServer) -> None:
    async with raw(server) as service, raw(server, PUBLISHABLE_KEY) as viewer:
        await service.join(LOBBY)
        assert (await service.next())["event"] == "presence_state"
        joined = await viewer.join(LOBBY)

        tracked = await viewer.track(LOBBY, {"views": {}})

        assert joined["payload"] == {"status": "ok", "response": {"postgres_changes": []}}
        assert tracked["payload"] == {"status": "ok", "response": {}}
        assert [meta["views"] for meta in metas(await service.next(), "joins")] == [{}]
        await viewer.heartbeat()


async def test_a_second_track_is_one_diff_and_the_same_again_is_none(server: RealtimeServer) -> None:
    async with raw(server) as client:
        await client.join(LOBBY, key="tab")
        await client.next()
        await client.track(LOBBY, {"n": 1})
        first = await client.next()

        await client.track(LOBBY, {"n": 2})

        (old,), second = metas(first, "joins"), await client.next()
        (new,) = metas(second, "joins")
        assert metas(second, "leaves") == [old]
        assert new == {"phx_ref": new["phx_ref"], "phx_ref_prev": old["phx_ref"], "n": 2}
        await client.track(LOBBY, {"n": 2})
        await client.heartbeat()


async def test_two_sockets_under_one_key_are_two_metas_and_a_lost_one_is_one_leave(server: RealtimeServer) -> None:
    async with raw(server) as service, raw(server, user_token()) as stays:
        await service.join(LOBBY)
        await service.next()
        await stays.join(LOBBY, key="ada")
        await stays.track(LOBBY, {"tab": 1})
        await service.next()
        async with raw(server, user_token()) as goes:
            await goes.join(LOBBY, key="ada")
            await goes.track(LOBBY, {"tab": 2})
            await service.next()
            assert [meta["tab"] for meta in server.presences(LOBBY)["ada"]] == [1, 2]

            goes.cut_off()

        assert [meta["tab"] for meta in metas(await service.next(), "leaves")] == [2]
        assert [meta["tab"] for meta in server.presences(LOBBY)["ada"]] == [1]


async def test_leaving_is_answered_then_closed_and_seen_by_the_others(server: RealtimeServer) -> None:
    async with raw(server) as service, raw(server, user_token()) as viewer:
        await service.join(LOBBY)
        await service.next()
        await viewer.join(LOBBY, "7")
        await viewer.track(LOBBY, {})
        await service.next()

        await viewer.push(LOBBY, "phx_leave", {}, "8")

        assert [(m["event"], m["ref"]) for m in [await viewer.next(), await viewer.next()]] == [
            ("phx_reply", "8"),
            ("phx_close", "7"),
        ]
        assert len(metas(await service.next(), "leaves")) == 1
        assert server.members(LOBBY) == 1


async def test_public_and_private_channels_of_one_name_do_not_meet(server: RealtimeServer) -> None:
    async with raw(server) as inside, raw(server) as outside:
        await inside.join(LOBBY, private=True)
        await inside.next()
        await outside.join(LOBBY, private=False, enabled=False)

        await outside.track(LOBBY, {"where": "public"})

        assert [(await outside.next())["event"] for _ in range(2)] == ["presence_diff", "presence_state"]
        assert server.presences(LOBBY, private=True) == {}
        await inside.heartbeat()


async def test_a_payload_with_a_ref_of_its_own_is_passed_on_as_it_came(server: RealtimeServer) -> None:
    async with raw(server) as client:
        await client.join(LOBBY)
        await client.next()

        await client.track(LOBBY, {"phx_ref": 5, "presence_ref": "mine"})

        assert metas(await client.next(), "joins") == [{"phx_ref": 5, "presence_ref": "mine"}]


async def test_an_injected_event_reaches_every_member_as_it_is(server: RealtimeServer) -> None:
    async with raw(server, user_token()) as viewer:
        await viewer.join(LOBBY)
        diff = {"joins": {"x": {"metas": [{"no": "ref"}]}}, "leaves": {}}

        reached = server.inject(LOBBY, "presence_diff", diff)

        assert reached == 1
        assert without_topic(await viewer.next()) == {"event": "presence_diff", "payload": diff, "ref": None}


async def test_a_broadcast_to_itself_comes_back_before_it_is_acknowledged(server: RealtimeServer) -> None:
    async with raw(server) as sender, raw(server) as other:
        config = {"private": True, "broadcast": {"self": True, "ack": True}}
        for client in (sender, other):
            await client.push("canary", "phx_join", {"config": config}, "1")
            await client.next()

        await sender.push("canary", "broadcast", {"type": "broadcast", "event": "beat", "payload": {"n": 1}}, "2")

        assert [(await sender.next())["event"] for _ in range(2)] == ["broadcast", "phx_reply"]
        assert (await other.next())["payload"]["payload"] == {"n": 1}


async def test_a_policy_of_ones_own_decides_who_may_track() -> None:
    def listeners_only(_role: str, _claims: Mapping[str, Any], topic: str, _private: bool) -> Permissions:
        return Permissions(presence_read=topic == LOBBY)

    async with (
        RealtimeServer(SECRET, {"sb_secret_other": "auditor"}, policy=listeners_only) as server,
        raw(server, "sb_secret_other") as client,
    ):
        await client.join(LOBBY)
        assert (await client.next())["event"] == "presence_state"

        tracked = await client.track(LOBBY, {})

        assert tracked["payload"] == {"status": "error", "response": {}}
        assert server.presences(LOBBY) == {}
