"""``refreshd migrate``."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import asdict
from pathlib import Path

import click
from rich.console import Console
from rich.text import Text

from daemon.cli.display import echo_json, new_table, safe, shown, working
from daemon.contracts import ConfigurationError
from daemon.settings import load_database_settings
from daemon.store.export import export_schema
from daemon.store.migrate import MigrationReport
from daemon.store.migrate import migrate as apply_schema
from daemon.store.plan import Status, plan, read_status
from daemon.store.roles import DAEMON_ROLE
from daemon.store.schema import LATEST_VERSION, OLDEST_VERSION, load_schema


@click.command()
@click.option("--create-roles", is_flag=True, help="Also create what Supabase has and a plain PostgreSQL lacks.")
@click.option("--dry-run", is_flag=True, help="Say in order what would be done, and change nothing.")
@click.option("--status", is_flag=True, help="Say what the database has; exit code 1 when it is not up to date.")
@click.option(
    "--export",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Write the schema into DIR as migrations of the Supabase CLI; needs no database.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_obj
def migrate(
    env_file: Path | None, *, create_roles: bool, dry_run: bool, status: bool, export: Path | None, as_json: bool
) -> None:
    """Bring the database to this version's schema. Safe to repeat, and to run twice at once.

    Works as the owner (REFRESHD_OWNER_DATABASE_URL) and makes the login of DATABASE_URL a member of the daemon's
    role. On a plain PostgreSQL, --create-roles adds the roles anon, authenticated and service_role, and the
    publication supabase_realtime.
    """
    if dry_run + status + (export is not None) > 1 or (create_roles and (status or export is not None)):
        raise click.UsageError(
            "--dry-run, --status and --export exclude each other; --create-roles goes with --dry-run."
        )
    if export is not None:
        _export(export, as_json=as_json)
        return
    settings = load_database_settings(env_file)
    owner_url = settings.owner_database_url.get_secret_value()
    if status:
        _show_status(asyncio.run(read_status(owner_url, load_schema())), as_json=as_json)
    elif dry_run:
        steps = asyncio.run(plan(owner_url, load_schema(), create_roles=create_roles))
        if as_json:
            echo_json({"steps": list(steps)})
            return
        for step in steps:
            click.echo(safe(step))
        click.echo("nothing was changed")
    else:
        daemon_url = settings.database_url.get_secret_value()
        applying = apply_schema(owner_url, load_schema(), daemon_url=daemon_url, create_roles=create_roles)
        with working("bringing the schema up to date"):
            report = asyncio.run(applying)
        if as_json:
            echo_json(asdict(report))
        else:
            _show_report(report)


def _show_report(report: MigrationReport) -> None:
    for name in report.applied:
        click.echo(f"applied {name}")
    for name in report.adoption.tables:
        click.echo(f"table {name} was there already: used as it is")
    for note in report.adoption.notes:
        click.echo(f"note: {safe(note)}")
    click.echo(f"schema version {report.version}, functions, seeds and access up to date")


def _show_status(status: Status, *, as_json: bool) -> None:
    if as_json:
        echo_json(asdict(status) | {"is_up_to_date": status.is_up_to_date, "latest_version": LATEST_VERSION})
        sys.exit(0 if status.is_up_to_date else 1)
    table = new_table(("version", "name", "applied at", "text"), right=("version",), yielding="name")
    for entry in status.migrations:
        table.add_row(*map(Text, (str(entry.version), safe(entry.name), shown(entry.applied_at), entry.verdict)))
    declared = "as released" if status.is_declared else "pending"
    table.add_row(*map(Text, ("", "functions, seeds, access", shown(status.declared_at), declared)))
    Console().print(table)
    click.echo(f"schema version {status.version}; this daemon works with {OLDEST_VERSION} to {LATEST_VERSION}")
    if status.is_up_to_date:
        click.echo("up to date")
        return
    if status.version > LATEST_VERSION:
        click.echo("a newer refreshd was here: install it")
    else:
        click.echo("not up to date: run `refreshd migrate`")
    sys.exit(1)


def _export(folder: Path, *, as_json: bool) -> None:
    try:
        names = export_schema(load_schema(), folder)
    except OSError as error:
        raise ConfigurationError(f"the schema cannot be exported to {folder}: {error}") from None
    if as_json:
        echo_json({"wrote": [str(folder / name) for name in names]})
        return
    for name in names:
        click.echo(f"wrote {folder / name}")
    if not names:
        click.echo(f"{folder} has all of it already")
    click.echo("after `supabase db push`, let the daemon's login work, as the owner:")
    click.echo(f"    grant {DAEMON_ROLE} to <login of DATABASE_URL>;")
