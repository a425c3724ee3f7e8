"""``/healthz``, ``/readyz`` and ``/health``: alive, fit for work, and everything in detail."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import orjson
from aiohttp import web

from daemon.contracts import Verdict
from daemon.web.dashboard_access import Access


class HealthSource(Protocol):
    """Who judges."""

    def alive(self) -> Verdict:
        """Return whether every part gives signs of life."""
        ...

    def ready(self) -> Verdict:
        """Return whether the daemon is fit for work."""
        ...

    def detail(self) -> Mapping[str, Any]:
        """Return everything; ``status`` is ``ok`` or ``failing``."""
        ...


def add_health_routes(app: web.Application, health: HealthSource, access: Access | None = None) -> None:
    """Have ``app`` answer: 200 where all is well and 503 where it is not, and why in one line.

    Args:
        app: Gets the three paths.
        health: Who judges.
        access: Who may see everything in detail; everybody else is told status and reason. None lets all see it.
    """

    async def healthz(_request: web.Request) -> web.Response:
        return _line(health.alive())

    async def readyz(_request: web.Request) -> web.Response:
        return _line(health.ready())

    async def detail(request: web.Request) -> web.Response:
        body = health.detail()
        if access is not None and not access.admits(request):
            body = {name: body[name] for name in ("status", "reason")}
        status = 200 if body["status"] == "ok" else 503
        text = orjson.dumps(body, default=str, option=orjson.OPT_INDENT_2) + b"\n"
        return web.Response(body=text, status=status, content_type="application/json", headers=_HEADERS)

    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/health", detail)


_HEADERS = {"Cache-Control": "no-store"}


def _line(verdict: Verdict) -> web.Response:
    return web.Response(text=f"{verdict.reason}\n", status=200 if verdict.is_good else 503, headers=_HEADERS)
