"""``refreshd jobs``."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from daemon.cli.display import cut_text, echo_fields, echo_json, new_table, rough_duration, safe
from daemon.contracts import Lane, type_flag
from daemon.settings import load_database_settings
from daemon.store.database import Database
from daemon.store.jobs import (
    SEARCHED,
    SHORTEST_PREFIX,
    STATUSES,
    BoundedCount,
    JobFilter,
    JobIdError,
    JobList,
    JobName,
    cancel_job,
    find_job,
    list_jobs,
    read_job,
    retry_job,
)
from daemon.store.migrate import check_version
from daemon.store.registry import read_type

Change = Callable[[Database, UUID], Awaitable[str]]
"""Changes a job and returns the verdict of the SQL function."""

LONGEST_ERROR = 200
"""Characters of an error in a list; `refreshd jobs show` has all of it."""

_FINISHED = {"failed", "completed"}
_CONDITIONS = {"processing": "lease, holder", "pending": "waits", "failed": "error", "completed": "outcome"}


@click.group()
def jobs() -> None:
    """List the jobs of the queue, look at one, try failed ones again, cancel open ones.

    An ID may be shortened to its first 8 digits or more, as long as it stands for one job.
    """


@jobs.command("list")
@click.option("--status", type=click.Choice(STATUSES), help="Only these.")
@click.option("--type", "data_type", metavar="TYPE", help="Only of this data type.")
@click.option("--symbol", help="Only of this symbol.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="How many at most.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_obj
def list_some(
    env_file: Path | None,
    *,
    status: str | None,
    data_type: str | None,
    symbol: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """List jobs: first those that run, those that wait (in the order of claims), and then failed and completed ones.

    Processing jobs are in the order in which their leases end, failed and completed ones newest first.
    """
    wanted = JobFilter(status, data_type, symbol)

    async def read() -> JobList:
        async with _owner(env_file) as database:
            await check_version(database)
            if data_type is not None:
                await read_type(database, data_type)
            return await list_jobs(database, wanted, limit)

    found = asyncio.run(read())
    if as_json:
        named = [{**row, "lane_name": _lane(row)} for row in found.jobs]
        echo_json({"totals": found.totals, "jobs": named, "more": found.more})
    else:
        _print_list(found, wanted)


@jobs.command()
@click.argument("job_id", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_obj
def show(env_file: Path | None, job_id: str, *, as_json: bool) -> None:
    """Show everything about one job, and what is known of its pair."""

    async def read() -> tuple[Mapping[str, Any], Mapping[str, Any] | None]:
        async with _owner(env_file) as database:
            await check_version(database)
            job = await find_job(database, job_id)
            found = await read_job(database, job.id)
            if found is None:
                raise JobIdError(f"the job {job.id} has just been removed")
            return found

    job, state = asyncio.run(read())
    if as_json:
        echo_json({"job": {**job, "lane_name": _lane(job)}, "state": state})
        return
    echo_fields({**job, "lane": f"{job['lane']} ({_lane(job)})"})
    click.echo()
    if state is None:
        click.echo("the pair has no row in refresh_state_v2")
    else:
        click.echo("the pair, in refresh_state_v2:")
        echo_fields({f"  {name}": value for name, value in state.items()})


@jobs.command()
@click.argument("job_ids", nargs=-1, required=True, metavar="ID...")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_obj
def retry(env_file: Path | None, job_ids: Sequence[str], *, as_json: bool) -> None:
    """Queue failed jobs again, as fresh ones. Exit code 1 where one could not be."""
    _change(env_file, job_ids, retry_job, as_json=as_json)


@jobs.command()
@click.argument("job_ids", nargs=-1, required=True, metavar="ID...")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_obj
def cancel(env_file: Path | None, job_ids: Sequence[str], *, as_json: bool) -> None:
    """End open jobs as failed; what runs already changes nothing any more. Exit code 1 where one could not be.

    The pair is not refreshed again before its TTL, or 15 minutes, are over, unless a job is tried again.
    """
    _change(env_file, job_ids, cancel_job, as_json=as_json)


def _change(env_file: Path | None, job_ids: Sequence[str], change: Change, *, as_json: bool) -> None:
    async def write() -> list[_Changed]:
        async with _owner(env_file) as database:
            await check_version(database)
            return [await _change_one(database, job_id, change) for job_id in job_ids]

    changed = asyncio.run(write())
    if as_json:
        echo_json([each._asdict() for each in changed])
    else:
        for each in changed:
            click.echo(each.text, err=not each.done)
    if not all(each.done for each in changed):
        sys.exit(1)


class _Changed(NamedTuple):
    job: str
    done: bool
    text: str


async def _change_one(database: Database, job_id: str, change: Change) -> _Changed:
    """Change one job and return what came of it."""
    try:
        job = await find_job(database, job_id)
    except JobIdError as error:
        return _Changed(job_id, False, safe(str(error)))
    verdict = await change(database, job.id)
    text = f"{job.id} {safe(job.symbol)} {safe(job.data_type)}: {_meaning(verdict, job)}"
    return _Changed(str(job.id), verdict in {"queued", "cancelled"}, text)


def _meaning(verdict: str, job: JobName) -> str:
    """Return what a verdict of the SQL functions means for a job."""
    flags = f"use_queue_system and {type_flag(job.data_type)}"
    meanings = {
        "queued": "queued again",
        "cancelled": "cancelled",
        "open": "stays failed: the pair has an open job already",
        "off": f"stays failed: flags are off, {flags} must be on",
        "not_allowed": "stays failed: the data type is not in the registry any more, or the symbol is not active",
        "not_failed": f"is {job.status}: only failed jobs can be tried again",
        "not_open": f"is {job.status}: only pending and processing jobs can be cancelled",
    }
    return meanings.get(verdict, "is gone")


def _print_list(found: JobList, wanted: JobFilter) -> None:
    console = Console()
    totals = ", ".join(f"{status} {_bounded(count)}" for status, count in found.totals.items())
    console.print(f"in the queue: {totals}", highlight=False, soft_wrap=True)
    for status in STATUSES:
        rows = [row for row in found.jobs if row["status"] == status]
        if rows:
            console.print(f"\n{status}", style="bold")
            console.print(_table(status, rows))
    if not found.jobs:
        console.print("\nno such jobs" if wanted != JobFilter() else "\nno jobs")
    if found.more.count:
        console.print(f"\nand {_bounded(found.more)} more")
    if _is_search_cut(found, wanted):
        console.print(f"only the newest {SEARCHED:,} jobs of a status were searched", highlight=False)


def _is_search_cut(found: JobList, wanted: JobFilter) -> bool:
    filtered = wanted.data_type is not None or wanted.symbol is not None
    return filtered and any(not found.totals[status].exact for status in _FINISHED if wanted.status in {None, status})


def _table(status: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    age = "ended" if status in _FINISHED else "age"
    right = ("prio", age, "retries")
    last = _CONDITIONS[status]
    table = new_table(("id", "symbol", "type", "lane", *right, last), right=right, yielding=last)
    for row in rows:
        cells = (
            str(row["id"])[:SHORTEST_PREFIX],
            row["symbol"],
            row["data_type"],
            _lane(row),
            str(row["priority"]),
            rough_duration(row["age_seconds"]),
            str(row["retry_count"]),
        )
        table.add_row(*(Text(safe(cell)) for cell in cells), cut_text(_condition(row)))
    return table


def _condition(row: Mapping[str, Any]) -> str:
    """Return what matters most of a job in its status."""
    match row["status"]:
        case "processing":
            left = row["lease_seconds"]
            return f"{rough_duration(left) if left > 0 else 'expired'}, {row['claimed_by']}"
        case "pending":
            waits = f"{rough_duration(row['wait_seconds'])} more" if row["wait_seconds"] > 0 else "for a slot"
            return f"{waits}, after {row['error_message']}"[:LONGEST_ERROR] if row["error_message"] else waits
        case "failed":
            return (row["error_message"] or "-")[:LONGEST_ERROR]
        case _:
            return row["outcome"] or "-"


def _lane(row: Mapping[str, Any]) -> str:
    return Lane(row["lane"]).name.lower().replace("_", " ")


def _bounded(count: BoundedCount) -> str:
    return f"{count.count:,}" if count.exact else f"more than {count.count:,}"


def _owner(env_file: Path | None) -> Database:
    return Database(
        load_database_settings(env_file).owner_database_url.get_secret_value(), application_name="refreshd jobs"
    )
