"""Protocol 2.0.0 of the development Realtime server, frame by frame."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType
from hypothesis import given
from hypothesis import strategies as st

from devstack.realtime.arrays import ArraySerializer
from devstack.realtime.server import RealtimeServer
from devstack.realtime.wire import Broadcast, MalformedFrameError, Message
from tests.devstack.realtime_clients import LOBBY, SERVICE_KEY, development_server, raw

TOPIC = f"realtime:{LOBBY}"
CONFIG = {"private": True, "broadcast": {"self": True, "ack": True}, "presence": {"key": "ada", "enabled": True}}


@pytest.fixture
async def server() -> AsyncIterator[RealtimeServer]:
    async with development_server() as running:
        yield running


class ArrayClient:
    """Version 2.0.0 without a library."""

    def __init__(self, websocket: ClientWebSocketResponse) -> None:
        self.websocket = websocket

    async def push(self, ref: str, event: str, payload: Any, topic: str = TOPIC) -> None:
        await self.websocket.send_json(["1", ref, topic, event, payload])

    async def next(self) -> Any:
        async with asyncio.timeout(10):
            received = await self.websocket.receive()
        if received.type is WSMsgType.BINARY:
            return received.data
        assert received.type is WSMsgType.TEXT, received
        return json.loads(received.data)

    async def join(self) -> None:
        await self.push("1", "phx_join", {"config": CONFIG})
        assert await self.next() == [
            "1",
            "1",
            TOPIC,
            "phx_reply",
            {"status": "ok", "response": {"postgres_changes": []}},
        ]
        assert await self.next() == ["1", None, TOPIC, "presence_state", {}]


@asynccontextmanager
async def arrays(server: RealtimeServer) -> AsyncIterator[ArrayClient]:
    url = f"{server.url}/realtime/v1/websocket"
    params = {"apikey": SERVICE_KEY, "vsn": "2.0.0"}
    async with ClientSession() as session, session.ws_connect(url, params=params) as websocket:
        yield ArrayClient(websocket)


def pushed(event: bytes, body: bytes, *, encoding: int, topic: bytes = TOPIC.encode(), ref: bytes = b"7") -> bytes:
    """Lay out a client's broadcast as the official serializer does."""
    header = struct.pack("7B", 3, 1, len(ref), len(topic), len(event), 0, encoding)
    return header + b"1" + ref + topic + event + body


def sent(event: bytes, body: bytes, *, encoding: int) -> bytes:
    """Lay out a broadcast as clients read it."""
    return struct.pack("5B", 4, len(TOPIC), len(event), 0, encoding) + TOPIC.encode() + event + body


async def test_joins_and_presence_are_arrays_with_the_join_ref(server: RealtimeServer) -> None:
    async with arrays(server) as client:
        await client.join()

        await client.push("2", "presence", {"type": "presence", "event": "track", "payload": {"userId": "ada"}})

        assert await client.next() == ["1", "2", TOPIC, "phx_reply", {"status": "ok", "response": {}}]
        _, _, _, event, diff = await client.next()
        assert event == "presence_diff"
        assert diff["joins"]["ada"]["metas"][0]["userId"] == "ada"


async def test_a_heartbeat_is_answered_on_the_topic_phoenix(server: RealtimeServer) -> None:
    async with arrays(server) as client:
        await client.websocket.send_json([None, "9", "phoenix", "heartbeat", {}])

        assert await client.next() == [None, "9", "phoenix", "phx_reply", {"status": "ok", "response": {}}]


@pytest.mark.parametrize(("encoding", "body"), [(1, b'{"price":1.5}'), (0, b"\x00\xff\x10")])
async def test_a_binary_broadcast_comes_back_as_one_and_is_acknowledged(
    server: RealtimeServer, encoding: int, body: bytes
) -> None:
    async with arrays(server) as client:
        await client.join()

        await client.websocket.send_bytes(pushed(b"tick \xc3\xa9", body, encoding=encoding))

        assert await client.next() == sent(b"tick \xc3\xa9", body, encoding=encoding)
        assert await client.next() == ["1", "7", TOPIC, "phx_reply", {"status": "ok", "response": {}}]


async def test_both_versions_hear_each_others_broadcasts(server: RealtimeServer) -> None:
    async with arrays(server) as new, raw(server) as old:
        await new.join()
        await old.join(LOBBY)
        await old.next()

        await new.websocket.send_bytes(pushed(b"tick", b"[1]", encoding=1))
        await new.websocket.send_bytes(pushed(b"bytes", b"\x00", encoding=0))
        heard = await old.next()
        await old.push(LOBBY, "broadcast", {"type": "broadcast", "event": "tock", "payload": {}})

        assert heard["payload"] == {"type": "broadcast", "event": "tick", "payload": [1]}
        await old.heartbeat()  # the bytes are no JSON: nothing came of them
        answers = [await new.next() for _ in range(5)]
        assert answers[-1] == [None, None, TOPIC, "broadcast", {"type": "broadcast", "event": "tock", "payload": {}}]


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\x03",
        b"\x04" + bytes(10),
        pushed(b"tick", b"{", encoding=1),
        pushed(b"tick", b"", encoding=1),
        pushed(b"\xff", b"{}", encoding=1),
        struct.pack("7B", 3, 255, 255, 255, 255, 255, 1) + b"short",
        "{}",
        "[1, 2, 3]",
        '[null, null, 1, "phx_join", {}]',
        "[" * 100_000,
    ],
)
async def test_a_frame_that_is_no_message_ends_its_socket_and_no_other(
    server: RealtimeServer, frame: bytes | str
) -> None:
    async with arrays(server) as bad, arrays(server) as good:
        await (bad.websocket.send_bytes(frame) if isinstance(frame, bytes) else bad.websocket.send_str(frame))

        assert (await bad.websocket.receive()).type is WSMsgType.CLOSE
        assert bad.websocket.close_code == 1011
        await good.join()


@given(st.binary(max_size=64))
def test_random_bytes_are_a_broadcast_or_malformed(frame: bytes) -> None:
    try:
        message = ArraySerializer().decode(frame)
    except MalformedFrameError:
        return
    assert isinstance(message.payload, Broadcast)


@given(st.text(max_size=20), st.binary(max_size=64))
def test_what_was_pushed_is_what_is_sent(event: str, body: bytes) -> None:
    message = ArraySerializer().decode(pushed(event.encode(), body, encoding=0))

    frame = ArraySerializer().encode(Message(message.topic, "broadcast", message.payload))

    assert frame == sent(event.encode(), body, encoding=0)
