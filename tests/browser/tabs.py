"""Tabs of one headless Chromium that show the page of these tests."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, WebSocket, async_playwright

from tests.javascript.pages import BROWSERS, MODULES, Page
from tests.needs import require

BUNDLE = Path("@supabase", "supabase-js", "dist", "umd", "supabase.js")


def find_client() -> Path:
    """Return the official client as one script, from ``.ci`` or a folder in NODE_PATH; skip or fail without it."""
    folders = [MODULES, *map(Path, filter(None, os.environ.get("NODE_PATH", "").split(os.pathsep)))]
    found = next((folder / BUNDLE for folder in folders if (folder / BUNDLE).is_file()), None)
    require("supabase-js", found=found, hint="npm install --prefix .ci --no-save")
    assert found is not None
    return found


class Tab(Page):
    """A tab, what its cards are told, and what came to it over its WebSocket.

    Attributes:
        thrown: What the page did not catch.
        frames: What Realtime sent.
    """

    thrown: list[str]
    frames: list[str]


class Tabs:
    """Opens tabs."""

    def __init__(self, browser: Browser, page_url: str, realtime_url: str, key: str) -> None:
        self._browser = browser
        self._page_url = page_url
        self._realtime_url = realtime_url
        self._key = key

    @asynccontextmanager
    async def open(self, **options: Any) -> AsyncIterator[Tab]:
        """Open a tab whose module has these options, and see that nothing is thrown in it."""
        opened = await self._browser.new_page()
        tab = Tab(lambda command: opened.evaluate("([name, ...rest]) => { page[name](...rest) }", command))
        tab.thrown, tab.frames = [], []

        def listen(socket: WebSocket) -> None:
            socket.on("framereceived", lambda frame: tab.frames.append(str(frame)))

        opened.on("pageerror", lambda error: tab.thrown.append(str(error)))
        opened.on("websocket", listen)
        await opened.expose_function("tell", tab.note)
        await opened.goto(f"{self._page_url}/page.html")
        await opened.wait_for_function("() => window.open_page")
        chosen = {"trackIntervalSeconds": 0.3, "checkSeconds": 0.2, **options}
        settings = {"url": self._realtime_url, "key": self._key, "options": chosen}
        await opened.evaluate("(settings) => open_page(settings)", settings)
        try:
            yield tab
            assert tab.thrown == []
        finally:
            await opened.close()


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Start Chromium."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    require("chromium", found=found, hint="apt install chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            await browser.close()
