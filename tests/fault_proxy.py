"""A TCP proxy between the daemon and PostgreSQL that stalls, or swallows a reply."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

_CHUNK = 65_536


class FaultProxy:
    """Passes bytes on until it is told otherwise.

    Args:
        port: Of the server on this machine.
    """

    def __init__(self, port: int) -> None:
        self.port = 0
        self.swallowed = asyncio.Event()
        """Set when a reply has been swallowed."""
        self._server_port = port
        self._passes = asyncio.Event()
        self._passes.set()
        self._swallow: tuple[bytes, bytes] | None = None

    def stall(self) -> None:
        """Keep every byte back, in both directions."""
        self._passes.clear()

    def resume(self) -> None:
        """Pass on what was kept back, and all that follows."""
        self._passes.set()

    def swallow_reply(self, *, to: bytes, after: bytes) -> None:
        """Let ``to`` reach the server on the connection that has sent ``after``; drop its reply and the connection."""
        self._swallow = (after, to)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        try:
            upstream_reader, upstream_writer = await asyncio.open_connection("127.0.0.1", self._server_port)
        except OSError:
            writer.close()
            return
        swallows = asyncio.Event()
        ways = [
            asyncio.ensure_future(self._replies(upstream_reader, writer, swallows)),
            asyncio.ensure_future(self._requests(reader, upstream_writer, swallows)),
        ]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        for end in (upstream_writer, writer):
            end.close()

    async def _replies(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, swallows: asyncio.Event
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(_CHUNK):
                if swallows.is_set():  # the server has answered: it is done
                    self.swallowed.set()
                    return
                await self._passes.wait()
                writer.write(data)
                await writer.drain()

    async def _requests(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, swallows: asyncio.Event
    ) -> None:
        sent = b""
        with suppress(OSError):
            while data := await reader.read(_CHUNK):
                await self._passes.wait()
                sent += data
                if self._swallow and self._swallow[0] in sent and self._swallow[1] in data:
                    self._swallow = None
                    swallows.set()
                writer.write(data)
                await writer.drain()


@asynccontextmanager
async def fault_proxy(port: int) -> AsyncIterator[FaultProxy]:
    """Run a proxy on a free port."""
    proxy = FaultProxy(port)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        proxy.resume()
        server.close()
