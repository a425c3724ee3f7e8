"""Clients of the development Realtime server: the official one, and raw frames where that hides them."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType
from realtime import AsyncRealtimeChannel, AsyncRealtimeClient, RealtimeSubscribeStates

from devstack.realtime.server import RealtimeServer
from devstack.realtime.tokens import mint_token

SECRET = "a development secret of more than 32 bytes"
SERVICE_KEY = "sb_secret_development"
PUBLISHABLE_KEY = "sb_publishable_development"
LOBBY = "viewers:0"


def development_server() -> RealtimeServer:
    """Return a server that is not started yet."""
    return RealtimeServer(SECRET, [SERVICE_KEY, PUBLISHABLE_KEY], refusal_delay_seconds=0.01)


class RawClient:
    """Version 1.0.0 without a library: what is sent and what comes is seen as it is."""

    def __init__(self, websocket: ClientWebSocketResponse) -> None:
        self.websocket = websocket

    async def push(self, topic: str, event: str, payload: Any, ref: str | None = None) -> None:
        """Send one message."""
        message = {"topic": f"realtime:{topic}", "event": event, "payload": payload, "ref": ref}
        await self.websocket.send_str(json.dumps(message))

    async def track(self, topic: str, payload: Any) -> dict[str, Any]:
        """Track and return what comes next, which is the reply."""
        await self.push(topic, "presence", {"type": "presence", "event": "track", "payload": payload}, "track")
        return await self.next()

    async def join(self, topic: str, ref: str = "1", *, private: bool = True, **presence: Any) -> dict[str, Any]:
        """Join and return what comes next, which is the reply."""
        config = {"private": private, "presence": {"enabled": True, **presence}}
        await self.push(topic, "phx_join", {"config": config}, ref)
        return await self.next()

    async def heartbeat(self) -> None:
        """Show that nothing else was on its way."""
        await self.websocket.send_str('{"topic":"phoenix","event":"heartbeat","payload":{},"ref":"beat"}')
        reply = {"status": "ok", "response": {}}
        assert await self.next() == {"topic": "phoenix", "event": "phx_reply", "payload": reply, "ref": "beat"}

    async def next(self) -> dict[str, Any]:
        """Return the next message."""
        async with asyncio.timeout(10):
            received = await self.websocket.receive()
        assert received.type is WSMsgType.TEXT, received
        message: dict[str, Any] = json.loads(received.data)
        return message

    def cut_off(self) -> None:
        """Lose the TCP connection without a word."""
        connection = self.websocket._response.connection
        assert connection is not None
        assert connection.transport is not None
        connection.transport.abort()

    async def closed(self) -> int | None:
        """Wait for the end of the socket and return its close code."""
        async with asyncio.timeout(10):
            while not self.websocket.closed:
                await self.websocket.receive()
        return self.websocket.close_code


@asynccontextmanager
async def raw(server: RealtimeServer, key: str = SERVICE_KEY) -> AsyncIterator[RawClient]:
    """Connect without a library."""
    params = {"apikey": key, "vsn": "1.0.0"}
    async with (
        ClientSession() as session,
        session.ws_connect(f"{server.url}/realtime/v1/websocket", params=params) as websocket,
    ):
        yield RawClient(websocket)


@asynccontextmanager
async def official(server: RealtimeServer, key: str) -> AsyncIterator[AsyncRealtimeClient]:
    """Make an official client, not yet connected."""
    client = AsyncRealtimeClient(f"{server.url}/realtime/v1", key, initial_backoff=0.05)
    try:
        yield client
    finally:
        await client.close()


class States:
    """The states that the official client tells the callback of a channel."""

    def __init__(self) -> None:
        self.told: asyncio.Queue[tuple[RealtimeSubscribeStates, Exception | None]] = asyncio.Queue()

    def __call__(self, state: RealtimeSubscribeStates, error: Exception | None) -> None:
        """Take one state."""
        self.told.put_nowait((state, error))

    async def next(self) -> str:
        """Return the next state, followed by its error where it has one."""
        async with asyncio.timeout(10):
            state, error = await self.told.get()
        return f"{state.value} {error or ''}".strip()


def private_channel(client: AsyncRealtimeClient, topic: str) -> AsyncRealtimeChannel:
    """Return a private channel, not yet joined."""
    return client.channel(topic, {"config": {"private": True, "broadcast": None, "presence": None}})


def user_token(role: str = "authenticated", *, expires_in_seconds: int = 3600) -> str:
    """Return the token of a user."""
    return mint_token(SECRET, role, sub="ada", expires_in_seconds=expires_in_seconds)


def metas(diff: dict[str, Any], half: str) -> list[Any]:
    """Return what joins or leaves in a presence diff."""
    assert diff["event"] == "presence_diff"
    return [meta for entry in diff["payload"][half].values() for meta in entry["metas"]]


def without_topic(message: dict[str, Any]) -> dict[str, Any]:
    """Return what a message says besides its topic."""
    return {name: value for name, value in message.items() if name != "topic"}
