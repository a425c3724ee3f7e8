"""The simulated upstream as a server: keys, limits, latency, faults, and in front of it all one socket.

In a test: ``async with UpstreamServer("a-key", latency_seconds=0) as upstream``, then GET from ``upstream.url`` with
the header ``apikey: a-key``, and ``upstream.faults.add(Fault(FaultKind.HANG, endpoint="quote", times=1))`` for a fault.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

from aiohttp import web

from devstack.upstream.control import control
from devstack.upstream.delivery import FAULTY, NO_ANSWER, Delivery
from devstack.upstream.endpoints import ask
from devstack.upstream.faults import Fault, Faults
from devstack.upstream.market import Market
from devstack.upstream.meter import CallLimit, Meter, Seen
from devstack.upstream.quotes import batch_quote
from devstack.upstream.sabotage import spoil
from devstack.upstream.walk import seeded
from devstack.upstream.wire import Reply, invalid_key, limit_reached, rows_reply

BASE = "/stable"
STOP_SECONDS = 0.5
LINE_BYTES = 2**16
"""How long a request line may be: a batch of a thousand symbols fits."""


class UpstreamServer:
    """Answers as the upstream does, and counts.

    Args:
        api_key: The one key that is good.
        calls_per_minute: How many calls are answered in any 60 seconds.
        latency_seconds: How long every answer takes.
        latency_jitter_seconds: How much longer it takes at most, at random.
        host: Address to listen on.
        port: 0 for any; the same one again after a restart.
        honour_etags: Whether a matching ``If-None-Match`` is answered with 304.
        market_open: Whether prices move.
        keeps_hours: Whether they move only while their exchanges trade.
        clock: Returns epoch seconds: what prices and dates follow.
        monotonic: Returns seconds: what the limit counts in.
        seed: Another seed is another market.
    """

    def __init__(
        self,
        api_key: str,
        *,
        calls_per_minute: int = 300,
        latency_seconds: float = 0.1,
        latency_jitter_seconds: float = 0.0,
        host: str = "127.0.0.1",
        port: int = 0,
        honour_etags: bool = True,
        market_open: bool = True,
        keeps_hours: bool = False,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        seed: int = 1,
    ) -> None:
        self.faults = Faults()
        self.market = Market(clock, seed=seed, is_open=market_open, keeps_hours=keeps_hours)
        self.honour_etags = honour_etags
        self.latency_seconds = latency_seconds
        self.latency_jitter_seconds = latency_jitter_seconds
        self._api_key = api_key
        self._host, self._port = host, port
        self._monotonic = monotonic
        self._jitter = seeded(seed, "latency")
        self._limit = CallLimit(calls_per_minute)
        self._meter = Meter()
        self._stopping = asyncio.Event()
        self._arrival = asyncio.Event()
        self._runner: web.ServerRunner | None = None

    async def start(self) -> None:
        """Listen; the port is known afterwards."""
        if self._runner is not None:
            raise RuntimeError("the simulated upstream has been started already")
        self._stopping = asyncio.Event()
        handler = web.Server(self._answer, access_log=None, max_line_size=LINE_BYTES)
        self._runner = web.ServerRunner(handler, shutdown_timeout=STOP_SECONDS)
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, self._port).start()
        self._port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Close everything; requests that would hang are reset."""
        runner, self._runner = self._runner, None
        if runner is not None:
            self._stopping.set()
            await runner.cleanup()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def url(self) -> str:
        """The base URL, without a slash at its end."""
        return f"http://{self._host}:{self._port}{BASE}"

    def symbols(self) -> list[str]:
        """Return all symbols that there is an answer for."""
        return list(self.market.listings)

    def exchange_of(self, symbol: str) -> str | None:
        """Return the code of the exchange on which a symbol trades, None where it is not listed."""
        listing = self.market.listings.get(symbol)
        return None if listing is None else listing.exchange.code

    def warm_up(self) -> None:
        """Compute today's prices of every symbol now: the first quote of each takes milliseconds, and blocks."""
        batch_quote(self.market, {"symbols": ",".join(self.symbols())})

    @property
    def market_open(self) -> bool:
        """Whether prices move; settable."""
        return self.market.is_open

    @market_open.setter
    def market_open(self, is_open: bool) -> None:
        self.market.is_open = is_open

    @property
    def keeps_hours(self) -> bool:
        """Whether exchanges trade by their hours only; settable."""
        return self.market.keeps_hours

    @keeps_hours.setter
    def keeps_hours(self, keeps_hours: bool) -> None:
        self.market.keeps_hours = keeps_hours

    @property
    def calls_per_minute(self) -> int:
        """How many calls are answered in any 60 seconds; settable."""
        return self._limit.calls_per_minute

    @calls_per_minute.setter
    def calls_per_minute(self, calls: int) -> None:
        self._limit.calls_per_minute = calls

    @property
    def calls(self) -> int:
        """All calls that came in, whatever became of them."""
        return self._meter.calls

    async def wait_for_calls(self, count: int) -> None:
        """Wait until so many calls have come in, answered or not."""
        while self.calls < count:
            await self._arrival.wait()

    @property
    def calls_by_endpoint(self) -> Counter[str]:
        """The same by endpoint."""
        return self._meter.calls_by_endpoint

    @property
    def statuses(self) -> Counter[int]:
        """How many calls ended with which status; 0 where no whole answer went out."""
        return self._meter.statuses

    def max_calls_per_60s(self) -> int:
        """Return the largest number of calls that came in within any 60 seconds, refused ones included."""
        return self._meter.max_calls_per_60s

    @property
    def bytes_sent(self) -> int:
        """Bytes of bodies that were sent, compressed where they were."""
        return self._meter.bytes_sent

    @property
    def seen(self) -> deque[Seen]:
        """The last calls, oldest first."""
        return self._meter.seen

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        controlled = await control(self, request)
        if controlled is not None:
            return controlled
        at, endpoint = self._monotonic(), request.path.removeprefix(f"{BASE}/")
        params = {name: value for name, value in request.query.items() if name != "apikey"}
        agent = request.headers.get("User-Agent", "")
        self._meter.arrived(at, endpoint)
        self._arrival.set()
        self._arrival = asyncio.Event()
        refusal = self._refusal(request, at)
        fault = None if refusal else self.faults.take(endpoint, params)
        delivery = Delivery(request, self._meter, self._stopping)
        await delivery.pause(self.latency_seconds + self._jitter.uniform(0, self.latency_jitter_seconds))
        reply = refusal or self._reply(endpoint, params, fault)
        if fault is not None and fault.kind in FAULTY:
            self._meter.answered(Seen(at, endpoint, params, NO_ANSWER, agent))
            return await delivery.faulty(fault, reply)
        response = delivery.whole(reply, honour_etag=self.honour_etags)
        self._meter.answered(Seen(at, endpoint, params, response.status, agent))
        return response

    def _refusal(self, request: web.BaseRequest, at: float) -> Reply | None:
        if (request.headers.get("apikey") or request.query.get("apikey")) != self._api_key:
            return invalid_key()
        wait_seconds = self._limit.admit(at)
        return None if wait_seconds is None else limit_reached(str(max(1, math.ceil(wait_seconds))))

    def _reply(self, endpoint: str, params: Mapping[str, str], fault: Fault | None) -> Reply:
        rows = ask(self.market, endpoint, params)
        if fault is None:
            return rows if isinstance(rows, Reply) else rows_reply(rows)
        return spoil(fault, [] if isinstance(rows, Reply) else rows)
