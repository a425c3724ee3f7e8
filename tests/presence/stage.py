"""What the tests of the presence room play on: a clock, a catalogue, recorders, viewers, and scripted servers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
import structlog
from realtime import AsyncRealtimeChannel, AsyncRealtimeClient
from structlog.typing import WrappedLogger
from websockets.asyncio.server import ServerConnection, serve

from daemon.contracts import DemandChange, HeldShards, KnownTopic, KnownViewer, Pair, StoreUnavailableError
from daemon.presence.channel import Patience
from daemon.presence.listener import PresenceLimits, PresenceListener
from daemon.presence.shards import Layout
from devstack.realtime.server import RealtimeServer
from devstack.realtime.tokens import mint_token

SECRET = "a development secret of more than 32 bytes"
LOBBY = "viewers:0"
OTHER_LOBBY = "viewers:1"
AAPL = Pair("AAPL", "quote")
MSFT = Pair("MSFT", "quote")
DATA_TYPES: tuple[str, ...] = ("quote", "profile")

HASTY = Patience(
    heartbeat_seconds=0.05,
    silence_seconds=0.5,
    join_seconds=0.5,
    state_seconds=0.5,
    close_seconds=0.5,
    canary_seconds=0,
    retry_low_seconds=0.01,
    retry_high_seconds=0.05,
)
"""For servers that fail on purpose."""

CALM = Patience(canary_seconds=0, retry_low_seconds=0.01, retry_high_seconds=0.05)
"""For servers that work."""


class AnySymbol:
    """A catalogue that knows every symbol and two data types."""

    def __init__(self) -> None:
        self.data_types = DATA_TYPES

    def resolve(self, symbol: str, data_type: str) -> Pair | str:
        """Return the pair, or why there is none."""
        return Pair(symbol, data_type) if data_type in self.data_types else "unknown_data_type"


class RealClock:
    """The clock of this machine, put ahead at will."""

    def __init__(self) -> None:
        self.ahead_seconds = 0.0

    def now(self) -> datetime:
        """Return the time of day."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return time.monotonic() + self.ahead_seconds


class Recorder:
    """Something that happens while a test waits for it."""

    def __init__(self) -> None:
        self._next = asyncio.Event()

    def notify(self) -> None:
        """Have every waiting condition looked at again."""
        self._next.set()
        self._next = asyncio.Event()

    async def until(self, condition: Callable[[], bool], seconds: float = 10.0) -> None:
        """Wait until ``condition``, which looks at what was recorded, holds."""
        async with asyncio.timeout(seconds):
            while not condition():
                await self._next.wait()


class OnlyListener(Recorder):
    """A store of shards for a listener that shares with nobody; what it holds can be set."""

    def __init__(self, held: Collection[str] | None = None) -> None:
        super().__init__()
        self.topics: list[KnownTopic] = []
        self.viewers: dict[str, list[KnownViewer]] = {}
        self.held = None if held is None else frozenset(held)
        """What it gets; everything where None."""
        self.surplus: frozenset[str] = frozenset()
        self.released: list[str] = []
        self.viewed: list[str] = []
        self.retired = False
        self.is_down = False

    async def hold(self, shards: Sequence[str], status: Mapping[str, Any]) -> HeldShards:
        """Give what is to be held."""
        self._answer()
        orjson.dumps(status)
        return HeldShards(frozenset(shards) if self.held is None else self.held, self.surplus, None)

    async def release(self, shards: Sequence[str]) -> None:
        """Remember what is released."""
        self._answer()
        self.released.extend(shards)
        self.notify()

    async def retire(self) -> None:
        """Remember the farewell."""
        self._answer()
        self.retired = True

    async def read_topics(self, _within_seconds: float) -> Sequence[KnownTopic]:
        """Return the topics."""
        self._answer()
        return self.topics

    async def note_viewed(self, topics: Sequence[str]) -> None:
        """Remember what is viewed."""
        self._answer()
        self.viewed = list(topics)
        self.notify()

    async def read_viewers(self, source: str) -> Sequence[KnownViewer]:
        """Return who is remembered."""
        self._answer()
        return self.viewers.get(source, [])

    def _answer(self) -> None:
        if self.is_down:
            raise StoreUnavailableError("PostgreSQL is unavailable: down for the test")


class DemandRecorder(Recorder):
    """A sink that remembers."""

    def __init__(self) -> None:
        super().__init__()
        self.changes: list[DemandChange] = []
        self.viewers: dict[Pair, int] = {}

    def __call__(self, change: DemandChange) -> None:
        """Take a change."""
        self.changes.append(change)
        self.viewers.update(change.viewers)
        self.notify()


class LogRecorder(Recorder):
    """The last processor of structlog: keeps every line, and prints none."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[dict[str, Any]] = []

    def __call__(self, _logger: WrappedLogger, level: str, line: MutableMapping[str, Any]) -> str:
        """Take a line."""
        self.lines.append({"level": level, **line})
        self.notify()
        raise structlog.DropEvent

    def of(self, event: str) -> list[dict[str, Any]]:
        """Return the lines of one event."""
        return [line for line in self.lines if line["event"] == event]

    async def written(self, event: str, times: int = 1) -> None:
        """Wait until an event has been written so many times."""
        await self.until(lambda: len(self.of(event)) >= times)


class Flag(Recorder):
    """The flag; it is asked at least once between two attempts to connect."""

    def __init__(self, *, on: bool) -> None:
        super().__init__()
        self.on = on

    def __call__(self) -> bool:
        """Return whether the flag is on."""
        self.notify()
        return self.on


class Key(Recorder):
    """The service key; it is read before every attempt to connect."""

    def __init__(self, key: str) -> None:
        super().__init__()
        self.key = key

    def __call__(self) -> str:
        """Return the key."""
        self.notify()
        return self.key


@dataclass
class Stage:
    """A listener that runs, and what comes of it."""

    listener: PresenceListener
    demand: DemandRecorder
    flag: Flag
    clock: RealClock
    key: Key
    shards: OnlyListener
    catalogue: AnySymbol

    def sessions_ended(self, cause: str) -> int:
        """Return how many sessions have ended for this cause."""
        return sum(each.sessions_ended.get(cause, 0) for each in self.listener.status().connections)

    def turn(self, *, on: bool) -> None:
        """Turn the flag on or off, and say so."""
        self.flag.on = on
        self.listener.wake()


def new_server() -> RealtimeServer:
    """Return a development server that is not started yet."""
    return RealtimeServer(jwt_secret=SECRET, service_keys=["sb_secret_development"])


@contextlib.asynccontextmanager
async def listening(url: str, *, on: bool = True, **overrides: Any) -> AsyncIterator[Stage]:
    """Run a listener until the end of the block."""
    demand, stop, flag = DemandRecorder(), asyncio.Event(), Flag(on=on)
    clock, catalogue = RealClock(), AnySymbol()
    choices: dict[str, Any] = {
        "key": mint_token(SECRET, "service_role", expires_in_seconds=7 * 86400),
        "patience": CALM,
        "lobbies": 1,
        "groups": 0,
        "shards": OnlyListener(),
        **overrides,
    }
    bounds = {name: choices.pop(name) for name in PresenceLimits.__dataclass_fields__ if name in choices}
    key = Key(choices.pop("key"))
    shards: OnlyListener = choices["shards"]
    listener = PresenceListener(
        url=url,
        key=key,
        layout=Layout(lobbies=choices.pop("lobbies"), groups=choices.pop("groups")),
        limits=PresenceLimits(
            **{"leave_grace_seconds": 0.05, "coalesce_seconds": 0.01, "connections": 1000, "joins_per_second": 1000.0}
            | bounds
        ),
        catalogue=catalogue,
        sink=demand,
        clock=clock,
        rng=random.Random(1),
        enabled=flag,
        **choices,
    )
    async with asyncio.TaskGroup() as group:
        group.create_task(listener.run(stop))
        try:
            yield Stage(listener, demand, flag, clock, key, shards, catalogue)
        finally:
            stop.set()


@contextlib.asynccontextmanager
async def viewing(
    server: RealtimeServer, payload: dict[str, Any], *, topic: str = LOBBY, role: str = "anon"
) -> AsyncIterator[AsyncRealtimeChannel]:
    """Be a browser that shows something, with the official client and a visitor's token."""
    client = AsyncRealtimeClient(f"{server.url}/realtime/v1", mint_token(SECRET, role), auto_reconnect=False)
    channel = client.channel(topic, {"config": {"private": True, "broadcast": None, "presence": None}})
    try:
        await channel.subscribe()
        await channel.track(payload)
        yield channel
    finally:
        await client.close()


def looking_at(*symbols: str, user: str | None = "ada") -> dict[str, Any]:
    """Return what a lobby page tracks."""
    views = {symbol: ["quote"] for symbol in symbols}
    return {"userId": user, "views": views} if user else {"views": views}


def state_of(**metas: dict[str, Any]) -> dict[str, Any]:
    """Return a presence state with one meta per key, with the key as its ref."""
    return {key: {"metas": [{"phx_ref": key, **meta}]} for key, meta in metas.items()}


# --- a server that follows a script ---


class Peer:
    """The server's end of a connection."""

    def __init__(self, connection: ServerConnection) -> None:
        self._connection = connection

    async def next(self, event: str) -> dict[str, Any]:
        """Return the next message of this event, and drop those before it."""
        return await self.next_of(event)

    async def next_of(self, *events: str) -> dict[str, Any]:
        """Return the next message of one of these events, and drop those before it."""
        while True:
            message: dict[str, Any] = json.loads(await self._connection.recv())
            if message["event"] in events:
                return message

    async def send(self, topic: str, event: str, payload: Any, ref: str | None = None) -> None:
        """Send one message."""
        await self.send_raw(json.dumps({"topic": topic, "event": event, "payload": payload, "ref": ref}))

    async def send_raw(self, frame: str | bytes) -> None:
        """Send one frame, whatever it holds."""
        await self._connection.send(frame)

    async def reply(self, message: dict[str, Any], status: str = "ok", response: Any = None) -> None:
        """Answer a push."""
        payload = {"status": status, "response": response or {}}
        await self.send(message["topic"], "phx_reply", payload, message["ref"])

    async def accept(self, state: dict[str, Any] | None = None) -> dict[str, Any]:
        """Answer the next join as a good server does, and return it."""
        join = await self.next("phx_join")
        await self.reply(join, response={"postgres_changes": []})
        if state is not None:
            await self.send(join["topic"], "presence_state", state)
        return join

    async def answer_heartbeats(self) -> None:
        """Answer nothing else, for ever."""
        while True:
            await self.reply(await self.next("heartbeat"))

    async def close(self, code: int = 1000) -> None:
        """Close the connection."""
        await self._connection.close(code)

    def stop_reading(self) -> None:
        """Be deaf to everything, a close included."""
        self._connection.transport.pause_reading()

    async def closed(self) -> None:
        """Wait until the connection is closed."""
        await self._connection.wait_closed()


@contextlib.asynccontextmanager
async def following(script: Callable[[Peer], Awaitable[None]]) -> AsyncIterator[str]:
    """Serve every connection by a script, and give the server's URL."""

    async def play(connection: ServerConnection) -> None:
        await script(Peer(connection))
        await connection.wait_closed()

    async with serve(play, "127.0.0.1", 0, close_timeout=0.2, max_size=None) as server:
        yield f"http://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"


@contextlib.asynccontextmanager
async def saying_nothing(accepted: asyncio.Event) -> AsyncIterator[str]:
    """Accept TCP connections and answer nothing, not even the handshake; give the server's URL."""

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.set()
        with contextlib.suppress(ConnectionError):
            await reader.read(-1)
        writer.close()

    async with await asyncio.start_server(listen, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@contextlib.asynccontextmanager
async def redirecting(target: str) -> AsyncIterator[str]:
    """Redirect every request to ``target``; give the server's URL."""
    answer = f"HTTP/1.1 302 Found\r\nLocation: {target.replace('http', 'ws')}/\r\nContent-Length: 0\r\n\r\n"

    async def redirect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer.encode())
        writer.close()

    async with await asyncio.start_server(redirect, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
