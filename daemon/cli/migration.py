"""``refreshd migration``: where each data type is on its way from the old system."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import click
from rich.console import Console
from rich.text import Text

from daemon.cli.display import echo_json, new_table, rough_duration, safe, shown
from daemon.cli.migration_finalize import finalize
from daemon.cli.migration_start import start
from daemon.cli.migration_steps import finish, rollback
from daemon.migration.gates import BROKEN
from daemon.migration.phases import ORDER, WORDS, flag_problem, in_order, next_step, watch_seconds
from daemon.migration.watch import judge_now
from daemon.settings import DatabaseSettings, load_database_settings
from daemon.store.database import Database
from daemon.store.migrate import check_version
from daemon.store.moves import JournalEntry, Move, is_finalized, list_moves, read_journal


@click.group()
def migration() -> None:
    """Move over from an older system: one data type at a time, back at any moment, and at the end without `_v2`.

    The way of a type: `start`, a watch of a day or two, `finish`; or `rollback`. When all are finished: `finalize`.
    """


for command in (start, rollback, finish, finalize):
    migration.add_command(command)


@migration.command()
@click.argument("data_type", metavar="[TYPE]", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_obj
def status(env_file: Path | None, data_type: str | None, *, as_json: bool) -> None:
    """Show every type (or one) with its phase, since when, its checks as they are now, and what comes next.

    Exit code 1 where a gate is broken, or a step was begun and not ended.
    """
    settings = load_database_settings(env_file)
    moves, is_final = asyncio.run(_read(settings, data_type))
    troubled = any(_is_troubled(move) for move in moves)
    lasts = watch_seconds(settings.migration_watch_hours)
    coming = "nothing: the migration is finalized" if is_final else next_step(moves, lasts)
    if as_json:
        types = [{**asdict(move), "flag_problem": flag_problem(move)} for move in moves]
        echo_json({"finalized": is_final, "next": coming, "types": types})
    else:
        _show(moves, coming, lasts)
    raise SystemExit(1 if troubled else 0)


@migration.command()
@click.argument("data_type", metavar="[TYPE]", required=False)
@click.option("--lines", "-n", default=50, show_default=True, type=click.IntRange(1), help="How many steps, at most.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_obj
def journal(env_file: Path | None, data_type: str | None, *, lines: int, as_json: bool) -> None:
    """Show the steps that were taken (of one type): when, by whom and why, the newest first."""

    async def read() -> list[JournalEntry]:
        url = load_database_settings(env_file).database_url.get_secret_value()
        async with Database(url, application_name="refreshd migration") as database:
            await check_version(database)
            return await read_journal(database, data_type, lines)

    entries = asyncio.run(read())
    if as_json:
        echo_json([asdict(entry) for entry in entries])
        return
    table = new_table(("at", "by", "data type", "step", "why"), yielding="why")
    for entry in entries:
        table.add_row(
            *map(Text, (shown(entry.at), safe(entry.who), shown(entry.data_type), entry.step, shown(entry.why)))
        )
    Console().print(table)


async def _read(settings: DatabaseSettings, data_type: str | None) -> tuple[list[Move], bool]:
    # As the owner, who may see pg_cron's jobs.
    url = settings.owner_database_url.get_secret_value()
    async with Database(url, application_name="refreshd migration") as database:
        await check_version(database)
        moves = await list_moves(database)
        if data_type is not None:
            moves = [move for move in moves if move.data_type == data_type]
            if not moves:
                raise click.BadParameter(f"there is no data type {data_type}", param_hint="TYPE")
        judged = [
            await _judged(database, move, settings.migration_sample_seconds) if move.phase == "watched" else move
            for move in moves
        ]
        return in_order(judged), await is_finalized(database)


async def _judged(database: Database, move: Move, sample_seconds: float) -> Move:
    """Return a watched type with what its gates say now, and as long as it was really watched."""
    judgement = await judge_now(database, move, sample_seconds)
    checks = [asdict(check) for check in judgement.checks]
    return replace(move, checks=checks, watched_seconds=judgement.watched_seconds)


def _is_troubled(move: Move) -> bool:
    is_broken = any(check["state"] == BROKEN for check in move.checks) and move.phase == "watched"
    return is_broken or move.phase in {"pausing", "rolling_back", "resuming"} or flag_problem(move) is not None


def _show(moves: Sequence[Move], coming: str, lasts: float) -> None:
    table = new_table(("", "data type", "phase", "since", "checks"), right=("",), yielding="checks")
    for move in moves:
        number = str(ORDER.index(move.data_type) + 1) if move.data_type in ORDER else ""
        table.add_row(*map(Text, (number, safe(move.data_type), _phase(move), shown(move.since), _checks(move))))
    Console().print(table)
    for move in moves:
        if move.phase == "watched":
            click.echo(f"\n{move.data_type}: {_progress(move, lasts)}")
            for check in move.checks:
                mark = {"ok": "ok  ", "broken": "FAIL", "waiting": "wait"}[check["state"]]
                click.echo(f"  {mark}  {check['name']:<10} {safe(check['text'])}")
        elif problem := flag_problem(move):
            click.echo(f"\n{move.data_type}: {safe(problem)}")
    click.echo(f"\nnext: {coming}")


def _phase(move: Move) -> str:
    is_by_hand = move.phase == "old" and move.flag_is_on
    return "new, by its flag alone" if is_by_hand else WORDS[move.phase]


def _checks(move: Move) -> str:
    counts = Counter(check["state"] for check in move.checks)
    names = ", ".join(check["name"] for check in move.checks if check["state"] == BROKEN)
    if names and move.phase == "watched":
        return f"broken: {names}"
    words = ("ok", "waiting")
    return ", ".join(f"{counts[word]} {word}" for word in words if counts[word]) or "-"


def _progress(move: Move, lasts: float) -> str:
    watched = move.watched_seconds or 0.0
    if watched >= lasts:
        return f"watched for {rough_duration(watched)}, which is long enough"
    return f"watched for {rough_duration(watched)} of {rough_duration(lasts)}"
