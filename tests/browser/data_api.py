"""What a page asks for over HTTP: its files, rows out of the real PostgreSQL as PostgREST tells them, a function."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
from aiohttp import web

from tests.serving import serving

HERE = Path(__file__).parent
MODULE = HERE.parents[1] / "browser"

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_ONE_OR_MANY = re.compile(r"(?:eq\.(?P<one>.*)|in\.\((?P<many>.*)\))")


class DataApi:
    """The web server of the pages.

    Attributes:
        told: The bodies that the function was called with.
        answer: What the function says; a number is a status that it fails with.
        requests: The rows that were asked for, as paths with their queries.
        absent: The code that is answered for a table that is not there: PostgREST's own is PGRST205.
    """

    def __init__(self, pool: asyncpg.Pool[asyncpg.Record], client: Path) -> None:
        self._pool = pool
        self._client = client
        self._changed = asyncio.Event()
        self.told: list[dict[str, Any]] = []
        self.answer: dict[str, Any] | int = {}
        self.requests: list[str] = []
        self.absent = "42P01"

    @classmethod
    @asynccontextmanager
    async def serving(cls, database_url: str, client: Path) -> AsyncIterator[tuple[DataApi, str]]:
        """Serve, and give the server and its URL.

        Args:
            database_url: PostgreSQL as a login that may become ``anon``.
            client: The official client as one script.
        """
        async with asyncpg.create_pool(database_url, min_size=1, max_size=4) as pool:
            api = cls(pool, client)
            app = web.Application()
            app.router.add_get("/rest/v1/{table}", api._read)
            app.router.add_post("/functions/v1/{name}", api._call)
            app.router.add_get("/supabase.js", api._script)
            app.router.add_get("/browser/{name:[a-z]+\\.js}", api._module)
            app.router.add_get("/page.html", api._page)
            async with serving(app) as url:
                yield api, url

    async def until_told(self, calls: int) -> None:
        """Wait until the function was called so often."""
        async with asyncio.timeout(20):
            while len(self.told) < calls:
                await self._changed.wait()

    async def _read(self, request: web.Request) -> web.Response:
        self.requests.append(request.path_qs)
        sql, values = _query(request.match_info["table"], request.query.items())
        try:
            async with self._pool.acquire() as connection, connection.transaction(readonly=True):
                await connection.execute("set local role anon")
                rows: str = await connection.fetchval(sql, *values)
        except asyncpg.PostgresError as error:
            status = 401 if isinstance(error, asyncpg.InsufficientPrivilegeError) else 404
            code = self.absent if isinstance(error, asyncpg.UndefinedTableError) else error.sqlstate
            return web.json_response({"code": code, "message": str(error)}, status=status)
        return web.Response(text=rows, content_type="application/json")

    async def _call(self, request: web.Request) -> web.Response:
        self.told.append({"name": request.match_info["name"], "body": await request.json()})
        self._changed.set()
        self._changed = asyncio.Event()
        if isinstance(self.answer, int):
            return web.Response(status=self.answer, text="<html>oops</html>", content_type="text/html")
        return web.json_response(self.answer)

    async def _script(self, _: web.Request) -> web.FileResponse:
        return web.FileResponse(self._client, headers={"Content-Type": "text/javascript"})

    async def _module(self, request: web.Request) -> web.FileResponse:
        return web.FileResponse(MODULE / request.match_info["name"], headers={"Content-Type": "text/javascript"})

    async def _page(self, _: web.Request) -> web.FileResponse:
        return web.FileResponse(HERE / "page.html")


def _query(table: str, asked: Any) -> tuple[str, list[Any]]:
    """Return what PostgREST would make of a request, as far as the module makes such."""
    columns, order, limit, values = "*", "", "", []
    conditions: list[str] = []
    for name, value in asked:
        if name == "select":
            columns = value if value == "*" else ", ".join(map(_quoted, value.split(",")))
        elif name == "order":
            column, _, direction = value.partition(".")
            order = f" order by {_quoted(column)} {'desc' if direction == 'desc' else 'asc'}"
        elif name == "limit":
            limit = f" limit {int(value)}"
        else:
            condition = _ONE_OR_MANY.fullmatch(value)
            assert condition is not None, f"{name}={value}"
            one, many = condition["one"], condition["many"]
            values.append([one] if many is None else many.split(","))
            conditions.append(f"{_quoted(name)}::text = any (${len(values)}::text[])")
    where = f" where {' and '.join(conditions)}" if conditions else ""
    rows = f"select {columns} from public.{_quoted(table)}{where}{order}{limit}"
    return f"select coalesce(json_agg(r), '[]')::text from ({rows}) r", values


def _quoted(name: str) -> str:
    assert _NAME.fullmatch(name), name
    return f'"{name}"'
