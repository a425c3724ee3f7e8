"""A dead man's switch: an address elsewhere hears from the daemon while it is fit for work, and alarms otherwise."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import aiohttp

from daemon.contracts import Verdict
from daemon.outage import Outage
from daemon.service import wait_or_stop

TIMEOUT_SECONDS = 10.0
SUCCESS = range(200, 300)


class HeartbeatRefusedError(Exception):
    """The address could not be told."""


class Heartbeat:
    """The service.

    Args:
        url: Gets a GET every interval; None tells nobody.
        interval_seconds: Between two of them.
        ready: Whether the daemon is fit for work; while it is not, nothing is sent.
        user_agent: Who asks.
    """

    name = "heartbeat"

    def __init__(self, url: str | None, interval_seconds: float, ready: Callable[[], Verdict], user_agent: str) -> None:
        self._url = url
        self._interval_seconds = interval_seconds
        self._ready = ready
        self._user_agent = user_agent
        self._outage = Outage("heartbeat", "check REFRESHD_HEARTBEAT_URL; the daemon works all the same")

    async def run(self, stop: asyncio.Event) -> None:
        """Tell until ``stop``."""
        if self._url is None:
            await stop.wait()
            return
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout, headers={"User-Agent": self._user_agent}) as session:
            while not stop.is_set():
                if self._ready().is_good:
                    await self._once(session, self._url)
                await wait_or_stop(stop, self._interval_seconds)

    async def _once(self, session: aiohttp.ClientSession, url: str) -> None:
        try:
            async with session.get(url, allow_redirects=False) as response:
                refusal = None if response.status in SUCCESS else f"it answers {response.status}"
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            refusal = type(error).__name__  # never its text: addresses of such services hold their key
        if refusal is None:
            self._outage.passed()
        else:
            self._outage.failed(HeartbeatRefusedError(refusal))
