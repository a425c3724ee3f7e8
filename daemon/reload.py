"""SIGHUP: read again what may change while the daemon runs, keep the old on any error, and tell systemd either way."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from daemon.service import wait_for_first
from daemon.systemd import Notifier

log = structlog.get_logger()


class Reloader:
    """The service that reloads when it is asked to; several requests at once are one.

    Args:
        requested: Set by the signal handler.
        load: Reads everything; what it could not read stays as it was.
        notifier: Told that a reload begins, and that the daemon is ready again.
        summary: Gives the line for ``systemctl status``.
    """

    name = "reload"

    def __init__(
        self,
        requested: asyncio.Event,
        load: Callable[[], Awaitable[None]],
        notifier: Notifier,
        summary: Callable[[], str],
    ) -> None:
        self._requested = requested
        self._load = load
        self._notifier = notifier
        self._summary = summary

    async def run(self, stop: asyncio.Event) -> None:
        """Wait for a request, reload, and wait again."""
        while not stop.is_set():
            await wait_for_first(None, stop, self._requested)
            if self._requested.is_set() and not stop.is_set():
                self._requested.clear()
                await self._once()

    async def _once(self) -> None:
        self._notifier.reloading()
        try:
            await self._load()
        except Exception as error:  # noqa: BLE001 - whatever it is, what runs goes on running
            log.warning("reload_failed", error=str(error), hint="the old flags, registry and settings stay in force")
        else:
            log.info("reloaded")
        finally:
            self._notifier.ready(self._summary())
