"""The web server of the page: its files, the data API, functions and Realtime, all on one origin."""

from __future__ import annotations

import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, NamedTuple, Self

import jwt
import orjson
from aiohttp import ClientSession, web

from daemon.contracts import StoreUnavailableError
from daemon.web.page_headers import CONTENT_TYPES, PAGE_HEADERS
from devstack.site.crowd import CrowdView
from devstack.site.forwarding import MAX_BODY_BYTES, FunctionsForwarder, RealtimeForwarder
from devstack.site.rows import RowsError, read_rows
from devstack.stack import Stack

STATIC = Path(__file__).parent / "static"
MODULE = Path(__file__).parents[2] / "browser"
STAND_IN = "supabase-stand-in.js"

TOKEN_SECONDS = 7 * 86_400
"""A window is good for so long: the page renews no token."""
MOST_SUGGESTIONS = 12
MOST_TEXT = 40

_SUGGESTIONS = """
select s.symbol, s.exchange, p.company_name as name
from supported_symbols s
left join profiles p using (symbol)
where s.is_active and (starts_with(s.symbol, upper($1)) or position(lower($1) in lower(p.company_name)) > 0)
order by s.symbol = upper($1) desc, starts_with(s.symbol, upper($1)) desc, length(s.symbol), s.symbol
limit $2
"""
_DATA_TYPES = "select data_type from enabled_data_types_v2 order by data_type"

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def daemon_settings(stack: Stack) -> dict[str, str]:
    """Return the settings with which the daemon of this stack accepts the tokens of the site's windows."""
    return {"REFRESHD_JWT_SECRET": stack.jwt_secret, "REFRESHD_JWT_ISSUER": _issuer(stack)}


class DemoSite:
    """Serves the page. Use as an async context manager.

    Args:
        stack: A stack that runs, with ``changes=True``.
        daemon_url: Where its daemon answers HTTP; see :func:`daemon_settings`.
        host: Address to listen on.
        port: Port to listen on; 0 chooses a free one.
        client: The official supabase-js as one script (``dist/umd/supabase.js``), to be used by the page; the small
            stand-in of this package where None.
    """

    def __init__(
        self, stack: Stack, daemon_url: str, *, host: str = "127.0.0.1", port: int = 0, client: Path | None = None
    ) -> None:
        self._stack = stack
        self._daemon_url = daemon_url
        self._host = host
        self._port = port
        self._client = client
        self._windows = 0
        self._life = uuid.uuid4().hex
        self._exit = AsyncExitStack()
        self._crowd: CrowdView

    @property
    def url(self) -> str:
        """Where the page is. Known once the site has been started."""
        return f"http://{self._host}:{self._port}"

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._exit.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._exit.aclose()

    async def _start(self) -> None:
        session = await self._exit.enter_async_context(ClientSession())
        self._crowd = CrowdView(self._stack.owner, session, self._daemon_url)
        realtime = RealtimeForwarder(session, self._stack.realtime_url)
        app = web.Application(middlewares=[_answered], client_max_size=MAX_BODY_BYTES)
        files = _Files(_read_files(self._client))
        app.router.add_get("/", files.page)
        app.router.add_get("/{name:(?:static|browser)/.+|client\\.js}", files.file)
        app.router.add_get("/realtime/v1/websocket", realtime.answer)
        app.router.add_get("/rest/v1/{table}", self._rows)
        app.router.add_post("/functions/v1/{name:[a-z0-9-]+}", FunctionsForwarder(session, self._daemon_url).answer)
        app.router.add_post("/token", self._token)
        app.router.add_get("/symbols.json", self._symbols)
        app.router.add_get("/crowd.json", self._look)

        async def say_farewell(_app: web.Application) -> None:
            await realtime.close()

        app.on_shutdown.append(say_farewell)
        # No access log: its lines would carry the tokens that clients have in their URLs.
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        self._exit.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, self._host, self._port).start()
        self._port = runner.addresses[0][1]

    async def _token(self, _request: web.Request) -> web.Response:
        """Make a signed-in user for a window, and tell it all that it needs."""
        self._windows += 1
        user = str(uuid.uuid4())
        now = int(time.time())
        claims = {
            "iss": _issuer(self._stack),
            "aud": "authenticated",
            "role": "authenticated",
            "sub": user,
            "iat": now,
            "exp": now + TOKEN_SECONDS,
        }
        return _json(
            {
                "token": jwt.encode(claims, self._stack.jwt_secret, algorithm="HS256"),
                "key": self._stack.viewer_token(expires_in_seconds=TOKEN_SECONDS),
                "user": user,
                "window": self._windows,
                "life": self._life,
                "dataTypes": [row["data_type"] for row in await self._stack.owner.fetch(_DATA_TYPES)],
                "client": "the stand-in of the development stack" if self._client is None else "@supabase/supabase-js",
            }
        )

    async def _symbols(self, request: web.Request) -> web.Response:
        """Return symbols of the allow-list that begin with a text, or whose company's name has it; that text first."""
        text = request.query.get("text", "").strip()[:MOST_TEXT].replace("\0", "")
        rows = await self._stack.owner.fetch(_SUGGESTIONS, text, MOST_SUGGESTIONS) if text else []
        return _json([dict(row) for row in rows])

    async def _look(self, _request: web.Request) -> web.Response:
        return _json({"life": self._life, **await self._crowd.look()})

    async def _rows(self, request: web.Request) -> web.Response:
        try:
            rows = await read_rows(self._stack.owner, request.match_info["table"], request.query.items())
        except RowsError as error:
            return web.Response(status=error.status, body=error.body, content_type="application/json")
        return web.Response(text=rows, content_type="application/json")


class _File(NamedTuple):
    body: bytes
    content_type: str


class _Files:
    """Serves what was read at the start, and nothing else, whatever a path says."""

    def __init__(self, files: Mapping[str, _File]) -> None:
        self._files = files

    async def page(self, _request: web.Request) -> web.Response:
        return self._answer("static/page.html")

    async def file(self, request: web.Request) -> web.Response:
        return self._answer(request.match_info["name"])

    def _answer(self, name: str) -> web.Response:
        if (file := self._files.get(name)) is None:
            raise web.HTTPNotFound
        return web.Response(body=file.body, content_type=file.content_type, charset="utf-8")


def _read_files(client: Path | None) -> Mapping[str, _File]:
    folders = {"static": STATIC, "browser": MODULE}
    files = {
        f"{name}/{path.name}": _File(path.read_bytes(), CONTENT_TYPES[path.suffix])
        for name, folder in folders.items()
        for path in folder.iterdir()
        if path.suffix in CONTENT_TYPES
    }
    # The official script makes a variable `supabase`; as a module it has to say what others may import.
    script = files[f"static/{STAND_IN}"].body
    if client is not None:
        script = client.read_bytes() + b"\nexport const { createClient } = supabase\n"
    return files | {"client.js": _File(script, CONTENT_TYPES[".js"])}


@web.middleware
async def _answered(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Give every answer the headers that keep a page to itself, and tell an outage in words."""
    try:
        response = await handler(request)
    except StoreUnavailableError:
        response = web.json_response({"message": "the database cannot be reached"}, status=503)
    except web.HTTPException as error:
        error.headers.update(PAGE_HEADERS)
        raise
    if not response.prepared:
        response.headers.update(PAGE_HEADERS)
    return response


def _json(data: Any) -> web.Response:
    return web.Response(body=orjson.dumps(data), content_type="application/json")


def _issuer(stack: Stack) -> str:
    return f"{stack.realtime.url}/auth/v1"
