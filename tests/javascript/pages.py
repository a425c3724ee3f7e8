"""Pages that show symbols: the official JavaScript client in Node and in headless Chromium."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from aiohttp import web
from playwright.async_api import Browser, async_playwright

from tests.needs import require
from tests.serving import serving

HERE = Path(__file__).parent
PACKAGES = HERE.parents[1] / ".ci"
MODULES = PACKAGES / "node_modules"
CLIENT = MODULES / "@supabase" / "realtime-js"
BROWSERS = ("chromium", "chromium-browser", "google-chrome-stable")
SECONDS = 20.0

Options: TypeAlias = dict[str, str]
Opener: TypeAlias = Callable[[Options], AbstractAsyncContextManager["Page"]]


class Page:
    """A page that does what it is told and says what happens to it."""

    def __init__(self, tell: Callable[[list[Any]], Any]) -> None:
        self._tell = tell
        self._said: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def do(self, name: str, *arguments: Any) -> None:
        """Have the page do something; page.mjs says what it can."""
        await self._tell([name, *arguments])

    def note(self, line: str | bytes) -> None:
        """Take what the page says."""
        self._said.put_nowait(json.loads(line))

    async def next(self, event: str, **expected: Any) -> dict[str, Any]:
        """Return the next thing of this kind that the page says, and drop those before it."""
        async with asyncio.timeout(SECONDS):
            while True:
                said = await self._said.get()
                if said["event"] == event and said.items() >= expected.items():
                    return said


class Pages(Protocol):
    """A way to open pages."""

    def open(self, options: Options) -> AbstractAsyncContextManager[Page]:
        """Open a page; it is closed, without a word to the server, at the end of the block."""
        ...


def require_client() -> None:
    """Skip or fail without the client from npm."""
    require("realtime-js", found=CLIENT.is_dir(), hint="npm install --prefix .ci --no-save")


class NodePages:
    """Pages in Node."""

    def __init__(self) -> None:
        require_client()
        node = shutil.which("node")
        require("node", found=node, hint="install Node 20 or newer")
        self._node = str(node)

    @asynccontextmanager
    async def open(self, options: Options) -> AsyncIterator[Page]:
        """Open a page in a process of its own."""
        arguments = [self._node, str(HERE / "node_page.mjs"), str(PACKAGES), json.dumps(options)]
        process = await asyncio.create_subprocess_exec(
            *arguments, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=sys.stderr
        )
        assert process.stdin is not None
        assert process.stdout is not None
        commands, answers = process.stdin, process.stdout

        async def tell(command: list[Any]) -> None:
            commands.write(json.dumps(command).encode() + b"\n")
            await commands.drain()

        page = Page(tell)

        async def read() -> None:
            async for line in answers:
                page.note(line)

        async with asyncio.TaskGroup() as group:
            group.create_task(read())
            try:
                yield page
            finally:
                process.kill()
                await process.wait()


class BrowserPages:
    """Pages in one headless Chromium, served by a server on this machine."""

    def __init__(self, browser: Browser, url: str) -> None:
        self._browser = browser
        self._url = url

    @asynccontextmanager
    async def open(self, options: Options) -> AsyncIterator[Page]:
        """Open a tab."""
        tab = await self._browser.new_page()
        page = Page(lambda command: tab.evaluate("([name, ...rest]) => { page[name](...rest) }", command))
        await tab.expose_function("tell", page.note)
        await tab.goto(f"{self._url}/page.html")
        await tab.wait_for_function("() => window.open_page")
        await tab.evaluate("(options) => open_page(options)", options)
        try:
            yield page
        finally:
            await tab.close()


@asynccontextmanager
async def in_a_browser() -> AsyncIterator[BrowserPages]:
    """Start Chromium."""
    require_client()
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    require("chromium", found=found, hint="apt install chromium")
    async with _pages_served() as url, async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        try:
            yield BrowserPages(browser, url)
        finally:
            await browser.close()


@asynccontextmanager
async def _pages_served() -> AsyncIterator[str]:
    """Serve the page and the modules it imports, which leave out the ending .js as bundlers allow; give the URL."""

    async def module(request: web.Request) -> web.FileResponse:
        path = (MODULES / request.match_info["path"]).resolve()
        if not path.is_relative_to(MODULES.resolve()):
            raise web.HTTPNotFound
        found = path if path.suffix in {".js", ".mjs"} else path.with_name(f"{path.name}.js")
        return web.FileResponse(found, headers={"Content-Type": "text/javascript"})

    async def own(request: web.Request) -> web.FileResponse:
        return web.FileResponse(HERE / request.match_info["name"])

    app = web.Application()
    app.router.add_get("/node_modules/{path:.+}", module)
    app.router.add_get("/{name:page\\.(html|mjs)}", own)
    async with serving(app) as url:
        yield url
