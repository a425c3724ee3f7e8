"""``python -m devstack.upstream``: the simulated upstream as a process of its own."""

from __future__ import annotations

import argparse
import asyncio
import signal
import time
from datetime import UTC, datetime

from devstack.upstream.server import UpstreamServer
from devstack.upstream.trading_days import played_clock


async def serve(arguments: argparse.Namespace) -> None:
    """Serve until SIGINT or SIGTERM."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    server = UpstreamServer(
        arguments.api_key,
        calls_per_minute=arguments.calls_per_minute,
        latency_seconds=arguments.latency_seconds,
        host=arguments.host,
        port=arguments.port,
        keeps_hours=arguments.keeps_hours,
        clock=time.time if arguments.begin is None else played_clock(arguments.begin, arguments.speed),
    )
    async with server:
        print(server.url, flush=True)
        await stop.wait()


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def main() -> None:
    """Read the arguments and serve."""
    parser = argparse.ArgumentParser(prog="python -m devstack.upstream", description=__doc__)
    parser.add_argument("--api-key", default="development")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--calls-per-minute", type=int, default=300)
    parser.add_argument("--latency-seconds", type=float, default=0.1)
    parser.add_argument("--keeps-hours", action="store_true", help="let exchanges open and close by their hours")
    parser.add_argument("--begin", type=_moment, help="play from this moment on: 2026-11-25T09:00-05:00")
    parser.add_argument("--speed", type=float, default=1.0, help="how much faster than time it is played: 600")
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
