"""``refreshd migration rollback`` and ``finish``: the two ends of a watch."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from daemon import crash_points
from daemon.cli.display import echo_json
from daemon.cli.flags import RELOAD_HINT
from daemon.cli.old_job_entries import old_job_entries
from daemon.cli.operator_name import operator_name
from daemon.contracts import ConfigurationError, RefreshdError
from daemon.migration import journey
from daemon.migration.phases import WORDS, in_order, watch_seconds
from daemon.migration.watch import judge_now
from daemon.settings import DatabaseSettings, load_database_settings
from daemon.store.moves import HandedBack, Move, Steps, list_moves, read_move
from daemon.store.owner import Owner, owner_connection


class UnfinishedError(RefreshdError):
    """A type cannot be finished yet; the message says why."""


@click.command()
@click.argument("data_type", metavar="TYPE")
@click.option("--why", default="", help="The reason, for the journal.")
@click.option("--yes", is_flag=True, help="Manual steps are done already: do not ask.")
@click.option(
    "--drain",
    type=click.FloatRange(0),
    default=journey.DRAIN_SECONDS,
    show_default=True,
    metavar="SECONDS",
    help="How long jobs that are under way are waited for.",
)
@click.option("--resumed-by-hand", is_flag=True, help="What is outside the database runs again: run no command.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_obj
def rollback(
    env_file: Path | None,
    data_type: str,
    *,
    why: str,
    yes: bool,
    drain: float,
    resumed_by_hand: bool,
    as_json: bool,
) -> None:
    """Give TYPE back to the old system: flag off, jobs drained, rows stamped, old job resumed.

    Works with the daemon running or down, from every phase, and again where it was interrupted. What is outside the
    database is resumed as REFRESHD_OLD_JOBS_FILE says now, and as it said at the start where it says nothing. Exit code
    1 where an old job of pg_cron is gone, and nobody refreshes the type.
    """
    settings = load_database_settings(env_file)
    crash_points.arm_from_environment()

    async def work() -> HandedBack:
        async with owner_connection(settings.owner_database_url.get_secret_value()) as owner:
            await read_move(owner, data_type)
            entry = await _entry(owner, settings, data_type)
            return await journey.roll_back(
                Steps(owner, operator_name(), why),
                data_type,
                tell=(lambda _text: None) if as_json else click.echo,
                confirm=lambda question: yes or click.confirm(question, err=True),
                entry=entry,
                is_resumed=resumed_by_hand,
                drain_seconds=drain,
            )

    back = asyncio.run(work())
    if as_json:
        echo_json({"data_type": data_type, "rolled_back": True, **asdict(back)})
    else:
        click.echo(RELOAD_HINT, err=True)
    raise SystemExit(1 if back.not_resumed else 0)


async def _entry(owner: Owner, settings: DatabaseSettings, data_type: str) -> Mapping[str, Any] | None:
    """Return how the file resumes a type now; None where it does not say. A mistake in it stops no rollback."""
    try:
        entry = old_job_entries(settings, await list_moves(owner)).get(data_type, {})
    except ConfigurationError as error:
        click.echo(f"note: {error}; old jobs are resumed as they were written down at the start", err=True)
        return None
    return entry if entry.keys() & {"resume", "manual"} else None


@click.command()
@click.argument("data_types", metavar="[TYPE]...", nargs=-1)
@click.option("--all", "all_types", is_flag=True, help="Every type whose watch is over and whose gates hold.")
@click.option("--force", is_flag=True, help="Whatever the watch says; wants --why.")
@click.option("--why", default="", help="The reason, for the journal.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_obj
def finish(
    env_file: Path | None, data_types: Sequence[str], *, all_types: bool, force: bool, why: str, as_json: bool
) -> None:
    """End the watch over TYPE, once it has lasted (REFRESHD_MIGRATION_WATCH_HOURS), no gate is broken and jobs ended.

    The old job stays paused; `finalize` removes it at the very end. Until then there is a way back.
    """
    if bool(data_types) == all_types:
        raise click.UsageError("name the types to finish, or use --all")
    if force and not why:
        raise click.UsageError("--force wants --why: it is written into the journal")
    settings = load_database_settings(env_file)
    finished, left = asyncio.run(_finish(settings, data_types, all_types=all_types, force=force, why=why))
    if as_json:
        echo_json({"finished": finished, "left": left})
    else:
        for name in finished:
            click.echo(f"{name} is finished")
        for name, reason in left.items():
            click.echo(f"{name} is not: {reason}", err=True)
        if all_types and not finished and not left:
            click.echo("no type is watched: nothing to finish")
    raise SystemExit(1 if left else 0)


async def _finish(
    settings: DatabaseSettings, names: Sequence[str], *, all_types: bool, force: bool, why: str
) -> tuple[list[str], dict[str, str]]:
    """Finish what can be; return that, and what cannot be with the reason."""
    finished: list[str] = []
    left: dict[str, str] = {}
    async with owner_connection(settings.owner_database_url.get_secret_value()) as owner:
        if all_types:
            moves = [move for move in in_order(await list_moves(owner)) if move.phase == "watched"]
        else:
            moves = [await read_move(owner, name) for name in names]
        for move in moves:
            try:
                await _finish_one(owner, settings, move, force=force, why=why)
            except RefreshdError as error:
                left[move.data_type] = str(error)
            else:
                finished.append(move.data_type)
    return finished, left


async def _finish_one(owner: Owner, settings: DatabaseSettings, move: Move, *, force: bool, why: str) -> None:
    """End the watch over one type, or raise with what speaks against it; one that is finished stays so."""
    if move.phase == "finished":
        return
    if move.phase != "watched":
        raise UnfinishedError(f"it is not watched, its phase is: {WORDS[move.phase]}")
    lasts = watch_seconds(settings.migration_watch_hours)
    judgement = await judge_now(owner, move, settings.migration_sample_seconds, lasts)
    if judgement.reasons and not force:
        raise UnfinishedError("; ".join(judgement.reasons))
    reason = f"{why} (forced, although {'; '.join(judgement.reasons)})" if judgement.reasons else why
    checks = [asdict(check) for check in judgement.checks]
    await Steps(owner, operator_name(), reason).finish(move.data_type, checks)
