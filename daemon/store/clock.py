"""The database's time without a round trip: due times and leases never depend on the clock of this machine."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from daemon.store.database import Database


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
        before = time.monotonic()
        moment: datetime = await database.fetchval("select clock_timestamp()")
        self._epoch = moment - timedelta(seconds=(before + time.monotonic()) / 2)
