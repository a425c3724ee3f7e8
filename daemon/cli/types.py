"""``refreshd types``."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from daemon.cli.display import duration, echo_fields, echo_json, new_table, safe, shown
from daemon.cli.flags import RELOAD_HINT
from daemon.fetchers.plug_ins import BUILT_IN, FetcherTable, load_fetchers
from daemon.schedule import next_firing
from daemon.settings import load_database_settings
from daemon.store.database import Database
from daemon.store.migrate import check_version
from daemon.store.registry import TypeChange, TypeSettings, change_type, list_types, read_type

WIDE = 120
"""Columns of a terminal from which a type fits on one line."""

_GREATEST_INTEGER = 2**31 - 1
_GREATEST_WEIGHT = 1e6
_RIGHT = ("TTL", "weight", "calls", "batch", "bytes")
_NAMES = {"ttl_minutes": "TTL"}


@click.group()
def types() -> None:
    """List the data types, or change how they are refreshed."""


@types.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_obj
def list_all(env_file: Path | None, *, as_json: bool) -> None:
    """List every data type.

    calls: calls to the upstream that a refresh takes; batch: symbols that one call can carry; bytes: what a refresh is
    expected to take, learnt from those before; flags: whether they let it run; fetcher: whether this version has one,
    or a plug-in, which is then named below.
    """

    async def read() -> list[Mapping[str, Any]]:
        async with _owner(env_file) as database:
            await check_version(database)
            return await list_types(database)

    table = load_fetchers()
    rows = [_with_fetcher(row, table) for row in asyncio.run(read())]
    if as_json:
        echo_json(rows)
    else:
        console = Console()
        console.print(_wide_table(rows) if console.width >= WIDE else _narrow_table(rows))
        _echo_plug_ins(table)


@types.command()
@click.argument("name", metavar="TYPE")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_obj
def show(env_file: Path | None, name: str, *, as_json: bool) -> None:
    """Show everything about one data type."""

    async def read() -> Mapping[str, Any]:
        async with _owner(env_file) as database:
            await check_version(database)
            return await read_type(database, name)

    row = _with_fetcher(asyncio.run(read()), load_fetchers())
    if as_json:
        echo_json(row)
    else:
        echo_fields({**row, "default_ttl_minutes": f"{row['default_ttl_minutes']} ({_ttl(row)})"})


def _weight(_context: click.Context, _option: click.Parameter, value: float | None) -> float | None:
    if value is not None and not (math.isfinite(value) and 1 / _GREATEST_WEIGHT <= value <= _GREATEST_WEIGHT):
        raise click.BadParameter("a weight is a number above 0, from 0.000001 to 1000000; 1 is usual")
    return value


@types.command("set")
@click.argument("name", metavar="TYPE")
@click.option("--ttl", type=click.IntRange(1, _GREATEST_INTEGER), metavar="MINUTES", help="How long data stays fresh.")
@click.option(
    "--strategy", type=click.Choice(["on-demand", "scheduled"]), help="Refresh what is viewed, or also the rest."
)
@click.option("--schedule", metavar="CRON", help='When a scheduled type is refreshed, in UTC: "30 21 * * MON-FRI".')
@click.option("--weight", type=float, callback=_weight, help="What a viewer of this type counts against others.")
@click.option("--priority", type=click.IntRange(-_GREATEST_INTEGER, _GREATEST_INTEGER), help="The registry's priority.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_obj
def set_type(
    env_file: Path | None,
    name: str,
    *,
    ttl: int | None,
    strategy: str | None,
    schedule: str | None,
    weight: float | None,
    priority: int | None,
    as_json: bool,
) -> None:
    """Change a data type. What is not given stays as it is."""
    written = None if schedule is None else " ".join(schedule.split())
    change = TypeChange(ttl, strategy, written, weight, priority)
    if change.is_empty:
        raise click.UsageError("nothing to change: give --ttl, --strategy, --schedule, --weight or --priority")

    async def write() -> tuple[TypeSettings, TypeSettings]:
        async with _owner(env_file) as database:
            await check_version(database)
            return await change_type(database, name, change)

    before, after = asyncio.run(write())
    if as_json:
        echo_json({"before": asdict(before), "after": asdict(after)})
    else:
        _echo_change(change, before, after)
    click.echo(RELOAD_HINT, err=True)


def _echo_change(change: TypeChange, before: TypeSettings, after: TypeSettings) -> None:
    for field in fields(change):
        if getattr(change, field.name) is None:
            continue
        old, new = (_setting(settings, field.name) for settings in (before, after))
        is_new = getattr(before, field.name) != getattr(after, field.name)
        click.echo(f"{_NAMES.get(field.name, field.name)}: {f'{old} -> {new}' if is_new else f'{new} (as it was)'}")
    if after.schedule is None or (change.strategy is None and change.schedule is None):
        return
    if after.strategy == "scheduled":
        click.echo(f"fires next at {next_firing(after.schedule, datetime.now(UTC)):%Y-%m-%d %H:%M} UTC")
    else:
        click.echo(f"the schedule {safe(after.schedule)} is kept, but does not hold while the strategy is on-demand")


def _setting(settings: TypeSettings, name: str) -> str:
    value = getattr(settings, name)
    return duration(value * 60) if name == "ttl_minutes" else shown(value)


def _wide_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    headings = ("data type", "table", "strategy", "schedule", *_RIGHT, "flags", "fetcher")
    table = new_table(headings, right=_RIGHT, yielding="schedule")
    for row in rows:
        table.add_row(*map(Text, _cells(row)))
    return table


def _narrow_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Return the same in fewer columns, some of them with two values one below the other."""
    strategy, calls = "strategy,\nschedule", "calls,\nbatch"
    headings = ("data type,\ntable", strategy, "TTL", "weight", calls, "bytes", "flags,\nfetcher")
    table = new_table(headings, right=("TTL", "weight", calls, "bytes"), yielding=strategy)
    for row in rows:
        name, table_name, strategy, schedule, ttl, weight, calls, batch, size, flags, fetcher = _cells(row)
        pairs = (
            (name, table_name),
            (strategy, schedule),
            (ttl, ""),
            (weight, ""),
            (calls, batch),
            (size, ""),
            (flags, fetcher),
        )
        table.add_row(*(Text("\n".join(pair)) for pair in pairs))
    return table


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        safe(row["data_type"]),
        safe(row["table_name"]),
        row["refresh_strategy"],
        shown(row["refresh_schedule"]),
        _ttl(row),
        shown(row["weight"]),
        str(row["api_calls_per_job"]),
        str(row["batch_size"]),
        f"{row['estimate_in_force_bytes']:,}",
        "on" if row["enabled"] else "off",
        _kind(row["fetcher_origin"]),
    )


def _ttl(row: Mapping[str, Any]) -> str:
    return duration(row["default_ttl_minutes"] * 60)


def _kind(origin: str | None) -> str:
    return "none" if origin is None else origin if origin == BUILT_IN else "plug-in"


def _with_fetcher(row: Mapping[str, Any], table: FetcherTable) -> dict[str, Any]:
    origin = table.origin(row["fetcher"])
    return {**row, "has_fetcher": origin is not None, "fetcher_origin": origin}


def _echo_plug_ins(table: FetcherTable) -> None:
    for name, origin in table.plug_ins.items():
        click.echo(f"the fetcher {name} comes from {safe(origin)}")
    for problem in table.problems:
        click.echo(f"a plug-in was refused: {safe(problem)}", err=True)


def _owner(env_file: Path | None) -> Database:
    return Database(
        load_database_settings(env_file).owner_database_url.get_secret_value(), application_name="refreshd types"
    )
