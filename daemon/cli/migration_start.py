"""``refreshd migration start``: the preflight, and the move."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from daemon import crash_points
from daemon.cli.display import echo_json, safe, shown
from daemon.cli.flags import RELOAD_HINT
from daemon.cli.migration_preflight import Asked, Looked, look
from daemon.cli.operator_name import operator_name
from daemon.migration import journey, old_jobs
from daemon.migration.phases import ON
from daemon.settings import Settings, load_settings
from daemon.store.moves import Move, Steps, read_move
from daemon.store.owner import Owner, owner_connection


@dataclass(frozen=True, slots=True)
class Will:
    """How the operator wants it done."""

    hold_seconds: float | None
    why: str
    is_done_by_hand: bool
    is_forced: bool
    is_dry: bool


@dataclass(frozen=True, slots=True)
class Result:
    """What came of it."""

    moved_before: Move | None = None
    """The type, where it had moved already: nothing was done."""
    looked: Looked | None = None
    symbols: int | None = None


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
    and the old job. Of the old job, pg_cron is asked; REFRESHD_OLD_JOBS_FILE names what is elsewhere. A type that has
    moved already is left as it is.
    """
    if force and not why:
        raise click.UsageError("--force wants --why: it is written into the journal")
    if cron and no_old_job:
        raise click.UsageError("--cron and --no-old-job exclude each other")
    settings = load_settings(env_file)
    crash_points.arm(settings.crash_point)
    asked = Asked(data_type, cron, no_old_job, baseline_name)
    tell = _quiet if as_json else click.echo
    result = asyncio.run(_start(settings, asked, Will(hold, why, yes, force, dry_run), tell))
    if as_json:
        findings = result.looked.findings if result.looked else ()
        document = {"data_type": data_type, "started": result.symbols is not None, "symbols": result.symbols}
        echo_json({**document, "preflight": [asdict(finding) for finding in findings]})
    else:
        _tell_the_end(data_type, result)
    is_well = (
        result.symbols is not None or result.moved_before is not None or not (result.looked and result.looked.failed)
    )
    sys.exit(0 if is_well else 1)


async def _start(settings: Settings, asked: Asked, will: Will, tell: Callable[[str], None]) -> Result:
    async with owner_connection(settings.owner_database_url.get_secret_value()) as owner:
        move = await read_move(owner, asked.data_type)
        if move.phase in ON:
            return Result(moved_before=move)
        looked = await look(owner, settings, asked)
        for finding in looked.findings:
            tell(f"{'ok  ' if finding.ok else 'FAIL'}  {finding.subject:<10} {safe(finding.text)}")
        if will.is_dry or (looked.failed and not will.is_forced):
            return Result(looked=looked)
        return Result(looked=looked, symbols=await _move(owner, settings, asked.data_type, looked, will, tell))


async def _move(
    owner: Owner, settings: Settings, data_type: str, looked: Looked, will: Will, tell: Callable[[str], None]
) -> int:
    why = f"{will.why} (forced, although FAIL: {', '.join(looked.failed)})" if looked.failed else will.why
    wanted = old_jobs.hold_seconds(looked.jobs, settings.migration_hold_seconds)
    return await journey.start(
        Steps(owner, operator_name(), why),
        data_type,
        looked.jobs,
        baseline=looked.baseline.name if looked.baseline else None,
        hold_seconds=wanted if will.hold_seconds is None else will.hold_seconds,
        tell=tell,
        confirm=lambda question: will.is_done_by_hand or click.confirm(question, err=True),
    )


def _tell_the_end(data_type: str, result: Result) -> None:
    if result.moved_before is not None:
        click.echo(
            f"{data_type} has moved over already, at {shown(result.moved_before.started_at)}: nothing was changed"
        )
    elif result.symbols is not None:
        click.echo(f"watch it: refreshd migration status {data_type}")
        click.echo(f"go back at any moment: refreshd migration rollback {data_type}")
        click.echo(RELOAD_HINT, err=True)
    elif result.looked and result.looked.failed:
        click.echo("nothing was changed: mend what FAILed, or use --force with --why")
    else:
        click.echo("nothing was changed: this was the preflight alone")


def _quiet(_text: str) -> None:
    """Say nothing: all of it is printed together."""
