"""One WebSocket: frames in and out, and the routing of messages to channels, one after the other."""

import asyncio
import contextlib
from dataclasses import dataclass

from aiohttp import WSMsgType, web

from devstack.realtime.access import Gate
from devstack.realtime.channels import Channel, ChannelCrashError
from devstack.realtime.joins import JoinConfig, choose_token, sub_topic
from devstack.realtime.rooms import Rooms
from devstack.realtime.tokens import RefusedError
from devstack.realtime.wire import Frame, MalformedFrameError, Message, Serializer

NORMAL = 1000
CRASHED = 1011
RESTARTING = 1012
"""Close codes: the socket's end, its death by a message that is none, and a server that drains."""

_MAX_WAITING_FRAMES = 100_000
"""Beyond this a client is taken for one that does not read."""


@dataclass(frozen=True, slots=True)
class _Close:
    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all sockets of a server share."""

    rooms: Rooms
    gate: Gate
    refusal_delay_seconds: float
    """How long a refused join is kept waiting, and with it everything else that its socket sent."""


class Socket:
    """A connected client. ``token`` is the one that it came in with, ``transport`` what is under ``websocket``."""

    def __init__(
        self,
        websocket: web.WebSocketResponse,
        transport: asyncio.WriteTransport,
        serializer: Serializer,
        token: str,
        surroundings: Surroundings,
    ) -> None:
        self.serializer = serializer
        self._websocket = websocket
        self._transport = transport
        self._token = token
        self._surroundings = surroundings
        self._channels: dict[str, Channel] = {}
        self._outbox: asyncio.Queue[Frame | _Close] = asyncio.Queue()
        self._closing = asyncio.Event()

    async def serve(self) -> None:
        """Serve the client until either side closes; its channels are left when this returns."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._write())
            try:
                await self._read()
            finally:
                self.close(NORMAL)
                for channel in self._channels.values():
                    channel.leave()

    def close(self, code: int, reason: str = "") -> None:
        """Close after what was sent before; nothing is sent any more. Only the first call counts."""
        if not self._closing.is_set():
            self._closing.set()
            self._outbox.put_nowait(_Close(code, reason))

    def cut_off(self) -> None:
        """Drop the TCP connection, and whatever was still to be sent."""
        self.close(NORMAL)
        self._transport.abort()

    def put(self, frame: Frame) -> None:
        """Send ``frame`` after those before it, without waiting. A client that takes nothing is cut off."""
        if self._closing.is_set():
            return
        self._outbox.put_nowait(frame)
        if self._outbox.qsize() > _MAX_WAITING_FRAMES:
            self.cut_off()

    def send(self, message: Message) -> None:
        """Send ``message`` after those before it, without waiting."""
        self.put(self.serializer.encode(message))

    def forget(self, channel: Channel) -> None:
        """Route nothing to ``channel`` any more."""
        if self._channels.get(channel.topic) is channel:
            del self._channels[channel.topic]

    async def _read(self) -> None:
        async for received in self._websocket:
            if received.type not in {WSMsgType.TEXT, WSMsgType.BINARY}:
                continue
            try:
                message = self.serializer.decode(received.data)
            except MalformedFrameError as error:
                self.close(CRASHED, str(error))
            else:
                await self._route(message)
            if self._closing.is_set():
                return

    async def _write(self) -> None:
        while True:
            item = await self._outbox.get()
            try:
                if isinstance(item, _Close):
                    await self._websocket.close(code=item.code, message=item.reason.encode())
                    return
                await (self._websocket.send_str(item) if isinstance(item, str) else self._websocket.send_bytes(item))
            except ConnectionError:
                self.close(NORMAL)
                return

    async def _route(self, message: Message) -> None:
        channel = self._channels.get(message.topic)
        match message.event:
            case "heartbeat" if message.topic == "phoenix":
                self.send(message.reply("ok"))
            case "phx_join":
                await self._join(message, channel)
            case _ if channel is not None:
                try:
                    channel.handle(message)
                except ChannelCrashError:
                    channel.end("phx_error")
            case "phx_leave":
                self.send(message.reply("ok"))
            case _:
                self.send(message.reply("error", {"reason": "unmatched topic"}))

    async def _join(self, message: Message, replaced: Channel | None) -> None:
        """Answer a join. The channel that it replaces is gone before, but hears of its end only after the answer."""
        topic = sub_topic(message.topic)
        if topic is None:
            self.send(message.reply("error", {"reason": "unmatched topic"}))
            return
        if replaced is not None:
            replaced.leave()
            self.forget(replaced)
        opened = await self._open(message, topic)
        if replaced is not None:
            self.send(replaced.closing())
        if opened is not None:
            opened.sync_presence()

    async def _open(self, message: Message, topic: str) -> Channel | None:
        config = JoinConfig.parse(message.payload)
        try:
            channel = self._admit(message, topic, config)
        except RefusedError as refusal:
            await self._pause(self._surroundings.refusal_delay_seconds)
            self.send(message.reply("error", {"reason": refusal.reason}))
            return None
        self._channels[message.topic] = channel
        self.send(message.reply("ok", {"postgres_changes": config.postgres_changes}))
        return channel

    def _admit(self, message: Message, topic: str, config: JoinConfig) -> Channel:
        if not topic:
            raise RefusedError("TopicNameRequired", "You must provide a topic name")
        gate = self._surroundings.gate
        token = choose_token(message.payload, self._token)
        access = gate.admit(token, topic, private=config.private, presence_enabled=config.presence_enabled)
        room = self._surroundings.rooms.open(topic, private=config.private)
        return Channel(self, room, gate, join=message, config=config, access=access)

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._closing.wait()
