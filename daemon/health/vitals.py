"""How everything stands, looked up every few seconds: for health, metrics, the dashboard and systemd's status line."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from daemon.contracts import Clock, Flags, Pair
from daemon.store.database import Database
from daemon.store.flags import read_flags
from daemon.store.queue_state import QueueState, read_queue_state
from daemon.store.vitals import (
    CronJob,
    OldestSnapshot,
    TypeFreshness,
    read_cron_jobs,
    read_freshness,
    read_oldest_snapshot,
    staleness,
)

INTERVAL_SECONDS = 10.0
CRON_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What one look has found."""

    taken_at: float
    """Monotonic seconds."""
    freshness: Sequence[TypeFreshness]
    """Of what is viewed through this daemon."""
    queue: QueueState
    oldest_snapshot_seconds: float
    """For how long some session has held the oldest snapshot, as far as it has been watched."""
    flags: Flags
    """As they hold in the database now, whatever the daemon has read of them."""
    cron_jobs: Sequence[CronJob] | None = None
    """The jobs of pg_cron; None where there is none, or it cannot be read."""

    @property
    def staleness(self) -> float | None:
        """S; None where nobody looks at anything."""
        return staleness(self.freshness)


class Vitals:
    """Looks again and again, as a :class:`~daemon.refresh.periodic.Periodic` tells it; ``latest`` is what it saw last.

    Args:
        database: Where to look.
        viewers: Gives how many viewers each pair has.
        clock: For the age of what it saw.
    """

    def __init__(self, database: Database, viewers: Callable[[], Mapping[Pair, int]], clock: Clock) -> None:
        self._database = database
        self._viewers = viewers
        self._clock = clock
        self._oldest: tuple[OldestSnapshot, float] | None = None
        self._cron_jobs: Sequence[CronJob] | None = None
        self.latest: Snapshot | None = None

    async def turn(self) -> None:
        """Look once.

        Raises:
            StoreUnavailableError: When PostgreSQL does not answer; ``latest`` then stays what it was.
        """
        freshness = await read_freshness(self._database, self._viewers())
        queue = await read_queue_state(self._database)
        held_seconds = self._held_seconds(await read_oldest_snapshot(self._database))
        flags = await read_flags(self._database)
        self.latest = Snapshot(self._clock.monotonic(), freshness, queue, held_seconds, flags, self._cron_jobs)

    async def look_at_cron(self) -> None:
        """Look at the jobs of pg_cron; rarely, and apart from the rest: it is somebody else's table.

        Raises:
            StoreUnavailableError: When PostgreSQL does not answer in time.
        """
        self._cron_jobs = await read_cron_jobs(self._database)

    def _held_seconds(self, oldest: OldestSnapshot | None) -> float:
        now = self._clock.monotonic()
        if oldest is None:
            self._oldest = None
            return 0.0
        if self._oldest is None or self._oldest[0].xmin != oldest.xmin:
            self._oldest = (oldest, now)
        return now - self._oldest[1]
