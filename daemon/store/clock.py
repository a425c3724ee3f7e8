"""The database's time without a round trip: due times and leases never depend on the clock of this machine."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from daemon.store.database import Connection, Database

READINGS = 3
TRUSTED_SECONDS = 0.25
"""A reading that took longer says too little; the old one then stays."""


class DatabaseClock:
    """Implements :class:`daemon.contracts.Clock`; until the first :meth:`synchronise` it tells this machine's time."""

    def __init__(self) -> None:
        self._epoch = datetime.now(UTC) - timedelta(seconds=time.monotonic())

    def now(self) -> datetime:
        """Return the database's time as estimated from the last reading; off by at most half a round trip and drift."""
        return self._epoch + timedelta(seconds=time.monotonic())

    def monotonic(self) -> float:
        """Return seconds from an arbitrary start that never go back."""
        return time.monotonic()

    async def synchronise(self, database: Database) -> None:
        """Read the database's clock once.

        Raises:
            StoreUnavailableError: When PostgreSQL does not answer; the old reading then stays.
        """
        for _ in range(READINGS):
            moment, before, after = await database.in_transaction(_read)
            if after - before <= TRUSTED_SECONDS:
                self._epoch = moment - timedelta(seconds=(before + after) / 2)
                return


async def _read(connection: Connection) -> tuple[datetime, float, float]:
    """Return the database's time and when it was asked for and answered, on a connection that is there already."""
    before = time.monotonic()
    moment: datetime = await connection.fetchval("select clock_timestamp()")
    return moment, before, time.monotonic()
