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
from daemon.migration.phases import ORDER
from daemon.settings import load_database_settings
from daemon.store.finalize import Ending, FinalPlan, obstacles_in_words
from daemon.store.finalize import finalize as finalize_names
from daemon.store.schema import load_schema

KINDS = ("table", "view", "function", "constraint", "index", "sequence")


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

    ending = Ending(operator_name(), why, ORDER, leave, set_aside, dry_run)
    with working("looking" if dry_run else "renaming"):
        plan = asyncio.run(finalize_names(url, load_schema(), ending))
    is_blocked = bool(plan.obstacles) and not set_aside
    if as_json:
        echo_json({"done": yes, **asdict(plan)})
    else:
        _show(plan, is_done=yes, is_blocked=is_blocked)
    raise SystemExit(1 if is_blocked else 0)


def _show(plan: FinalPlan, *, is_done: bool, is_blocked: bool) -> None:
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
    for what, names in (
        ("outside the database, to be taken away by hand", plan.outside),
        ("functions of others that have old names in them, to be mended by their owners", plan.foreign),
    ):
        if names:
            click.echo(f"{what}: {', '.join(map(safe, names))}")
    if is_blocked:
        click.echo(obstacles_in_words(plan))
        return
    for obstacle in plan.obstacles:
        click.echo(f"set aside: {safe(obstacle.what)}")
    if is_done:
        click.echo(
            f"done: {len(plan.renamings)} names have no suffix any more. Running daemons find them by themselves"
        )
    else:
        click.echo("nothing was changed: all of it was tried and taken back; do it with --yes")
