"""``refreshd migration start``: what is looked at before a data type moves over, and the move."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from daemon import crash_points
from daemon.assembly import UPSTREAM
from daemon.cli.check import Finding, probe_upstream
from daemon.cli.display import echo_json, safe
from daemon.cli.flags import RELOAD_HINT
from daemon.cli.operator_name import operator_name
from daemon.contracts import CallRefusedError, Flags, RefreshdError
from daemon.fetchers.plug_ins import load_fetchers
from daemon.migration import journey, old_jobs
from daemon.migration.gates import MOST_OF_BYTES
from daemon.migration.phases import ORDER, in_order
from daemon.settings import Settings, load_settings
from daemon.store.baselines import Baseline, BaselineError, CronMeasure, read_baseline, read_cron
from daemon.store.budgets import read_limits, read_verdict
from daemon.store.database import Database
from daemon.store.flags import read_flags
from daemon.store.migrate import check_version
from daemon.store.moves import Move, Steps, list_moves, read_move
from daemon.store.owner import Owner, owner_connection
from daemon.store.queue_state import read_queue_state


@dataclass(frozen=True, slots=True)
class Asked:
    """What the operator asked for."""

    data_type: str
    cron: Sequence[str]
    no_old_job: bool
    baseline: str | None
    hold_seconds: float


@dataclass(frozen=True, slots=True)
class Looked:
    """What was found before the move."""

    findings: Sequence[Finding]
    jobs: old_jobs.OldJobs
    baseline: Baseline | None

    @property
    def is_ready(self) -> bool:
        """Whether nothing speaks against it."""
        return all(finding.ok for finding in self.findings)


@click.command()
@click.argument("data_type", metavar="TYPE")
@click.option("--cron", multiple=True, metavar="JOB", help="The old job of pg_cron, by name or number; several times.")
@click.option("--no-old-job", is_flag=True, help="Nothing else refreshes this type.")
@click.option("--baseline", "baseline_name", metavar="NAME", help="What it is compared with; the newest without it.")
@click.option("--hold", type=click.FloatRange(0), metavar="SECONDS", help="How long a run of the old job can go on.")
@click.option("--why", default="", help="The reason, for the journal.")
@click.option("--yes", is_flag=True, help="Manual steps are done already: do not ask.")
@click.option("--force", is_flag=True, help="Move over whatever the preflight says; wants --why.")
@click.option("--dry-run", is_flag=True, help="The preflight alone: change nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_obj
def start(
    env_file: Path | None,
    data_type: str,
    *,
    cron: Sequence[str],
    no_old_job: bool,
    baseline_name: str | None,
    hold: float | None,
    why: str,
    yes: bool,
    force: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Move TYPE over: preflight, then in one transaction the old job paused, its state taken over, and the flag on.

    The preflight looks at registry, table, fetcher, key (one call to the upstream), budgets, flags, daemon, baseline
    and the old job. Of the old job, pg_cron is asked; REFRESHD_OLD_JOBS_FILE names what is elsewhere.
    """
    if force and not why:
        raise click.UsageError("--force wants --why: it is written into the journal")
    if cron and no_old_job:
        raise click.UsageError("--cron and --no-old-job exclude each other")
    settings = load_settings(env_file)
    crash_points.arm(settings.crash_point)
    seconds = settings.migration_hold_seconds if hold is None else hold
    asked = Asked(data_type, cron, no_old_job, baseline_name, seconds)
    tell = _quiet if as_json else click.echo

    async def work() -> tuple[Looked, int | None]:
        url = settings.owner_database_url.get_secret_value()
        async with owner_connection(url) as owner:
            looked = await _look(owner, settings, asked)
            for finding in looked.findings:
                tell(f"{'ok  ' if finding.ok else 'FAIL'}  {finding.subject:<10} {safe(finding.text)}")
            if dry_run or not (looked.is_ready or force):
                return looked, None
            steps = Steps(owner, operator_name(), why)
            name = looked.baseline.name if looked.baseline else None
            symbols = await journey.start(
                steps,
                data_type,
                looked.jobs,
                baseline=name,
                hold_seconds=seconds,
                tell=tell,
                confirm=lambda question: yes or click.confirm(question),
            )
            return looked, symbols

    looked, symbols = asyncio.run(work())
    if as_json:
        document = {"data_type": data_type, "started": symbols is not None, "symbols": symbols}
        echo_json({**document, "preflight": [asdict(finding) for finding in looked.findings]})
    elif symbols is not None:
        click.echo(f"watch it: refreshd migration status {data_type}")
        click.echo(f"go back at any moment: refreshd migration rollback {data_type}")
        click.echo(RELOAD_HINT, err=True)
    elif not looked.is_ready:
        click.echo("nothing was changed: mend what FAILed, or use --force with --why")
    else:
        click.echo("nothing was changed: this was the preflight alone")
    sys.exit(0 if looked.is_ready or symbols is not None else 1)


def _quiet(_text: str) -> None:
    """Say nothing: all of it is printed together."""


async def _look(owner: Owner, settings: Settings, asked: Asked) -> Looked:
    """Look at everything that a move needs; no finding keeps another from being made."""
    url = settings.database_url.get_secret_value()
    async with Database(url, application_name="refreshd migration") as database:
        await check_version(database)
        move = await read_move(owner, asked.data_type)
        findings = [
            Finding("registry", True, f"fetcher {move.fetcher}, table {move.table_name}, {move.refresh_strategy}"),
            *_phase(move, await list_moves(owner)),
            await _table(owner, move),
            _fetcher(move),
        ]
        jobs, job_findings = await _old_jobs(owner, settings, asked, move)
        recorded, baseline_finding = await _baseline(owner, asked)
        findings += [*job_findings, baseline_finding]
        findings += await _budgets(database)
        findings += _flags(await read_flags(database), move)
        findings += await _key(settings, database)
    return Looked(findings, jobs, recorded)


def _phase(move: Move, moves: Sequence[Move]) -> list[Finding]:
    findings = []
    if move.phase not in {"old", "pausing", "rolled_back"}:
        text = f"is {move.phase} already: see `refreshd migration journal {move.data_type}`"
        findings.append(Finding("phase", False, text))
    earlier = [each.data_type for each in in_order(moves) if each.phase in {"old", "rolled_back"}]
    if move.data_type in ORDER and earlier and earlier[0] != move.data_type and earlier[0] in ORDER:
        findings.append(Finding("order", True, f"note: {earlier[0]} would come first in the plan's order"))
    return findings


async def _table(owner: Owner, move: Move) -> Finding:
    try:
        found = await owner.fetchrow("select * from measure_type_v2($1)", move.data_type)
    except RefreshdError as error:
        return Finding("table", False, f"{move.table_name} cannot be read as the registry says: {error}")
    assert found is not None
    return Finding("table", True, f"{move.table_name}: {found['table_rows']:,} rows of {found['symbols']:,} symbols")


def _fetcher(move: Move) -> Finding:
    if move.fetcher in load_fetchers().fetchers:
        return Finding("fetcher", True, f"{move.fetcher} is there")
    return Finding(
        "fetcher", False, f"neither this version nor a plug-in has {move.fetcher}: its jobs would wait for ever"
    )


async def _old_jobs(
    owner: Owner, settings: Settings, asked: Asked, move: Move
) -> tuple[old_jobs.OldJobs, list[Finding]]:
    if asked.no_old_job:
        return [], [Finding("old job", True, "none, as you say")]
    moves = await list_moves(owner)
    cron = await read_cron(owner)
    entries = _entries(settings, moves)
    try:
        jobs = old_jobs.find(move.data_type, move.table_name, cron, named=asked.cron, entry=entries.get(move.data_type))
    except old_jobs.OldJobError as error:
        return [], [Finding("old job", False, str(error))]
    shared = old_jobs.shared(move.data_type, jobs, _of_others(move, moves, cron, entries))
    if shared:
        text = (
            f"{old_jobs.in_words(jobs)} refreshes {', '.join(shared)} as well, which would stop: split it in two first"
        )
        return jobs, [Finding("old job", False, text)]
    return jobs, [Finding("old job", True, old_jobs.in_words(jobs))]


def _entries(settings: Settings, moves: Sequence[Move]) -> Mapping[str, Mapping[str, Any]]:
    if not settings.old_jobs_file:
        return {}
    return old_jobs.read_file(Path(settings.old_jobs_file), [move.data_type for move in moves])


def _of_others(
    move: Move,
    moves: Sequence[Move],
    cron: Sequence[CronMeasure] | None,
    entries: Mapping[str, Mapping[str, Any]],
) -> Mapping[str, old_jobs.OldJobs]:
    """Return the old jobs of all other types that are still the old system's."""
    others: dict[str, old_jobs.OldJobs] = {}
    for other in moves:
        if other.data_type == move.data_type or other.phase not in {"old", "rolled_back"}:
            continue
        try:
            others[other.data_type] = old_jobs.find(
                other.data_type, other.table_name, cron, entry=entries.get(other.data_type)
            )
        except old_jobs.OldJobError:
            continue  # it will be told when that type moves
    return others


async def _baseline(owner: Owner, asked: Asked) -> tuple[Baseline | None, Finding]:
    try:
        found = await read_baseline(owner, asked.baseline)
    except BaselineError as error:
        return None, Finding("baseline", False, str(error))
    before = found.measure.of(asked.data_type)
    share = before.fresh_share if before else None
    text = f"{found.name} of {found.recorded_at:%Y-%m-%d %H:%M} UTC"
    return found, Finding("baseline", True, text if share is None else f"{text}, {share:.1%} fresh")


async def _budgets(database: Database) -> list[Finding]:
    limits = await read_limits(database, UPSTREAM)
    if limits is None:
        text = "none has announced its limits: nobody would refresh this (systemctl start refreshd)"
        return [Finding("daemon", False, text)]
    row = next(row for row in (await read_queue_state(database)).upstreams if row["upstream"] == UPSTREAM)
    share = row["bytes_in_30_days"] / limits.bytes_per_30_days
    calls = f"{row['calls_in_window']:,} of {limits.calls_per_minute:,} calls a minute"
    text = f"{calls}, {share:.0%} of the bytes of 30 days"
    return [
        Finding("daemon", True, "runs"),
        Finding("budgets", share < MOST_OF_BYTES, text if share < MOST_OF_BYTES else f"{text}: no headroom"),
    ]


def _flags(flags: Flags, move: Move) -> list[Finding]:
    needed = {"use_queue_system": flags.use_queue_system}
    if move.refresh_strategy == "on-demand":
        needed["use_presence_tracking"] = flags.use_presence_tracking
    if off := [name for name, is_on in needed.items() if not is_on]:
        text = f"off, and nothing is refreshed without: refreshd flags on {' '.join(off)}"
        return [Finding("flags", False, text)]
    return [Finding("flags", True, f"{', '.join(needed)} on")]


async def _key(settings: Settings, database: Database) -> list[Finding]:
    """Try the key with a call; where none may be made just now, say so: the old system may spend the same minute."""
    verdict = await read_verdict(database, UPSTREAM)
    if verdict.held_by is not None and "breaker" in verdict.held_by:
        return [Finding("key", False, f"calls are held by the breaker: {verdict.reason}")]
    try:
        return await probe_upstream(settings, database)
    except CallRefusedError as error:
        return [Finding("key", True, f"not tried: {error}")]
    except RefreshdError as error:
        return [Finding("key", False, str(error))]
