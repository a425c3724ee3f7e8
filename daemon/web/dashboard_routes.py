"""``/``, its files, and ``/events``: the page, what it is made of, and the stream that keeps it up to date."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from contextlib import aclosing
from pathlib import Path
from typing import NamedTuple

from aiohttp import web

from daemon.web.dashboard import Dashboard
from daemon.web.dashboard_access import Access
from daemon.web.dashboard_feed import Feed
from daemon.web.page_headers import CONTENT_TYPES, PAGE_HEADERS

STATIC = Path(__file__).parent / "static"
RETRY_MILLISECONDS = 3_000
FULL_RETRY_SECONDS = 30
SLOW_SECONDS = 10.0
"""Who takes so long for one frame is dropped."""
SEND_BUFFER_BYTES = 65_536
"""So much of what a watcher does not take is kept by the kernel, about."""


class _File(NamedTuple):
    body: bytes
    content_type: str


def add_dashboard_routes(
    app: web.Application, dashboard: Dashboard, token: str | None = None, *, slow_seconds: float = SLOW_SECONDS
) -> None:
    """Have ``app`` answer ``/``, ``/static/...`` and ``/events``.

    Args:
        app: The server's application.
        dashboard: What is shown; it runs as a service beside the server.
        token: What has to be shown to see anything; None admits requests from this machine alone, see
            :class:`daemon.web.dashboard_access.Access`, where :func:`~daemon.web.dashboard_access.required_token`
            says which it is.
        slow_seconds: Who takes so long for one frame is dropped.
    """
    routes = _Routes(dashboard.feed, Access(token), _read_files(), slow_seconds)

    async def send_away(_app: web.Application) -> None:
        dashboard.feed.send_away()

    app.on_shutdown.append(send_away)
    app.router.add_get("/", routes.page)
    app.router.add_get("/static/{name:.+}", routes.file)
    app.router.add_get("/events", routes.events, allow_head=False)


class _Routes:
    """The handlers."""

    def __init__(self, feed: Feed, access: Access, files: Mapping[str, _File], slow_seconds: float) -> None:
        self._feed = feed
        self._access = access
        self._files = files
        self._slow_seconds = slow_seconds

    async def page(self, request: web.Request) -> web.Response:
        """Answer with the page; with the token in the query, by a cookie and a redirect to the page without it."""
        if self._access.is_token(request.query.get("token", "")):
            redirect = web.Response(status=303, headers={**PAGE_HEADERS, "Location": "./"})
            self._access.remember(redirect, secure=request.secure)
            return redirect
        return self._answer(request, "dashboard.html")

    async def file(self, request: web.Request) -> web.Response:
        """Answer with what the page is made of."""
        return self._answer(request, request.match_info["name"])

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Stream what is new until the watcher leaves, is too slow, or the server stops."""
        if not self._access.admits(request):
            return self._refused()
        if request.headers.get("Sec-Fetch-Site", "same-origin") not in {"same-origin", "none"}:
            return _text(403, "Pages of other origins get no stream.\n")
        if not self._feed.has_room:
            return _text(503, "Too many watch already.\n", {"Retry-After": str(FULL_RETRY_SECONDS)})
        with self._feed.place():
            return await self._stream(request)

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        headers = {**PAGE_HEADERS, "Content-Type": "text/event-stream", "X-Accel-Buffering": "no"}
        response = web.StreamResponse(headers=headers)
        _bound_send_buffer(request)
        await response.prepare(request)
        await response.write(f"retry: {RETRY_MILLISECONDS}\n\n".encode())
        async with aclosing(self._feed.frames()) as frames:
            async for frame in frames:
                try:
                    async with asyncio.timeout(self._slow_seconds):
                        await response.write(frame)
                except TimeoutError:
                    if request.transport is not None:
                        request.transport.abort()
                    break
                except ConnectionError:
                    break
        return response

    def _answer(self, request: web.Request, name: str) -> web.Response:
        if not self._access.admits(request):
            return self._refused()
        if (file := self._files.get(name)) is None:
            return _text(404, "Not found.\n")
        return web.Response(body=file.body, content_type=file.content_type, charset="utf-8", headers=PAGE_HEADERS)

    def _refused(self) -> web.Response:
        status, words = self._access.refusal()
        return _text(status, words, {"WWW-Authenticate": "Bearer"} if status == 401 else {})  # noqa: PLR2004


def _read_files() -> Mapping[str, _File]:
    """Read everything there is to be served: nothing else ever is, whatever a path says."""
    return {
        path.relative_to(STATIC).as_posix(): _File(path.read_bytes(), CONTENT_TYPES[path.suffix])
        for path in STATIC.rglob("*")
        if path.suffix in CONTENT_TYPES
    }


def _bound_send_buffer(request: web.Request) -> None:
    """Keep little for a watcher who does not read, so that this shows soon."""
    if request.transport is None:
        return
    if (connection := request.transport.get_extra_info("socket")) is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)


def _text(status: int, words: str, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(status=status, text=words, headers={**PAGE_HEADERS, **(headers or {})})
