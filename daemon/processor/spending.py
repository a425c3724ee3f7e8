"""Money before, effect after: every call is admitted by the breaker and reserved in both budgets before it is sent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Protocol
from uuid import UUID

import structlog

from daemon.contracts import Answer, CallRefusedError, Clock, FetchError, FetchErrorKind
from daemon.crash_points import reached
from daemon.processor.breaker import Breaker
from daemon.processor.calls import CallEnd, CallWatch
from daemon.processor.conclusion import UNREACHABLE
from daemon.store.budgets import Settlement, pause_upstream, reserve_call, settle
from daemon.store.database import Database

SEND_WITHIN_SECONDS = 2.0
"""The window of the call budget is this much longer than a minute; a reservation not sent by then is given back."""

BANDWIDTH_PAUSE_SECONDS = 3600.0
DEFAULT_PAUSE_SECONDS = 60.0
LONGEST_OUTAGE_PAUSE_SECONDS = 300.0
"""An upstream in trouble that asks for more is asked again after that: it may be wrong about itself."""

log = structlog.get_logger()


class Attempting(Protocol):
    """The HTTP client, as far as it is needed here."""

    async def attempt(
        self,
        endpoint: str,
        params: Mapping[str, str],
        *,
        etag: str | None,
        max_bytes: int | None,
        meter: Callable[[int], None],
    ) -> Answer:
        """Make one HTTP request and report every byte received to ``meter``; errors as :meth:`Upstream.get`."""
        ...


class Spender:
    """What all calls to one upstream share.

    Args:
        database: Where the budgets are.
        upstream: The upstream's key.
        holder: Who spends: instance/boot.
        client: The HTTP client.
        breaker: This process's hand on the breaker.
        clock: For the age of a reservation, and how long calls take.
        watch: Counts the calls.
    """

    def __init__(
        self,
        database: Database,
        upstream: str,
        holder: str,
        client: Attempting,
        breaker: Breaker,
        clock: Clock,
        watch: CallWatch | None = None,
    ) -> None:
        self._database = database
        self._upstream = upstream
        self._holder = holder
        self._client = client
        self._breaker = breaker
        self.clock = clock
        self.watch = watch or CallWatch()

    def purse(self, estimated_bytes: int, data_type: str = "") -> MeteredUpstream:
        """Return an upstream for one fetch, which is expected to bring that many bytes in all."""
        return MeteredUpstream(self, estimated_bytes, data_type)

    async def admit(self, estimated_bytes: int) -> tuple[UUID | None, int]:
        """Return the probe a call carries, if any, and its reservation.

        Raises:
            CallRefusedError: When the breaker, a budget or a pause stands in the way; nothing is then spent.
        """
        probe = await self._breaker.admit()
        reached("admitted")
        asked_at = self.clock.monotonic()
        try:
            reservation = await reserve_call(self._database, self._upstream, estimated_bytes, self._holder)
            reached("reserved")
        except BaseException:
            await self._breaker.undecided(probe)
            raise
        if self.clock.monotonic() - asked_at > SEND_WITHIN_SECONDS:
            await self._breaker.undecided(probe)
            await settle(self._database, [Settlement(reservation, 0, 0)])
            raise CallRefusedError("late", 0.1)
        return probe, reservation

    async def send(
        self,
        endpoint: str,
        params: Mapping[str, str],
        *,
        etag: str | None,
        max_bytes: int | None,
        meter: Callable[[int], None],
        probe: UUID | None,
    ) -> Answer:
        """Make the call and tell the breaker how it went."""
        try:
            answer = await self._client.attempt(endpoint, params, etag=etag, max_bytes=max_bytes, meter=meter)
        except FetchError as error:
            await self._judge(error, probe)
            raise
        except BaseException:
            await asyncio.shield(self._breaker.undecided(probe))  # whoever was interrupted has found out nothing
            raise
        reached("answered")
        await self._breaker.succeeded(probe)
        if answer.pause_seconds is not None:
            await self._pause(answer.pause_seconds, f"{endpoint}: its headers say that no calls are left")
        return answer

    async def _judge(self, error: FetchError, probe: UUID | None) -> None:
        if error.kind in UNREACHABLE:
            await self._breaker.failed(probe, str(error))
            if error.retry_after_seconds is not None:
                await self._pause(min(error.retry_after_seconds, LONGEST_OUTAGE_PAUSE_SECONDS), str(error))
        elif error.kind is FetchErrorKind.UNAUTHORISED:
            await self._breaker.failed(probe, f"the key is wrong, check FMP_API_KEY: {error}", at_once=True)
        elif error.kind in {FetchErrorKind.RATE_LIMITED, FetchErrorKind.BANDWIDTH_EXHAUSTED}:
            await self._breaker.undecided(probe)
            exhausted = error.kind is FetchErrorKind.BANDWIDTH_EXHAUSTED
            seconds = BANDWIDTH_PAUSE_SECONDS if exhausted else error.retry_after_seconds or DEFAULT_PAUSE_SECONDS
            await self._pause(seconds, str(error))
        else:
            await self._breaker.succeeded(probe)

    async def _pause(self, seconds: float, reason: str) -> None:
        await pause_upstream(self._database, self._upstream, seconds, reason)
        log.warning("upstream_paused", upstream=self._upstream, seconds=seconds, reason=reason)


class MeteredUpstream:
    """Implements :class:`daemon.contracts.Upstream` for one fetch, and keeps the bill.

    ``settlements`` are the calls made so far, to be settled in the transaction that carries the effect. If that
    never comes, their reservations stay, and count as spent.
    """

    def __init__(self, spender: Spender, estimated_bytes: int, data_type: str = "") -> None:
        self._spender = spender
        self._estimated_bytes = estimated_bytes
        self._data_type = data_type
        self.settlements: list[Settlement] = []

    @property
    def received_bytes(self) -> int:
        """Bytes received on the wire so far."""
        return sum(settlement.received_bytes for settlement in self.settlements)

    async def get(
        self, endpoint: str, params: Mapping[str, str], *, etag: str | None = None, max_bytes: int | None = None
    ) -> Answer:
        """Make one call; see :meth:`daemon.contracts.Upstream.get`."""
        spender = self._spender
        end: Answer | FetchError | None = None
        probe, reservation = await self._admit()
        received, began_at = 0, spender.clock.monotonic()

        def meter(count: int) -> None:
            nonlocal received
            received += count

        try:
            end = answer = await spender.send(
                endpoint, params, etag=etag, max_bytes=max_bytes, meter=meter, probe=probe
            )
        except FetchError as error:
            end = error
            raise
        finally:
            self.settlements.append(Settlement(reservation, 1, received))
            seconds = spender.clock.monotonic() - began_at
            spender.watch.note_end(CallEnd(self._data_type, seconds, received, self._estimated_bytes, etag, end))
        return answer

    async def _admit(self) -> tuple[UUID | None, int]:
        try:
            # The estimate is of the whole fetch: what earlier calls have brought is not expected again.
            return await self._spender.admit(max(self._estimated_bytes - self.received_bytes, 1))
        except CallRefusedError as error:
            self._spender.watch.note_refused(error.reason)
            raise
