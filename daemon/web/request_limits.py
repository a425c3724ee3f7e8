"""How many requests a user and an address may make in any minute, by moving windows of the library ``limits``."""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Callable
from itertools import repeat
from typing import NamedTuple

from limits import RateLimitItemPerMinute
from limits.aio.storage import MovingWindowSupport, Storage
from limits.aio.strategies import MovingWindowRateLimiter

MAX_KEYS = 20_000
PAIRS_PER_MINUTE = 600


class WindowStorage(Storage, MovingWindowSupport):
    """Keeps the windows, each as the times of its hits; those used longest ago are forgotten first.

    The library's own memory storage reads wall time, and looks through all keys on a thread at every hit, one thread
    call a key: with a thousand viewers that alone is half a core.

    Args:
        monotonic: Seconds that never go back.
        max_keys: Bound of the windows kept.
    """

    STORAGE_SCHEME = None

    def __init__(self, monotonic: Callable[[], float], *, max_keys: int = MAX_KEYS) -> None:
        super().__init__()
        self._monotonic = monotonic
        self._max_keys = max_keys
        self._hits: OrderedDict[str, deque[float]] = OrderedDict()

    @property
    def base_exceptions(self) -> type[Exception]:
        """What this storage can raise: nothing of its own."""
        return ValueError

    async def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Note ``amount`` hits if that leaves at most ``limit`` in the window; return whether it did."""
        hits = self._window(key, expiry)
        if len(hits) + amount > limit:
            return False
        hits.extend(repeat(self._monotonic(), amount))
        self._hits[key] = hits
        self._hits.move_to_end(key)
        self._forget(expiry)
        return True

    def _forget(self, expiry: int) -> None:
        """Forget windows that are over, which stand in front, and the oldest where there are too many."""
        over = self._monotonic() - expiry
        while self._hits:
            hits = next(iter(self._hits.values()))
            if len(self._hits) <= self._max_keys and hits and hits[-1] > over:
                return
            self._hits.popitem(last=False)

    async def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:  # noqa: ARG002
        """Return when the oldest hit in the window was (now where there is none), and how many there are."""
        hits = self._window(key, expiry)
        return (hits[0] if hits else self._monotonic()), len(hits)

    def _window(self, key: str, expiry: int) -> deque[float]:
        hits = self._hits.get(key) or deque()
        while hits and hits[0] <= self._monotonic() - expiry:
            hits.popleft()
        return hits

    async def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Count hits whether or not there is room; return how many the window holds then."""
        await self.acquire_entry(key, 2**62, expiry, amount)
        return len(self._hits[key])

    async def get(self, key: str) -> int:
        """Return how many hits are remembered."""
        return len(self._hits.get(key, ()))

    async def get_expiry(self, key: str) -> float:
        """Return when the last remembered hit was; now where there is none."""
        hits = self._hits.get(key)
        return hits[-1] if hits else self._monotonic()

    async def check(self) -> bool:
        """Memory is always there."""
        return True

    async def reset(self) -> int:
        """Forget everything; return how many windows there were."""
        count = len(self._hits)
        self._hits.clear()
        return count

    async def clear(self, key: str) -> None:
        """Forget one window."""
        self._hits.pop(key, None)


class Allowance(NamedTuple):
    """What one limit leaves after a request."""

    granted: bool
    limit: int
    remaining: int
    reset_seconds: int
    """Until the next request becomes possible, or the window's oldest one is forgotten."""

    def headers(self) -> dict[str, str]:
        """Return the standard headers; ``Retry-After`` where the request was refused."""
        headers = {
            "RateLimit-Limit": str(self.limit),
            "RateLimit-Remaining": str(self.remaining),
            "RateLimit-Reset": str(self.reset_seconds),
        }
        return headers if self.granted else {**headers, "Retry-After": str(self.reset_seconds)}


class RequestLimits:
    """Counts the requests of users and addresses.

    Args:
        per_user_per_minute: Requests of one signed-in user in any 60 seconds.
        per_address_per_minute: The same of one address, users and logged-out pages together.
        pairs_per_minute: Pairs that one user, or the logged-out pages of one address, may name in any 60 seconds.
        monotonic: Seconds that never go back.
    """

    def __init__(
        self,
        *,
        per_user_per_minute: int,
        per_address_per_minute: int,
        pairs_per_minute: int = PAIRS_PER_MINUTE,
        monotonic: Callable[[], float],
    ) -> None:
        self._per_user = RateLimitItemPerMinute(per_user_per_minute)
        self._per_address = RateLimitItemPerMinute(per_address_per_minute)
        self._pairs = RateLimitItemPerMinute(pairs_per_minute)
        self._limiter = MovingWindowRateLimiter(WindowStorage(monotonic))
        self._monotonic = monotonic

    async def count_address(self, address: str) -> Allowance:
        """Count a request of an address; a refused one costs nothing."""
        return await self._count(self._per_address, "address", address)

    async def count_user(self, user: str) -> Allowance:
        """Count a request of a user; a refused one costs nothing."""
        return await self._count(self._per_user, "user", user)

    async def count_pairs(self, caller: str, pairs: int) -> Allowance:
        """Count pairs that a user, or an address, names: each may cost a call. Refused ones cost nothing."""
        return await self._count(self._pairs, "pairs", caller, cost=pairs)

    async def _count(self, item: RateLimitItemPerMinute, kind: str, name: str, *, cost: int = 1) -> Allowance:
        granted = await self._limiter.hit(item, kind, name, cost=cost)
        reset_at, remaining = await self._limiter.get_window_stats(item, kind, name)
        seconds = max(math.ceil(reset_at - self._monotonic()), 1)
        return Allowance(granted, item.amount, max(remaining, 0), seconds)
