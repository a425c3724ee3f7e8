"""SIGHUP: read again what may change while the daemon runs, and keep the old on any error."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from daemon.service import wait_for_first

log = structlog.get_logger()


class Reloader:
    """The service that reloads when it is asked to; several requests at once are one.

    Args:
        requested: Set by the signal handler.
        load: Reads everything; what it could not read stays as it was.
    """

    name = "reload"

    def __init__(self, requested: asyncio.Event, load: Callable[[], Awaitable[None]]) -> None:
        self._requested = requested
        self._load = load

    async def run(self, stop: asyncio.Event) -> None:
        """Wait for a request, reload, and wait again."""
        while not stop.is_set():
            await wait_for_first(None, stop, self._requested)
            if self._requested.is_set() and not stop.is_set():
                self._requested.clear()
                await self._once()

    async def _once(self) -> None:
        try:
            await self._load()
        except Exception as error:  # noqa: BLE001 - whatever it is, what runs goes on running
            log.warning("reload_failed", error=str(error), hint="the old flags and registry stay in force")
        else:
            log.info("reloaded")
