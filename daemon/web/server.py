"""The daemon's HTTP server: health, ``/metrics`` in the text format of Prometheus, and what others add to it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from daemon.service import wait_or_stop
from daemon.web.dashboard_access import Access
from daemon.web.health import HealthSource, add_health_routes

RETRY_SECONDS = 30.0
SHUTDOWN_SECONDS = 1.0
LINGER_SECONDS = 2.0
"""So long a body that is not wanted is read, so that its sender gets to the answer."""
MAX_LINE_BYTES = 8_192

log = structlog.get_logger()


class _OwnFaults(logging.Filter):
    """Passes over requests that are no HTTP: they are answered with 400, and anybody could fill the log with them."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the fault is ours."""
        return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


server_log = logging.getLogger(__name__)
server_log.addFilter(_OwnFaults())


class WebServer:
    """Answers on one address. The daemon does its work without it: an address that cannot be had is tried again.

    Args:
        address: Host and port; port 0 takes a free one. None listens nowhere.
        registry: What ``/metrics`` shows, collected at every request.
        health: Who judges how the daemon is; None leaves the three paths of health out.
        extend: Add what else is answered.
        access: Who may see health in detail; None lets all see it.
    """

    name = "web"

    def __init__(
        self,
        address: tuple[str, int] | None,
        registry: CollectorRegistry,
        health: HealthSource | None = None,
        extend: Sequence[Callable[[web.Application], None]] = (),
        access: Access | None = None,
    ) -> None:
        self._address = address
        self._registry = registry
        self._health = health
        self._extend = extend
        self._access = access
        self._refused = False

    async def run(self, stop: asyncio.Event) -> None:
        """Listen until ``stop``."""
        if self._address is None:
            await stop.wait()
        else:
            while not stop.is_set():
                await self._listen(*self._address, stop)

    async def _listen(self, host: str, port: int, stop: asyncio.Event) -> None:
        """Listen until ``stop``, or say once why that is impossible and wait."""
        runner = web.AppRunner(
            self._app(),
            access_log=None,
            logger=server_log,
            shutdown_timeout=SHUTDOWN_SECONDS,
            lingering_time=LINGER_SECONDS,
            max_line_size=MAX_LINE_BYTES,
            max_field_size=MAX_LINE_BYTES,
        )
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port).start()
        except (OSError, UnicodeError) as error:
            self._say_refused(host, port, error)
            await wait_or_stop(stop, RETRY_SECONDS)
        else:
            self._refused = False
            log.info("http_listening", host=host, port=runner.addresses[0][1])
            await stop.wait()
        finally:
            await runner.cleanup()

    def _say_refused(self, host: str, port: int, error: OSError | UnicodeError) -> None:
        if not self._refused:
            self._refused = True
            log.error(
                "http_not_listening",
                host=host,
                port=port,
                error=getattr(error, "strerror", None) or str(error),
                hint="another program has the port, or the host is not of this machine: set REFRESHD_HTTP_LISTEN; "
                "the daemon works on without metrics and tries again",
            )

    def _app(self) -> web.Application:
        app = web.Application(client_max_size=1_024)
        app.router.add_get("/metrics", self._metrics)
        if self._health is not None:
            add_health_routes(app, self._health, self._access)
        for add in self._extend:
            add(app)
        app.router.add_route("*", "/{path:.*}", _nothing_here)
        return app

    async def _metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})


async def _nothing_here(_request: web.Request) -> web.Response:
    return web.json_response({"error": "not found"}, status=404)
