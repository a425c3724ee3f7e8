"""``refreshd migration finalize``: the end of the suffix."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from daemon import crash_points
from daemon.cli.display import echo_json, safe, working
from daemon.cli.operator_name import operator_name
from daemon.contracts import RefreshdError
from daemon.migration.phases import ORDER
from daemon.settings import load_database_settings
from daemon.store.finalize import FinalPlan, obstacles_in_words, plan_final
from daemon.store.finalize import finalize as finalize_names
from daemon.store.moves import is_finalized, list_moves
from daemon.store.owner import owner_connection
from daemon.store.schema import load_schema

KINDS = ("table", "view", "function", "constraint", "index", "sequence")


class NotAllFinishedError(RefreshdError):
    """Types are not finished; the message names them."""


class AlreadyFinalError(RefreshdError):
    """There is nothing left to do."""


@click.command()
@click.option("--dry-run", is_flag=True, help="Say what would be renamed and dropped; change nothing.")
@click.option("--yes", is_flag=True, help="Do it.")
@click.option("--leave", multiple=True, metavar="TYPE", help="A type that stays switched off; several times.")
@click.option("--set-aside", is_flag=True, help="Rename what has one of the names to NAME_old.")
@click.option("--why", default="", help="The reason, for the journal.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_obj
def finalize(
    env_file: Path | None,
    *,
    dry_run: bool,
    yes: bool,
    leave: Sequence[str],
    set_aside: bool,
    why: str,
    as_json: bool,
) -> None:
    """Take `_v2` from every name, drop the flags of moved types and the paused jobs of pg_cron. There is no way back.

    One transaction, under a daemon that runs on: it finds the new names by itself. All types have to be finished.
    """
    if dry_run == yes:
        raise click.UsageError("either --dry-run or --yes")
    crash_points.arm_from_environment()
    url = load_database_settings(env_file).owner_database_url.get_secret_value()

    async def work() -> FinalPlan:
        await _insist(url, leave)
        if dry_run:
            return await plan_final(url, load_schema())
        return await finalize_names(url, load_schema(), who=operator_name(), why=why, set_aside=set_aside)

    with working("looking" if dry_run else "renaming"):
        plan = asyncio.run(work())
    if as_json:
        echo_json({"done": yes, **asdict(plan)})
    else:
        _show(plan, is_done=yes)
    if dry_run and plan.obstacles and not set_aside:
        raise SystemExit(1)


async def _insist(url: str, leave: Sequence[str]) -> None:
    async with owner_connection(url) as owner:
        if await is_finalized(owner):
            raise AlreadyFinalError("the migration is finalized already")
        moves = {move.data_type: move for move in await list_moves(owner)}
    if unknown := [name for name in leave if name not in moves]:
        raise NotAllFinishedError(f"there is no data type {', '.join(unknown)}; there are {', '.join(moves)}")
    if on := [name for name in leave if moves[name].flag_is_on]:
        raise NotAllFinishedError(f"{', '.join(on)} cannot be left: switched on. Turn the flag off, or finish the move")
    open_types = [
        f"{name} ({move.phase})"
        for name, move in moves.items()
        if move.phase != "finished" and name not in leave and (name in ORDER or move.phase != "old")
    ]
    if open_types:
        raise NotAllFinishedError(
            f"not finished: {', '.join(open_types)}. See `refreshd migration status`; --leave TYPE if one stays off"
        )


def _show(plan: FinalPlan, *, is_done: bool) -> None:
    counts = Counter(each.kind for each in plan.renamings)
    for kind in () if is_done else ("table", "view", "function"):
        for each in plan.renamings:
            if each.kind == kind:
                click.echo(f"{kind} {safe(each.before)} -> {safe(each.after)}")
    click.echo(f"in all: {', '.join(f'{counts[kind]} {kind} names' for kind in KINDS if counts[kind])}")
    for what, names in (
        ("flags dropped", plan.flags),
        ("old jobs dropped", plan.old_jobs),
        ("jobs of pg_cron that call the new names", plan.changed_jobs),
    ):
        click.echo(f"{what}: {', '.join(map(safe, names)) or 'none'}")
    if is_done:
        for obstacle in plan.obstacles:
            click.echo(f"set aside: {safe(obstacle.what)}")
        click.echo(
            f"done: {len(plan.renamings)} names have no suffix any more. Running daemons find them by themselves"
        )
    elif plan.obstacles:
        click.echo(safe(obstacles_in_words(plan)).replace("\\n", "\n"))
    else:
        click.echo("nothing was changed; do it with --yes")
