"""``refreshd migration``: where each data type is on its way from the old system."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
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
from daemon.migration.watch import Judgement, judge_now
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

    Exit code 1 where a gate is broken, a step was begun and not ended, or a flag is not as the migration left it.
    """
    settings = load_database_settings(env_file)
    state = asyncio.run(_read(settings, data_type))
    coming = "nothing: the migration is finalized" if state.is_final else next_step(state.moves, state.ready)
    if as_json:
        types = [
            {
                **asdict(move),
                "flag_problem": flag_problem(move),
                "not_finished_since": state.judgements[move.data_type].reasons if move.phase == "watched" else (),
            }
            for move in state.shown
        ]
        echo_json({"finalized": state.is_final, "next": coming, "types": types})
    else:
        _show(state, coming)
    raise SystemExit(1 if any(_is_troubled(move) for move in state.shown) else 0)


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


@dataclass(frozen=True, slots=True)
class _State:
    """Every type, and how the watched ones are judged now."""

    moves: Sequence[Move]
    judgements: Mapping[str, Judgement]
    is_final: bool
    only: str | None
    """The type that was asked for; all where None."""

    @property
    def shown(self) -> list[Move]:
        """Types to be shown."""
        return [move for move in self.moves if self.only in {None, move.data_type}]

    @property
    def ready(self) -> set[str]:
        """Types whose watch can be ended."""
        return {name for name, judgement in self.judgements.items() if not judgement.reasons}


async def _read(settings: DatabaseSettings, data_type: str | None) -> _State:
    # As the owner, who may see pg_cron's jobs.
    url = settings.owner_database_url.get_secret_value()
    lasts = watch_seconds(settings.migration_watch_hours)
    async with Database(url, application_name="refreshd migration") as database:
        await check_version(database)
        moves = await list_moves(database)
        if data_type not in {None, *(move.data_type for move in moves)}:
            raise click.BadParameter(f"there is no data type {data_type}", param_hint="TYPE")
        judgements = {
            move.data_type: await judge_now(database, move, settings.migration_sample_seconds, lasts)
            for move in moves
            if move.phase == "watched"
        }
        moves = [
            replace(move, checks=[asdict(check) for check in judgements[move.data_type].checks])
            if move.data_type in judgements
            else move
            for move in in_order(moves)
        ]
        return _State(moves, judgements, await is_finalized(database), data_type)


def _is_troubled(move: Move) -> bool:
    is_broken = any(check["state"] == BROKEN for check in move.checks) and move.phase == "watched"
    return is_broken or move.phase in {"pausing", "rolling_back", "resuming"} or flag_problem(move) is not None


def _show(state: _State, coming: str) -> None:
    table = new_table(("", "data type", "phase", "since", "checks"), right=("",), yielding="checks")
    for move in state.shown:
        number = str(ORDER.index(move.data_type) + 1) if move.data_type in ORDER else ""
        table.add_row(*map(Text, (number, safe(move.data_type), _phase(move), shown(move.since), _checks(move))))
    Console().print(table)
    for move in state.shown:
        if move.phase == "watched":
            judgement = state.judgements[move.data_type]
            end = "; ".join(judgement.reasons) or "it can be finished"
            click.echo(f"\n{move.data_type}: watched for {rough_duration(judgement.watched_seconds)}; {safe(end)}")
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
