"""The slow work in the database: schedules that have fired, and rows that have had their time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from daemon.store.database import Database


@dataclass(frozen=True, slots=True)
class Schedule:
    """A scheduled data type whose next firing has to be computed, and its cron expression."""

    data_type: str
    expression: str


@dataclass(frozen=True, slots=True)
class Removal:
    """What one step of maintenance did."""

    rows: dict[str, int]
    """Rows removed, by kind."""
    more: bool
    """Whether another step finds more."""
    not_done: Sequence[str]
    """What could not be done, each with the reason."""


async def read_open_schedules(database: Database) -> list[Schedule]:
    """Return the scheduled types that have no next firing."""
    rows = await database.fetch(
        "select r.data_type, r.refresh_schedule"
        " from data_type_registry_v2 r join data_type_state_v2 t using (data_type)"
        " where r.refresh_strategy = 'scheduled' and t.next_scheduled_at is null"
        " order by r.data_type"
    )
    return [Schedule(row["data_type"], row["refresh_schedule"]) for row in rows]


async def write_next_firing(database: Database, schedule: Schedule, moment: datetime) -> None:
    """Record when a schedule fires next, unless it has changed or somebody else was first."""
    await database.execute(
        "update data_type_state_v2 t set next_scheduled_at = $3 from data_type_registry_v2 r"
        " where t.data_type = $1 and t.next_scheduled_at is null"
        " and r.data_type = t.data_type and r.refresh_schedule = $2",
        schedule.data_type,
        schedule.expression,
        moment,
    )


async def queue_scheduled(database: Database) -> int:
    """Go on with the rounds of schedules that have fired; return the number of new jobs."""
    return int(await database.fetchval("select queue_scheduled_refreshes_v2()"))


async def remove_old_rows(database: Database) -> Removal:
    """Take one step of maintenance."""
    report = await database.fetchval("select maintain_queue_partitions_v2()")
    rows = {kind: report[kind] for kind in ("completed", "failed", "attempts") if kind in report}
    return Removal(rows, report["more"], report["not_done"])
