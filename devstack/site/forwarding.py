"""What the site passes on: requests for functions to the daemon, and WebSockets to the Realtime server."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TypeAlias

from aiohttp import ClientError, ClientSession, ClientTimeout, ClientWebSocketResponse, WSMsgType, web

MAX_BODY_BYTES = 8_192
SECONDS = 10.0
CLOSE_SECONDS = 1.0

_SENT = ("Authorization", "Content-Type", "X-Client-Info")
_RETURNED = ("Content-Type", "Retry-After", "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset")

_WebSocket: TypeAlias = web.WebSocketResponse | ClientWebSocketResponse


class FunctionsForwarder:
    """Stands where a project has its edge functions.

    Args:
        client: Asks the daemon.
        daemon_url: Where the daemon answers HTTP.
    """

    def __init__(self, client: ClientSession, daemon_url: str) -> None:
        self._client = client
        self._daemon_url = daemon_url

    async def answer(self, request: web.Request) -> web.Response:
        """Answer as the daemon does. The page is on our origin, so the daemon has none to judge."""
        url = f"{self._daemon_url}/functions/v1/{request.match_info['name']}"
        headers = {name: request.headers[name] for name in _SENT if name in request.headers}
        body = await request.read()
        try:
            async with self._client.post(
                url, data=body, headers=headers, timeout=ClientTimeout(total=SECONDS), allow_redirects=False
            ) as answer:
                returned = {name: answer.headers[name] for name in _RETURNED if name in answer.headers}
                return web.Response(status=answer.status, body=await answer.read(), headers=returned)
        except (ClientError, OSError, TimeoutError):
            error = {"code": "unavailable", "message": "the daemon cannot be reached"}
            return web.json_response({"error": error}, status=503, headers={"Retry-After": "5"})


class RealtimeForwarder:
    """Passes frames on in both directions, so that a page needs one origin only.

    Args:
        client: Dials the Realtime server.
        realtime_url: What a Realtime client connects to, without ``/websocket``.
    """

    def __init__(self, client: ClientSession, realtime_url: str) -> None:
        self._client = client
        self._url = f"{realtime_url}/websocket"
        self._open: set[web.WebSocketResponse] = set()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Serve one page until either side closes."""
        try:
            server = await self._client.ws_connect(self._url, params=request.query)
        except (ClientError, OSError, TimeoutError):
            return web.Response(status=502, text="Realtime cannot be reached, or refuses this.\n")
        page = web.WebSocketResponse(timeout=CLOSE_SECONDS, compress=False)
        async with server:
            await page.prepare(request)
            self._open.add(page)
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(_pass_on(page, server))
                    group.create_task(_pass_on(server, page))
            finally:
                self._open.discard(page)
        return page

    async def close(self) -> None:
        """Close every page's WebSocket."""
        for page in list(self._open):
            await page.close(code=1001)


async def _pass_on(source: _WebSocket, target: _WebSocket) -> None:
    """Pass on whole messages until ``source`` is closed, then close ``target``."""
    with suppress(ConnectionError):  # the other direction has closed it
        async for message in source:
            if message.type is WSMsgType.TEXT:
                await target.send_str(message.data)
            elif message.type is WSMsgType.BINARY:
                await target.send_bytes(message.data)
    await target.close()
