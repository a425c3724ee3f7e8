"""Symbols that are not in the allow-list yet: verified upstream for whoever shows one, within narrow bounds."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Literal, Protocol, TypeAlias

import structlog
from limits import RateLimitItemPerMinute
from limits.aio.strategies import MovingWindowRateLimiter

from daemon.contracts import RefreshdError
from daemon.web.request_limits import WindowStorage

ANSWER_SECONDS = 3.0
REFUSED_SECONDS = 3_600.0
MAX_REFUSED = 10_000
LONGEST_SHOWN = 200

Verdict: TypeAlias = Literal["admitted", "unknown_symbol", "not_verified_yet"]

log = structlog.get_logger()


class SymbolAdmission(Protocol):
    """Asks the upstream whether a symbol exists, and takes one that does into the allow-list."""

    async def admit(self, symbol: str) -> bool:
        """Return whether the symbol exists; when True, the catalogue resolves it from now on.

        May be cancelled at any time, and then be called again for the same symbol.

        Raises:
            RefreshdError: Where that cannot be found out now.
        """
        ...


class AdmissionGate:
    """Bounds what admission can cost: calls at a time, in a minute, and of one caller in a minute.

    Args:
        admission: Who verifies.
        monotonic: Seconds that never go back.
        per_minute: Symbols verified in any minute.
        per_caller_per_minute: The same for one caller.
        at_a_time: Symbols verified at the same time.
        answer_seconds: How long a caller waits.
    """

    def __init__(
        self,
        admission: SymbolAdmission,
        monotonic: Callable[[], float],
        *,
        per_minute: int = 10,
        per_caller_per_minute: int = 3,
        at_a_time: int = 2,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        self._admission = admission
        self._monotonic = monotonic
        self._all = RateLimitItemPerMinute(per_minute)
        self._of_caller = RateLimitItemPerMinute(per_caller_per_minute)
        self._at_a_time = at_a_time
        self._answer_seconds = answer_seconds
        self._limiter = MovingWindowRateLimiter(WindowStorage(monotonic))
        self._running: set[str] = set()
        self._refused: OrderedDict[str, float] = OrderedDict()
        """Until when symbols count as unknown."""

    async def admit(self, symbol: str, caller: str) -> Verdict:
        """Return whether a symbol is in the allow-list now.

        Args:
            symbol: Matches the pattern of symbols.
            caller: Who asks: a user or an address.

        Returns:
            ``not_verified_yet`` where a bound is reached, the upstream gave no answer, or somebody is asking already.
        """
        if self._refused.get(symbol, 0.0) > self._monotonic():
            return "unknown_symbol"
        if symbol in self._running or len(self._running) >= self._at_a_time or not await self._has_room(caller):
            return "not_verified_yet"
        self._running.add(symbol)
        try:
            async with asyncio.timeout(self._answer_seconds):
                is_admitted = await self._admission.admit(symbol)
        except (RefreshdError, TimeoutError) as error:
            log.warning("symbol_not_verified", symbol=symbol, error=str(error)[:LONGEST_SHOWN] or "no answer in time")
            return "not_verified_yet"
        finally:
            self._running.discard(symbol)
        if is_admitted:
            log.info("symbol_admitted", symbol=symbol)
            return "admitted"
        self._refuse(symbol)
        return "unknown_symbol"

    async def _has_room(self, caller: str) -> bool:
        return await self._limiter.hit(self._of_caller, "caller", caller) and await self._limiter.hit(self._all, "all")

    def _refuse(self, symbol: str) -> None:
        self._refused[symbol] = self._monotonic() + REFUSED_SECONDS
        self._refused.move_to_end(symbol)
        while len(self._refused) > MAX_REFUSED:
            self._refused.popitem(last=False)
