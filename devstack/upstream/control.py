"""The demo's controls over HTTP: ``/_faults``, ``/_stats``, ``/_switches``. They need no key and are not counted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web

from devstack.upstream.faults import Fault
from devstack.upstream.wire import JSON_TYPE, encode

if TYPE_CHECKING:
    from devstack.upstream.server import UpstreamServer


class Switches(msgspec.Struct, forbid_unknown_fields=True):
    """What can be switched while the server runs; None leaves it as it is."""

    market_open: bool | None = None
    keeps_hours: bool | None = None
    honour_etags: bool | None = None
    latency_seconds: float | None = None
    latency_jitter_seconds: float | None = None
    calls_per_minute: int | None = None


async def control(server: UpstreamServer, request: web.BaseRequest) -> web.Response | None:
    """Answer a request for one of the controls; None where it is not for one.

    ``POST /_faults`` takes one fault or a list of them, ``DELETE /_faults`` forgets all, ``POST /_switches`` takes
    ``Switches``, ``GET /_stats`` only tells. All of them answer with the statistics.
    """
    try:
        match request.method, request.path:
            case "POST", "/_faults":
                faults = msgspec.json.decode(await request.read(), type=Fault | list[Fault])
                server.faults.add(*(faults if isinstance(faults, list) else [faults]))
            case "DELETE", "/_faults":
                server.faults.clear()
            case "POST", "/_switches":
                _switch(server, msgspec.json.decode(await request.read(), type=Switches))
            case "GET", "/_stats":
                pass
            case _:
                return None
    except msgspec.DecodeError as error:
        return web.Response(status=400, text=str(error))
    return web.Response(body=encode(statistics(server)), headers={"Content-Type": JSON_TYPE})


def statistics(server: UpstreamServer) -> dict[str, Any]:
    """Return the counters, the switches, and the faults still to come."""
    return {
        "calls": server.calls,
        "calls_by_endpoint": dict(server.calls_by_endpoint),
        "statuses": {str(status): count for status, count in server.statuses.items()},
        "max_calls_per_60s": server.max_calls_per_60s(),
        "bytes_sent": server.bytes_sent,
        "faults": msgspec.to_builtins(server.faults.waiting()),
        "faults_committed": {kind.value: count for kind, count in server.faults.committed.items()},
        "market_open": server.market_open,
        "keeps_hours": server.keeps_hours,
        "honour_etags": server.honour_etags,
        "latency_seconds": server.latency_seconds,
        "calls_per_minute": server.calls_per_minute,
    }


def _switch(server: UpstreamServer, switches: Switches) -> None:
    for name, value in msgspec.structs.asdict(switches).items():
        if value is not None:
            setattr(server, name, value)
