"""The gate: every few seconds, recovers jobs whose lease expired, and says when calls are held and why."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from daemon.store.budgets import Limits, announce_limits, read_verdict
from daemon.store.database import Database
from daemon.store.queue import run_gate

log = structlog.get_logger()


class Gate:
    """One turn at a time; a :class:`Periodic` takes the turns.

    Args:
        database: Where the verdict is.
        upstream: The upstream's key.
        instance: Whose limits are announced, and kept alive, with every turn.
        limits: What this instance was configured with.
        on_work: Called when jobs wait again.
    """

    def __init__(
        self, database: Database, upstream: str, instance: str, limits: Limits, on_work: Callable[[], None]
    ) -> None:
        self._database = database
        self._upstream = upstream
        self._instance = instance
        self._limits = limits
        self._on_work = on_work
        self._held_by: str | None = None
        self._differ = False

    def use(self, limits: Limits) -> None:
        """Announce these limits from the next turn on."""
        self._limits = limits

    async def turn(self) -> None:
        """Announce, recover, look at the verdict.

        Raises:
            StoreUnavailableError: When PostgreSQL does not answer.
        """
        await self.announce()
        if recovered := await run_gate(self._database):
            log.warning("jobs_recovered", jobs=recovered, reason="their leases had expired")
            self._on_work()
        await self._judge()

    async def announce(self) -> None:
        """Say that this instance lives, and with which limits."""
        in_force = await announce_limits(self._database, self._upstream, self._instance, self._limits)
        if in_force.differ and not self._differ:
            log.warning(
                "limits_differ",
                upstream=self._upstream,
                instance=self._instance,
                calls_per_minute=in_force.limits.calls_per_minute,
                bytes_per_30_days=in_force.limits.bytes_per_30_days,
                hint="several daemons have different limits; these, the least, are in force",
            )
        self._differ = in_force.differ

    async def _judge(self) -> None:
        verdict = await read_verdict(self._database, self._upstream)
        if verdict.held_by == self._held_by:
            return
        if verdict.held_by is None:
            log.info("calls_resumed", upstream=self._upstream, were_held_by=self._held_by)
            self._on_work()
        else:
            log.warning("calls_held", upstream=self._upstream, held_by=verdict.held_by, reason=verdict.reason)
        self._held_by = verdict.held_by
