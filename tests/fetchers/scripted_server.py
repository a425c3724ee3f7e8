"""A server that says exactly the bytes it is told to, over a real socket: for faults that no proper server has."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

Script = Callable[[asyncio.StreamWriter, asyncio.Event], Coroutine[Any, Any, None]]
"""Answers one request. The event is set when the server stops."""


@dataclass
class ScriptedServer:
    """The server as a test sees it."""

    base_url: str
    requests: list[bytes] = field(default_factory=list)
    """The head of every request that came."""


def reply(body: bytes = b"[]", *headers: str, status: str = "200 OK", sized: bool = True) -> bytes:
    """Return a whole answer; without its length where ``sized`` is false."""
    length = (f"Content-Length: {len(body)}",) if sized else ("Connection: close",)
    head = "\r\n".join((f"HTTP/1.1 {status}", *headers, *length))
    return head.encode() + b"\r\n\r\n" + body


def saying(data: bytes) -> Script:
    """Say ``data``, and leave the connection open."""

    async def script(writer: asyncio.StreamWriter, _stopped: asyncio.Event) -> None:
        writer.write(data)
        await writer.drain()

    return script


def saying_and_closing(data: bytes) -> Script:
    """Say ``data``, and close the connection."""

    async def script(writer: asyncio.StreamWriter, _stopped: asyncio.Event) -> None:
        writer.write(data)
        await writer.drain()
        writer.close()

    return script


def saying_and_stalling(data: bytes) -> Script:
    """Say ``data``, then nothing until the server stops."""

    async def script(writer: asyncio.StreamWriter, stopped: asyncio.Event) -> None:
        writer.write(data)
        await writer.drain()
        await stopped.wait()

    return script


def saying_and_resetting(data: bytes) -> Script:
    """Say ``data``, and reset the connection."""

    async def script(writer: asyncio.StreamWriter, _stopped: asyncio.Event) -> None:
        writer.write(data)
        await writer.drain()
        reset(writer)

    return script


def dripping(data: bytes) -> Script:
    """Say ``data``, then a space every few milliseconds until the other side has enough."""

    async def script(writer: asyncio.StreamWriter, stopped: asyncio.Event) -> None:
        writer.write(data)
        while not stopped.is_set():
            writer.write(b" ")
            await writer.drain()
            with suppress(TimeoutError):
                await asyncio.wait_for(stopped.wait(), 0.005)

    return script


def reset(writer: asyncio.StreamWriter) -> None:
    """End the connection with an RST instead of a FIN."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@asynccontextmanager
async def serving(script: Script, *, listen_first: bool = True) -> AsyncIterator[ScriptedServer]:
    """Answer on a loopback port with ``script`` until the block ends.

    Args:
        script: Answers every request; where ``listen_first`` is false, every connection, without waiting for a request.
        listen_first: Whether requests are read.
    """
    stopped = asyncio.Event()
    handlers: set[asyncio.Task[None]] = set()
    served = ScriptedServer("")

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        handlers.add(task)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while not writer.is_closing():
                if listen_first:
                    served.requests.append(await reader.readuntil(b"\r\n\r\n"))
                await script(writer, stopped)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    served.base_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/stable"
    try:
        yield served
    finally:
        stopped.set()
        server.close()
        if handlers:
            await asyncio.wait(handlers)
