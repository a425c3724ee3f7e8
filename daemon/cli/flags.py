"""``refreshd flags``."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from daemon.cli.display import echo_json
from daemon.settings import load_database_settings
from daemon.store.database import Database
from daemon.store.flags import FlagRow, list_flags, set_flags

RELOAD_HINT = "holds at once in the database; let the daemon read it too: send it SIGHUP (systemctl reload refreshd)"


@click.group()
def flags() -> None:
    """List the feature flags, or turn them on and off."""


@flags.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_obj
def list_all(env_file: Path | None, *, as_json: bool) -> None:
    """List every flag, with who changed it last and when."""

    async def read() -> list[FlagRow]:
        async with _owner(env_file) as database:
            return await list_flags(database)

    rows = asyncio.run(read())
    if as_json:
        echo_json([asdict(row) for row in rows])
        return
    table = Table(box=None)
    for heading in ("flag", "enabled", "changed by", "at"):
        table.add_column(heading)
    for row in rows:
        moment = f"{row.updated_at:%Y-%m-%d %H:%M:%S %Z}"
        table.add_row(row.name, "on" if row.enabled else "off", row.changed_by or "-", moment)
    Console().print(table)


@flags.command("on")
@click.argument("names", nargs=-1, required=True, metavar="FLAG...")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_obj
def turn_on(env_file: Path | None, names: Sequence[str], *, as_json: bool) -> None:
    """Turn flags on."""
    _set(env_file, names, enabled=True, as_json=as_json)


@flags.command("off")
@click.argument("names", nargs=-1, required=True, metavar="FLAG...")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_obj
def turn_off(env_file: Path | None, names: Sequence[str], *, as_json: bool) -> None:
    """Turn flags off."""
    _set(env_file, names, enabled=False, as_json=as_json)


def _set(env_file: Path | None, names: Sequence[str], *, enabled: bool, as_json: bool) -> None:
    async def write() -> list[str]:
        async with _owner(env_file) as database:
            return await set_flags(database, names, enabled=enabled)

    changed = asyncio.run(write())
    if as_json:
        echo_json({"enabled": enabled, "changed": changed, "unchanged": [n for n in names if n not in changed]})
    else:
        for name in names:
            click.echo(f"{name}: {'on' if enabled else 'off'}{'' if name in changed else ' (as it was)'}")
    click.echo(RELOAD_HINT, err=True)


def _owner(env_file: Path | None) -> Database:
    return Database(
        load_database_settings(env_file).owner_database_url.get_secret_value(), application_name="refreshd flags"
    )
