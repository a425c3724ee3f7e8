"""How an answer reaches the client: as Express sends it, or in one of the ways in which answers do not arrive."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import socket
import struct
import zlib

from aiohttp import web

from devstack.upstream.faults import Fault, FaultKind
from devstack.upstream.meter import Meter
from devstack.upstream.wire import JSON_TYPE, Reply, etag, is_fresh

PIECE_BYTES = 2**16
NO_ANSWER = 0
FAULTY = frozenset(
    {
        FaultKind.HANG,
        FaultKind.RESET,
        FaultKind.DRIP,
        FaultKind.SHORT_BODY,
        FaultKind.HUGE_BODY,
        FaultKind.GZIP_BOMB,
    }
)
"""The faults that concern the way of an answer, not its content."""


class Delivery:
    """Sends the answer to one request.

    Args:
        request: What is answered.
        meter: Counts the bytes of bodies.
        stopping: Ends what would go on for ever.
    """

    def __init__(self, request: web.BaseRequest, meter: Meter, stopping: asyncio.Event) -> None:
        self._request = request
        self._meter = meter
        self._stopping = stopping

    async def pause(self, seconds: float) -> None:
        """Wait, but not past the end of the server."""
        if seconds > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._stopping.wait()

    def whole(self, reply: Reply, *, honour_etag: bool) -> web.Response:
        """Return a complete answer: compressed where the client accepts it, 304 where it has it already."""
        headers = {"X-Powered-By": "Express", "Vary": "Accept-Encoding", "ETag": etag(reply.body), **reply.headers}
        if reply.status == web.HTTPOk.status_code and honour_etag and self._is_fresh(headers["ETag"]):
            return web.Response(status=304, headers=headers)
        headers["Content-Type"] = reply.content_type
        packed = bool(reply.body) and "gzip" in self._request.headers.get("Accept-Encoding", "")
        body = gzip.compress(reply.body, compresslevel=6, mtime=0) if packed else reply.body
        response = web.Response(status=reply.status, body=body, headers=headers)
        if packed:
            response.headers["Content-Encoding"] = "gzip"
            response.enable_chunked_encoding()
        self._meter.bytes_sent += len(body)
        return response

    async def faulty(self, fault: Fault, reply: Reply) -> web.StreamResponse:
        """Do to the answer what one of ``FAULTY`` does."""
        match fault.kind:
            case FaultKind.HANG:
                await self._stopping.wait()
                return self._reset()
            case FaultKind.RESET:
                return self._reset()
            case FaultKind.DRIP:
                return await self._drip(reply.body, fault.interval_seconds)
            case FaultKind.SHORT_BODY:
                return await self._cut(reply.body)
            case FaultKind.GZIP_BOMB:
                return await self._flood(fault.sized(), zlib.compressobj(wbits=zlib.MAX_WBITS | 16))
            case _:
                return await self._flood(fault.sized(), None)

    def _is_fresh(self, tag: str) -> bool:
        known = self._request.headers.get("If-None-Match")
        insists = "no-cache" in self._request.headers.get("Cache-Control", "")
        return known is not None and not insists and is_fresh(known, tag)

    def _reset(self) -> web.Response:
        """Close the connection so that the other side sees a reset, not an end."""
        transport = self._request.transport
        if transport is not None:
            raw = transport.get_extra_info("socket")
            with contextlib.suppress(OSError):
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            transport.abort()
        return web.Response()

    async def _begin(self, **headers: str) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": JSON_TYPE, **headers})
        response.force_close()
        await response.prepare(self._request)
        return response

    async def _write(self, response: web.StreamResponse, piece: bytes) -> bool:
        """Write a piece and return whether the next one makes sense."""
        try:
            await response.write(piece)
        except ConnectionError:
            return False
        self._meter.bytes_sent += len(piece)
        return not self._stopping.is_set()

    async def _drip(self, body: bytes, interval_seconds: float) -> web.StreamResponse:
        response = await self._begin()
        for index in range(len(body)):
            if not await self._write(response, body[index : index + 1]):
                self._reset()
                break
            await self.pause(interval_seconds)
        return response

    async def _cut(self, body: bytes) -> web.StreamResponse:
        response = await self._begin(**{"Content-Length": str(len(body))})
        await self._write(response, body[: len(body) // 2])
        if self._request.transport is not None:
            self._request.transport.close()
        return response

    async def _flood(self, size: int, packer: zlib._Compress | None) -> web.StreamResponse:
        """Send an array of nothing but spaces, ``size`` bytes long once it is unpacked."""
        response = await self._begin(**({} if packer is None else {"Content-Encoding": "gzip"}))
        blanks = max(size - 2, 0)
        pieces = [PIECE_BYTES] * (blanks // PIECE_BYTES) + [blanks % PIECE_BYTES]
        for index, length in enumerate(pieces):
            piece = b"[" * (index == 0) + b" " * length
            packed = piece if packer is None else packer.compress(piece)
            if packed and not await self._write(response, packed):
                self._reset()
                return response
            await asyncio.sleep(0)
        await self._write(response, b"]" if packer is None else packer.compress(b"]") + packer.flush())
        return response
