"""The library's client, used for one connection and stripped of everything it would do by itself.

It keeps the protocol: URL, refs, join payload, replies. What it loses is what kills or multiplies connections in a
long-running process: its listener, its heartbeat, its reconnects, and the rejoin timers of its channels. This module
alone touches private parts of ``realtime`` (pinned for that reason) and of its ``websockets``.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import socket
import ssl
from typing import NoReturn

from pydantic import ValidationError
from realtime import AsyncRealtimeChannel, AsyncRealtimeClient, NotConnectedError
from realtime._async.timer import AsyncTimer
from realtime.message import Message, ServerMessageAdapter
from realtime.types import PHOENIX_CHANNEL, ChannelEvents, RealtimeChannelOptions
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from daemon.contracts import RefreshdError
from daemon.presence.frames import Frame

MAX_FRAME_BYTES = 8 * 1024 * 1024
"""About 45,000 presences in one state."""

LIBRARY_GRACE_SECONDS = 5
"""How much longer the library waits for a reply than we do, so that its own timeout never decides."""

KNOWN_CLOSE_CODES = range(1000, 1016)


class ConnectionFailedError(RefreshdError):
    """There is no connection (any more).

    Args:
        cause: One of a bounded set of words, fit for a metric. Never holds a URL or a key.
    """

    def __init__(self, cause: str) -> None:
        super().__init__(f"Realtime connection failed: {cause}")
        self.cause = cause


class _ConnectHere(connect):
    """Connects to the URL it was given: a redirect would hand the key to whoever it names."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        """Take a redirect for the refusal that it is."""
        return exc


class _NeverTimer(AsyncTimer):
    """Stands where a channel has its rejoin timer: rejoining is not the channel's business."""

    def schedule_timeout(self, _delay: float | None = None) -> None:
        """Schedule nothing."""


class PresenceChannel(AsyncRealtimeChannel):
    """A channel that is joined once and then thrown away."""

    def __init__(self, client: AsyncRealtimeClient, topic: str, options: RealtimeChannelOptions) -> None:
        super().__init__(client, topic, options)
        self.rejoin_timer = _NeverTimer(self._rejoin_if_connected, lambda _: math.inf)

    def concerns(self, frame: Frame) -> bool:
        """Whether a ``phx_close`` or ``phx_error`` is meant for this join, not for an earlier one of the topic."""
        return frame.ref is None or self.join_push.ref is None or frame.ref == self.join_push.ref

    def retire(self) -> list[asyncio.Task[None]]:
        """Cancel what the library runs for this channel, and return it to be waited for."""
        pushes = [self.join_push, *self.messages_waiting_for_ack.values()]
        tasks = [push.timeout_task for push in pushes if push.timeout_task is not None]
        tasks.extend(self._background_tasks)
        for task in tasks:
            task.cancel()
        return tasks


class PresenceClient(AsyncRealtimeClient):
    """One connection: opened once, closed once, never reopened.

    Args:
        url: Base URL of the project (``https://ref.supabase.co``).
        key: The service key.
        reply_seconds: How long a reply may take.
        close_seconds: How long the closing handshake may take.
    """

    def __init__(self, url: str, key: str, *, reply_seconds: float, close_seconds: float) -> None:
        super().__init__(
            f"{url.rstrip('/')}/realtime/v1",
            key,
            auto_reconnect=False,
            timeout=math.ceil(reply_seconds) + LIBRARY_GRACE_SECONDS,
        )
        self._reply_seconds = reply_seconds
        self._close_seconds = close_seconds
        self._connection: ClientConnection | None = None
        """The library forgets its own reference when a send fails."""

    async def open(self) -> None:
        """Connect.

        Raises:
            ConnectionFailedError: With causes like ``http_401``, ``timeout``, ``tls``, ``dns``, ``unreachable``.
        """
        try:
            self._connection = self._ws_connection = await _ConnectHere(
                self.endpoint_url(),
                open_timeout=self._reply_seconds,
                close_timeout=self._close_seconds,
                ping_interval=None,  # heartbeats of our own are stricter
                max_size=MAX_FRAME_BYTES,
            )
        except (OSError, WebSocketException, EOFError, ValueError, ImportError) as error:
            raise ConnectionFailedError(_connect_cause(error)) from None  # the error's text may hold the key

    async def connect(self) -> NoReturn:
        """Refuse: the library calls this to reconnect."""
        raise NotConnectedError("connect")

    async def _on_connect_error(self, _error: ConnectionClosed) -> None:
        """Do nothing when a send fails: ``receive`` says so too, and channels did not fail by themselves."""

    async def receive(self) -> bytes:
        """Return the next frame.

        Raises:
            ConnectionFailedError: When the connection is gone, ``closed_<code>``.
        """
        if self._connection is None:
            raise ConnectionFailedError("not_open")
        try:
            return await self._connection.recv(decode=False)
        except ConnectionClosed as error:
            raise ConnectionFailedError(_close_cause(error)) from None

    async def beat(self) -> None:
        """Send a heartbeat. The library's carries no ref, so that no reply could be told apart."""
        beat = Message(topic=PHOENIX_CHANNEL, event=ChannelEvents.heartbeat, payload={}, ref=self._make_ref())
        await self.send(beat)

    def open_channel(self, topic: str, options: RealtimeChannelOptions) -> PresenceChannel:
        """Return a new channel of a topic, in place of any earlier one."""
        channel = PresenceChannel(self, f"realtime:{topic}", options)
        self.channels[channel.topic] = channel
        return channel

    async def leave(self, channel: PresenceChannel) -> None:
        """Tell the server that a channel is left; nobody waits for its answer."""
        farewell = Message(
            topic=channel.topic,
            event=ChannelEvents.leave,
            payload={},
            ref=self._make_ref(),
            join_ref=channel.join_push.ref,
        )
        with contextlib.suppress(NotConnectedError):
            await self.send(farewell)

    async def discard(self, channel: PresenceChannel) -> None:
        """Forget a channel and wait for the end of what the library runs for it."""
        self._remove_channel(channel)
        if tasks := channel.retire():
            await asyncio.wait(tasks)

    async def shut(self) -> None:
        """Close the connection within a bounded time, whatever the other side does."""
        self._ws_connection = None
        if self._connection is None:
            return
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._close_seconds):
                    await self._connection.close()
        finally:
            self._connection.transport.abort()
            await self._connection.wait_closed()


def handle_control(channel: PresenceChannel, raw: bytes) -> bool:
    """Let the library take in a reply, close, error or system frame; return whether it was well-formed."""
    try:
        message = ServerMessageAdapter.validate_json(raw)
    except ValidationError:
        return False
    channel._handle_message(message)  # noqa: SLF001 - the library offers no way in but its own listener
    return True


def _connect_cause(error: Exception) -> str:
    match error:
        case InvalidStatus():
            return f"http_{error.response.status_code}"
        case TimeoutError():
            return "timeout"
        case ssl.SSLError():
            return "tls"
        case socket.gaierror():
            return "dns"
        case OSError():
            return "unreachable"
        case _:
            return "handshake"


def _close_cause(error: ConnectionClosed) -> str:
    closing = error.rcvd or error.sent
    code = closing.code if closing else 1006
    return f"closed_{code}" if code in KNOWN_CLOSE_CODES else "closed_other"
