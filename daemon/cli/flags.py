"""``refreshd flags``."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from daemon.settings import load_database_settings
from daemon.store.database import Database
from daemon.store.flags import FlagRow, list_flags, set_flags

RELOAD_HINT = "holds at once in the database; let the daemon read it too: send it SIGHUP (systemctl reload refreshd)"


@click.group()
def flags() -> None:
    """List the feature flags, or turn them on and off."""


@flags.command("list")
@click.pass_obj
def list_all(env_file: Path | None) -> None:
    """List every flag, with who changed it last and when."""

    async def read() -> list[FlagRow]:
        async with _owner(env_file) as database:
            return await list_flags(database)

    table = Table(box=None)
    for heading in ("flag", "enabled", "changed by", "at"):
        table.add_column(heading)
    for row in asyncio.run(read()):
        moment = f"{row.updated_at:%Y-%m-%d %H:%M:%S %Z}"
        table.add_row(row.name, "on" if row.enabled else "off", row.changed_by or "-", moment)
    Console().print(table)


@flags.command("on")
@click.argument("names", nargs=-1, required=True, metavar="FLAG...")
@click.pass_obj
def turn_on(env_file: Path | None, names: Sequence[str]) -> None:
    """Turn flags on."""
    _set(env_file, names, enabled=True)


@flags.command("off")
@click.argument("names", nargs=-1, required=True, metavar="FLAG...")
@click.pass_obj
def turn_off(env_file: Path | None, names: Sequence[str]) -> None:
    """Turn flags off."""
    _set(env_file, names, enabled=False)


def _set(env_file: Path | None, names: Sequence[str], *, enabled: bool) -> None:
    async def write() -> None:
        async with _owner(env_file) as database:
            changed = await set_flags(database, names, enabled=enabled)
            for name in names:
                click.echo(f"{name}: {'on' if enabled else 'off'}{'' if name in changed else ' (as it was)'}")

    asyncio.run(write())
    click.echo(RELOAD_HINT, err=True)


def _owner(env_file: Path | None) -> Database:
    return Database(
        load_database_settings(env_file).owner_database_url.get_secret_value(), application_name="refreshd flags"
    )
