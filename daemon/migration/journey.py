"""The two ways of a data type: over to refreshd, and back. Each is a row of steps, safe to take again at any point."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from daemon import crash_points
from daemon.contracts import RefreshdError
from daemon.migration.old_jobs import OldJobs, run_command, written
from daemon.store.moves import Begun, HandedBack, Steps

LOOK_SECONDS = 0.5
MARGIN_SECONDS = 3.0
"""By how much a hold outlasts the look that renews it."""
LONGEST_CLAIM_SECONDS = 15.0
"""After so long whoever has read the flags is no claim: the daemon gives one up after six."""
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
    is_seen = any(job["kind"] == "pg_cron" for job in jobs)
    begun = await steps.begin(data_type, baseline, jobs, max(hold_seconds, MARGIN_SECONDS if is_seen else 0.0))
    crash_points.reached("move_begun")
    tell(f"{data_type} has moved over: {begun.symbols:,} symbols with what is known of them, old job paused, flag on")
    await _let_old_runs_end(steps, data_type, jobs, begun, hold_seconds, tell)
    crash_points.reached("move_held")
    if queued := await steps.queue_stale():
        tell(f"queued what is viewed and stale: {queued:,} jobs")
    return begun.symbols


async def _let_old_runs_end(
    steps: Steps, data_type: str, jobs: OldJobs, begun: Begun, hold_seconds: float, tell: Tell
) -> None:
    """Hold the type until ``hold_seconds`` are over and no run of an old job is seen; it never ends in between."""
    if hold_seconds:
        tell(f"nothing of it is fetched for {hold_seconds:g} s, in which a run of the old job can still end")
    loop = asyncio.get_running_loop()
    began = loop.time()
    while True:
        running = await steps.running_old_jobs(jobs)
        left = began + hold_seconds - loop.time()
        if not running and left <= 0:
            break
        if running and left < -LONGEST_OLD_RUN_SECONDS:
            tell(f"{running} runs of the old job do not end: they are waited for no longer")
            break
        if running and left < MARGIN_SECONDS:
            await steps.hold(data_type, begun, 2 * MARGIN_SECONDS)
        await asyncio.sleep(LOOK_SECONDS if running else min(LOOK_SECONDS, left))
    await steps.hold(data_type, begun, 0)


async def roll_back(
    steps: Steps,
    data_type: str,
    *,
    tell: Tell,
    confirm: Confirm,
    entry: Mapping[str, Any] | None = None,
    is_resumed: bool = False,
    drain_seconds: float = DRAIN_SECONDS,
) -> HandedBack:
    """Give a type back to the old system. Needs no daemon.

    Args:
        steps: The operator's.
        data_type: The type.
        tell: Gets what happens, line by line.
        confirm: Asks whether a manual step is done.
        entry: What the file of old jobs says of the type now; it wins over what was written down at the start.
        is_resumed: Whether what lies outside the database runs again already.
        drain_seconds: How long jobs that are under way are waited for.

    Raises:
        JourneyError: When jobs are still under way after ``drain_seconds``, or a manual step was not confirmed.
        OldJobError: When a command fails.
        StepRefusedError: When there is nothing to go back from.
    """
    jobs = await steps.begin_rollback(data_type)
    crash_points.reached("rollback_begun")
    tell(f"{data_type} is off: nothing of it is claimed any more")
    await _drain(steps, data_type, drain_seconds)
    crash_points.reached("rollback_drained")
    outside = [job for job in jobs if job["kind"] != "pg_cron"]
    if outside and entry is not None:
        outside = [written(entry)]
    back = await steps.hand_back(data_type, is_resumed_outside=bool(outside))
    crash_points.reached("rollback_handed_back")
    tell(f"stamped {back.stamped_rows:,} rows with when they were last found right")
    if back.problem is not None:
        tell(f"not all rows could be stamped, the old system will fetch more than it must: {back.problem}")
    for job in () if is_resumed else outside:
        await _do(job, "resume", tell, confirm, again=f"refreshd migration rollback {data_type}")
    crash_points.reached("rollback_resumed")
    if outside:
        await steps.end_rollback(data_type)
    for job in jobs:
        if job["kind"] == "pg_cron" and not job["was_active"]:
            tell(f"{job['name']} was not active when {data_type} moved over, and is not woken: see who refreshes it")
    for name in back.not_resumed:
        tell(
            f"pg_cron has no job {name}, or it is another login's: schedule it anew, or wake it as that login"
            f" (select cron.alter_job(...)); nobody refreshes {data_type} until then"
        )
    tell(f"{data_type} is the old system's again")
    return back


async def _drain(steps: Steps, data_type: str, drain_seconds: float) -> None:
    """Wait for claims that saw the flag on, then for the jobs that they took."""
    loop = asyncio.get_running_loop()
    readers = await steps.flag_readers()
    claims_end_at = loop.time() + LONGEST_CLAIM_SECONDS
    while readers and loop.time() < claims_end_at:
        await asyncio.sleep(0.1)
        readers &= await steps.flag_readers()
    ends_at = loop.time() + drain_seconds
    while under_way := await steps.under_way(data_type):
        if loop.time() > ends_at:
            raise JourneyError(
                f"{under_way} jobs of {data_type} are still under way after {drain_seconds:g} s, so the old job stays"
                f" paused: look at `refreshd jobs list`, then run `refreshd migration rollback {data_type}` again"
            )
        await asyncio.sleep(LOOK_SECONDS)


async def _do(job: Any, what: str, tell: Tell, confirm: Confirm, *, again: str) -> None:
    """Pause or resume one job outside the database."""
    if job["kind"] == "command":
        tell(f"running `{job[what]}`")
        await asyncio.to_thread(run_command, job[what])
    elif not confirm(f"{what} by hand: {job['manual']}. Is that done?"):
        raise JourneyError(f"{what} {job['manual']}, then run `{again}` again")
