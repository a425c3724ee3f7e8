"""A stand-in for pg_cron's scheduler, on the tables of ``cron.sql``."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg

from daemon.schedule import next_firing
from devstack.postgres_binaries import candidate_folders, is_usable

INTERFACE = Path(__file__).with_name("cron.sql")
LOOK_SECONDS = 0.1
PG_CRON = {
    "shared_preload_libraries": "pg_cron",
    "cron.database_name": "postgres",
    "cron.use_background_workers": "on",
    "max_worker_processes": "40",
}
"""Lines of postgresql.conf with which pg_cron works: without them it would need a password for each job."""

_SECONDS = re.compile(r"(\d+) seconds?")
_BEGIN = """
insert into cron.job_run_details (jobid, database, username, command, status, start_time)
values ($1, current_database(), current_user, $2, 'running', clock_timestamp()) returning runid
"""
_END = "update cron.job_run_details set status = $2, return_message = $3, end_time = clock_timestamp() where runid = $1"


def find_pg_cron() -> Path | None:
    """Return the folder of the programs of a PostgreSQL that has pg_cron; None where there is none."""
    for folder in candidate_folders():
        if is_usable(folder) and any((folder.parent / name / "pg_cron.so").is_file() for name in ("lib", "lib64")):
            return folder
    return None


class CronStandIn:
    """Runs jobs when their schedules fire.

    Args:
        url: The database that has the interface.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._due: dict[int, datetime] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Look for jobs that are due, again and again."""
        connection = await asyncpg.connect(self._url)
        try:
            while not stop.is_set():
                for job in await connection.fetch("select jobid, schedule, command from cron.job where active"):
                    await self._look(connection, job["jobid"], job["schedule"], job["command"])
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            await connection.close()

    async def _look(
        self, connection: asyncpg.Connection[asyncpg.Record], job: int, schedule: str, command: str
    ) -> None:
        now = datetime.now(UTC)
        due = self._due.setdefault(job, _next(schedule, now))
        if due > now:
            return
        self._due[job] = _next(schedule, now)
        run = await connection.fetchval(_BEGIN, job, command)
        try:
            await connection.execute(command)
        except asyncpg.PostgresError as error:
            await connection.execute(_END, run, "failed", str(error))
        else:
            await connection.execute(_END, run, "succeeded", "1 row")


def _next(schedule: str, now: datetime) -> datetime:
    match = _SECONDS.fullmatch(schedule)
    return now + timedelta(seconds=int(match[1])) if match else next_firing(schedule, now)
