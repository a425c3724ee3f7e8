"""The two ways of a data type: over to refreshd, and back. Each is a row of steps, safe to take again at any point."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from daemon import crash_points
from daemon.contracts import RefreshdError
from daemon.migration.old_jobs import OldJobs, run_command
from daemon.store.moves import Steps

LOOK_SECONDS = 0.5
LONGEST_OLD_RUN_SECONDS = 1_800.0
"""How long a run of an old job is waited for at most."""
DRAIN_SECONDS = 90.0
"""How long jobs of a type that goes back are waited for: a lease lasts 30 s, and a call 10."""

Tell = Callable[[str], None]
Confirm = Callable[[str], bool]
"""Asks a person whether something was done."""


class JourneyError(RefreshdError):
    """A step has to wait; the message says for what, and what to run then."""


async def start(
    steps: Steps,
    data_type: str,
    jobs: OldJobs,
    *,
    baseline: str | None,
    hold_seconds: float,
    tell: Tell,
    confirm: Confirm,
) -> int:
    """Move a type over; return the number of symbols whose state was taken over.

    What lies outside the database is paused first, and written down before. One transaction then pauses pg_cron's
    jobs, takes over what is known, and turns the flag on. For ``hold_seconds``, and while a run of an old job goes
    on, nothing is fetched.

    Raises:
        JourneyError: When a manual step was not confirmed.
        OldJobError: When a command fails.
        StepRefusedError: When the type is in another phase.
    """
    outside = [job for job in jobs if job["kind"] != "pg_cron"]
    if outside:
        await steps.pausing(data_type, jobs)
        crash_points.reached("move_pausing")
        for job in outside:
            await _do(job, "pause", tell, confirm, again=f"refreshd migration start {data_type}")
        crash_points.reached("move_paused")
    symbols = await steps.begin(data_type, baseline, jobs, hold_seconds)
    crash_points.reached("move_begun")
    tell(f"{data_type} has moved over: {symbols:,} symbols with what is known of them, old job paused, flag on")
    await _let_old_runs_end(steps, data_type, jobs, hold_seconds, tell)
    crash_points.reached("move_held")
    if queued := await steps.queue_stale():
        tell(f"queued what is viewed and stale: {queued:,} jobs")
    return symbols


async def _let_old_runs_end(steps: Steps, data_type: str, jobs: OldJobs, hold_seconds: float, tell: Tell) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    if hold_seconds:
        tell(f"nothing of it is fetched for {hold_seconds:g} s, in which a run of the old job can still end")
    await asyncio.sleep(hold_seconds)
    while running := await steps.running_old_jobs(jobs):
        if loop.time() - began > LONGEST_OLD_RUN_SECONDS:
            tell(f"{running} runs of the old job do not end: they are waited for no longer")
            break
        await steps.hold(data_type, max(hold_seconds, 5 * LOOK_SECONDS))
        await asyncio.sleep(LOOK_SECONDS)
    await steps.hold(data_type, 0)


async def roll_back(
    steps: Steps, data_type: str, *, tell: Tell, confirm: Confirm, drain_seconds: float = DRAIN_SECONDS
) -> int:
    """Give a type back to the old system; return the number of rows that were stamped. Needs no daemon.

    Raises:
        JourneyError: When jobs are still under way after ``drain_seconds``, or a manual step was not confirmed.
        OldJobError: When a command fails.
        StepRefusedError: When there is nothing to go back from.
    """
    jobs = await steps.begin_rollback(data_type)
    crash_points.reached("rollback_begun")
    tell(f"{data_type} is off: nothing of it is claimed any more")
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + drain_seconds
    while under_way := await steps.under_way(data_type):
        if loop.time() > ends_at:
            raise JourneyError(
                f"{under_way} jobs of {data_type} are still under way after {drain_seconds:g} s, so the old job stays"
                f" paused: look at `refreshd jobs list`, then run `refreshd migration rollback {data_type}` again"
            )
        await asyncio.sleep(LOOK_SECONDS)
    crash_points.reached("rollback_drained")
    outside = [job for job in jobs if job["kind"] != "pg_cron"]
    rows = await steps.hand_back(data_type, is_resumed_outside=bool(outside))
    crash_points.reached("rollback_handed_back")
    tell(f"stamped {rows:,} rows with when they were last found right")
    for job in outside:
        await _do(job, "resume", tell, confirm, again=f"refreshd migration rollback {data_type}")
    crash_points.reached("rollback_resumed")
    if outside:
        await steps.end_rollback(data_type)
    tell(f"{data_type} is the old system's again")
    return rows


async def _do(job: Any, what: str, tell: Tell, confirm: Confirm, *, again: str) -> None:
    """Pause or resume one job outside the database."""
    if job["kind"] == "command":
        tell(f"running `{job[what]}`")
        await asyncio.to_thread(run_command, job[what])
    elif not confirm(f"{what} by hand: {job['manual']}. Is that done?"):
        raise JourneyError(f"{what} {job['manual']}, then run `{again}` again")
