"""``python -m bench.throughput_upstream``: an upstream without limits that knows every symbol there is.

Its answers have the fields, the indentation, the tag and the compression of the simulated upstream's, which lists a few
hundred symbols and computes their prices. Every answer differs from the one before: every refresh finds a change.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import itertools
import signal
import time
from collections.abc import Iterator

from aiohttp import web

from devstack.upstream.endpoints import ask
from devstack.upstream.market import Market
from devstack.upstream.server import BASE, LINE_BYTES
from devstack.upstream.wire import JSON_TYPE, Row, encode, etag

EXAMPLE = "AAPL"
CHEAPEST = 1
"""Level of compression: what the upstream spends is no part of the measurement, and takes the cores from it."""


class PlainUpstream:
    """Answers ``quote``, ``batch-quote`` and ``profile`` for whatever symbol is asked."""

    def __init__(self) -> None:
        market = Market(time.time)
        self._rows = {name: _example(market, name) for name in ("quote", "profile")}
        self._numbers: Iterator[int] = itertools.count()

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one call."""
        endpoint = request.path.removeprefix(f"{BASE}/")
        symbols = request.query.get("symbols") or request.query["symbol"]
        kind = "profile" if endpoint == "profile" else "quote"
        body = encode([self._row(kind, symbol) for symbol in symbols.split(",")])
        headers = {"Content-Type": JSON_TYPE, "ETag": etag(body), "Content-Encoding": "gzip"}
        return web.Response(body=gzip.compress(body, CHEAPEST), headers=headers)

    def _row(self, kind: str, symbol: str) -> Row:
        row: Row = {**self._rows[kind], "symbol": symbol, "price": 100 + next(self._numbers) % 100_000 / 100}
        return row if kind == "profile" else {**row, "timestamp": time.time()}


def _example(market: Market, endpoint: str) -> Row:
    rows = ask(market, endpoint, {"symbol": EXAMPLE})
    assert isinstance(rows, list)
    return rows[0]


async def serve(host: str) -> None:
    """Serve until SIGINT or SIGTERM; print the base URL first."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    server = web.Server(PlainUpstream().answer, access_log=None, max_line_size=LINE_BYTES)
    runner = web.ServerRunner(server, shutdown_timeout=0.5)
    await runner.setup()
    await web.TCPSite(runner, host, 0).start()
    print(f"http://{host}:{runner.addresses[0][1]}{BASE}", flush=True)
    await stop.wait()
    await runner.cleanup()


def main() -> None:
    """Read the arguments and serve."""
    parser = argparse.ArgumentParser(prog="python -m bench.throughput_upstream", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    asyncio.run(serve(parser.parse_args().host))


if __name__ == "__main__":
    main()
