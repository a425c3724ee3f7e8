"""Simulated viewers: real Realtime clients that come, look at a few symbols, change their mind, and go."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from realtime import AsyncRealtimeChannel, AsyncRealtimeClient
from realtime.types import RealtimeChannelOptions

from daemon.contracts import GLOBAL_SYMBOL, Pair

ON_A_PAGE: Mapping[str, float] = {
    "quote": 1.0,
    "profile": 0.5,
    "financial-statements": 0.12,
    "ratios-ttm": 0.15,
    "dividend-history": 0.12,
    "shares-float": 0.1,
    "revenue-segmentation": 0.1,
    "grades-historical": 0.12,
    "exchange-variants": 0.1,
    "available-exchanges": 0.05,
    "exchange-market-status": 0.15,
}
"""How likely it is that a page about a symbol shows each data type."""

GLOBAL_TYPES = frozenset({"available-exchanges", "exchange-market-status"})
"""The same for every symbol: the daemon keeps one pair of each."""

FAVOURITES = (
    "AAPL", "NVDA", "TSLA", "MSFT", "AMZN", "GOOGL", "META", "SPY", "^GSPC", "BTCUSD", "AMD", "NFLX", "PLTR", "BRK-B",
    "JPM", "QQQ", "DIS", "KO", "AVGO", "EURUSD",
)  # fmt: skip
RETRACK_SECONDS = 8.0
"""Below the limit of five tracks in 30 s per client."""

OPTIONS: RealtimeChannelOptions = {
    "config": {"broadcast": None, "presence": {"key": "", "enabled": True}, "private": True}
}


def by_popularity(symbols: Sequence[str], *, seed: int = 1) -> list[str]:
    """Return the symbols with the favourites first and the rest in an order of no meaning."""
    rest = sorted(set(symbols) - set(FAVOURITES))
    random.Random(seed).shuffle(rest)
    return [symbol for symbol in FAVOURITES if symbol in set(symbols)] + rest


@dataclass(frozen=True, slots=True)
class Track:
    """A viewer has begun to look at these pairs."""

    at: float
    """Unix time at which the message was sent."""
    pairs: frozenset[Pair]


class Crowd:
    """A steady number of viewers with exponential sessions and Zipf-distributed interest.

    Args:
        url: What a Realtime client connects to.
        topic: The private lobby.
        token: Makes a token for one viewer.
        symbols: In the order of their popularity.
        size: How many viewers there are at any time, on average.
        session_seconds: How long one stays, on average.
        seed: The same seed gives the same viewers.
        on_a_page: How likely it is that a page shows each data type.
    """

    def __init__(
        self,
        url: str,
        topic: str,
        token: Callable[[], str],
        symbols: Sequence[str],
        *,
        size: int = 25,
        session_seconds: float = 40.0,
        seed: int = 1,
        on_a_page: Mapping[str, float] = ON_A_PAGE,
    ) -> None:
        self._url = url
        self._topic = topic
        self._token = token
        self._symbols = symbols
        self._weights = [1 / rank for rank in range(1, len(symbols) + 1)]
        self._size = size
        self._session_seconds = session_seconds
        self._random = random.Random(seed)
        self._on_a_page = on_a_page
        self._views: dict[int, frozenset[Pair]] = {}
        self._numbers = itertools.count(1)
        self.arrived = 0
        self.tracks: list[Track] = []

    @property
    def present(self) -> int:
        """How many viewers look at something now."""
        return len(self._views)

    def viewers(self) -> Counter[Pair]:
        """Return how many viewers look at each pair now, by what they have sent."""
        return Counter(pair for view in self._views.values() for pair in view)

    async def run(self, stop: asyncio.Event) -> None:
        """Let viewers come and go until ``stop``, then let all of them go."""
        async with asyncio.TaskGroup() as group:
            visits = {group.create_task(self._visit()) for _ in range(self._size)}
            while not stop.is_set():
                pause = self._random.expovariate(self._size / self._session_seconds)
                try:
                    await asyncio.wait_for(stop.wait(), pause)
                except TimeoutError:
                    visits = {visit for visit in visits if not visit.done()}
                    visits.add(group.create_task(self._visit()))
            for visit in visits:
                visit.cancel()

    async def _visit(self) -> None:
        number = next(self._numbers)
        ends_at = time.monotonic() + self._random.expovariate(1 / self._session_seconds)
        client = AsyncRealtimeClient(self._url, self._token(), auto_reconnect=False)
        try:
            await client.connect()
            self.arrived += 1
            channel = client.channel(self._topic, OPTIONS)
            await channel.subscribe()
            while (left := ends_at - time.monotonic()) > 0:
                await self._look(channel, number)
                await asyncio.sleep(min(left, RETRACK_SECONDS + self._random.expovariate(1 / 20)))
        finally:
            self._views.pop(number, None)
            await client.close()

    async def _look(self, channel: AsyncRealtimeChannel, number: int) -> None:
        symbols = set(self._random.choices(self._symbols, self._weights, k=self._random.randint(1, 4)))
        types = {symbol: self._page() for symbol in sorted(symbols)}
        view = frozenset(
            Pair(GLOBAL_SYMBOL if data_type in GLOBAL_TYPES else symbol, data_type)
            for symbol, names in types.items()
            for data_type in names
        )
        new = view - self._views.get(number, frozenset())
        sent_at = time.time()
        await channel.track({"userId": f"visitor-{number}", "views": types})
        self._views[number] = view
        self.tracks.append(Track(sent_at, new))

    def _page(self) -> tuple[str, ...]:
        return tuple(name for name, share in self._on_a_page.items() if self._random.random() < share)
