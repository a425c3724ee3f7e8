"""One WebSocket: frames in and out, and the routing of messages to channels, one after the other."""

import asyncio
import contextlib
import socket
import struct
from dataclasses import dataclass

from aiohttp import WSMsgType, web

from devstack.realtime.access import Gate
from devstack.realtime.channels import Channel, ChannelCrashError, Readers
from devstack.realtime.faults import JoinFault, Switches
from devstack.realtime.joins import JoinConfig, choose_token, sub_topic
from devstack.realtime.limits import Limits, Meter
from devstack.realtime.rooms import Rooms
from devstack.realtime.tokens import Identity, RefusedError
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
    switches: Switches
    limits: Limits
    joins: Meter
    """Of all sockets together."""
    readers: Readers
    """Who may read which table, for ``postgres_changes``."""
    refusal_delay_seconds: float
    """How long a refused join is kept waiting, and with it everything else that its socket sent."""


class Socket:
    """A connected client. ``identity`` is the one that it came in with, ``transport`` what is under ``websocket``."""

    def __init__(
        self,
        websocket: web.WebSocketResponse,
        transport: asyncio.WriteTransport,
        serializer: Serializer,
        identity: Identity,
        surroundings: Surroundings,
    ) -> None:
        self.serializer = serializer
        self.role = identity.role
        self._websocket = websocket
        self._transport = transport
        self._token = identity.token
        self._surroundings = surroundings
        self._channels: dict[str, Channel] = {}
        self._outbox: asyncio.Queue[Frame | _Close] = asyncio.Queue()
        self._closing = asyncio.Event()
        self._flowing = asyncio.Event()
        self._flowing.set()

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
        self._flowing.set()
        self._transport.abort()

    def reset(self) -> None:
        """End the TCP connection with RST."""
        end = self._transport.get_extra_info("socket")
        with contextlib.suppress(OSError):  # gone already
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.cut_off()

    def freeze(self) -> None:
        """Neither read nor write any more, whatever comes, until the server stops."""
        self._flowing.clear()
        if isinstance(self._transport, asyncio.Transport):
            self._transport.pause_reading()

    def put(self, frame: Frame | None) -> None:
        """Send ``frame`` after those before it, without waiting. A client that takes nothing is cut off."""
        if self._closing.is_set() or frame is None or self._surroundings.switches.phoenix_silent:
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
            await self._flowing.wait()
            is_message = received.type in {WSMsgType.TEXT, WSMsgType.BINARY}
            if not is_message or self._surroundings.switches.phoenix_silent:
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
            await self._flowing.wait()
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
        fault = self._surroundings.switches.on_join(topic)
        await self._pause(fault.delay_seconds)
        opened = None if fault.unanswered else await self._open(message, topic, fault)
        if replaced is not None:
            self.send(replaced.closing())
        if opened is not None:
            opened.begin()

    async def _open(self, message: Message, topic: str, fault: JoinFault) -> Channel | None:
        config = JoinConfig.parse(message.payload)
        try:
            channel = self._admit(message, topic, config, fault)
        except RefusedError as refusal:
            await self._pause(self._surroundings.refusal_delay_seconds)
            self.send(message.reply("error", {"reason": refusal.reason}))
            return None
        self._channels[message.topic] = channel
        self.send(message.reply("ok", {"postgres_changes": config.postgres_changes}))
        return channel

    def _admit(self, message: Message, topic: str, config: JoinConfig, fault: JoinFault) -> Channel:
        if fault.refused_because is not None:
            raise RefusedError("Unauthorized", fault.refused_because)
        if not topic:
            raise RefusedError("TopicNameRequired", "You must provide a topic name")
        around = self._surroundings
        if not around.joins.allows():
            raise RefusedError("ClientJoinRateLimitReached", "Too many joins per second")
        if (
            around.limits.channels_per_connection is not None
            and len(self._channels) >= around.limits.channels_per_connection
        ):
            raise RefusedError("ChannelRateLimitReached", "Too many channels")
        token = choose_token(message.payload, self._token)
        access = around.gate.admit(token, topic, private=config.private, presence_enabled=config.presence_enabled)
        room = around.rooms.open(topic, private=config.private)
        return Channel(self, room, around, join=message, config=config, access=access)

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._closing.wait()
