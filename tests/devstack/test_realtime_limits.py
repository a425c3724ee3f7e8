"""The limits of a plan, as the development Realtime server enforces them."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

import pytest
from aiohttp import WSServerHandshakeError

from devstack.realtime.limits import PRO, Limits
from devstack.realtime.server import RealtimeServer
from tests.devstack.realtime_clients import LOBBY, SECRET, SERVICE_KEY, RawClient, raw


def limited(limits: Limits) -> RealtimeServer:
    return RealtimeServer(SECRET, [SERVICE_KEY], limits=limits)


async def is_shut_down(client: RawClient, reason: str) -> None:
    """Assert that the next messages are those with which a limit ends a channel."""
    system, closed = await client.next(), await client.next()
    assert (system["event"], system["payload"]["status"]) == ("system", "error")
    assert system["payload"]["message"] == reason
    assert closed["event"] == "phx_close"


async def test_the_sixth_track_in_thirty_seconds_closes_that_clients_channel() -> None:
    async with limited(PRO) as server, raw(server) as client, raw(server) as other:
        for each in (client, other):
            await each.join(LOBBY)
            await each.next()
        for number in range(5):
            await client.track(LOBBY, {"number": number})
            for each in (client, other):
                assert (await each.next())["event"] == "presence_diff"

        await client.push(LOBBY, "presence", {"type": "presence", "event": "track", "payload": {}}, "6")

        await is_shut_down(client, "Client presence rate limit exceeded")
        assert server.members(LOBBY) == 1


async def test_every_copy_of_a_presence_message_counts() -> None:
    async with limited(Limits(presence_messages_per_second=5)) as server, AsyncExitStack() as stack:
        crowd = [await stack.enter_async_context(raw(server)) for _ in range(3)]
        for client in crowd:
            await client.join(LOBBY)
            await client.next()

        await crowd[0].track(LOBBY, {"number": 1})
        await crowd[0].next()
        await crowd[0].track(LOBBY, {"number": 2})
        await crowd[0].next()

        await is_shut_down(crowd[0], "Too many presence messages per second")


async def test_a_connection_too_many_is_refused_with_429() -> None:
    async with limited(Limits(connections=1)) as server, raw(server):
        with pytest.raises(WSServerHandshakeError) as refused:
            async with raw(server):
                """Never reached."""

    assert refused.value.status == 429


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (Limits(channels_per_connection=2), "ChannelRateLimitReached: Too many channels"),
        (Limits(joins_per_second=2), "ClientJoinRateLimitReached: Too many joins per second"),
    ],
)
async def test_a_join_too_many_is_refused_and_those_before_it_stay(limits: Limits, reason: str) -> None:
    async with limited(limits) as server, raw(server) as client:
        answers: list[dict[str, Any]] = []
        for number in range(3):
            answers.append(await client.join(f"viewers:{number}", str(number)))
            if answers[-1]["payload"]["status"] == "ok":
                await client.next()

    assert [answer["payload"]["status"] for answer in answers] == ["ok", "ok", "error"]
    assert answers[-1]["payload"]["response"] == {"reason": reason}
