"""``refreshd migrate``."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from daemon.settings import load_database_settings
from daemon.store.migrate import migrate as apply_schema
from daemon.store.schema import load_schema


@click.command()
@click.option("--create-roles", is_flag=True, help="Also create what Supabase has and a plain PostgreSQL lacks.")
@click.pass_obj
def migrate(env_file: Path | None, *, create_roles: bool) -> None:
    """Bring the database to this version's schema. Safe to repeat, and to run twice at once.

    Works as the owner (REFRESHD_OWNER_DATABASE_URL) and makes the login of DATABASE_URL a member of the daemon's
    role. On a plain PostgreSQL, --create-roles adds the roles anon, authenticated and service_role, and the
    publication supabase_realtime.
    """
    settings = load_database_settings(env_file)
    report = asyncio.run(
        apply_schema(
            settings.owner_database_url.get_secret_value(),
            load_schema(),
            daemon_url=settings.database_url.get_secret_value(),
            create_roles=create_roles,
        )
    )
    for name in report.applied:
        click.echo(f"applied {name}")
    for name in report.adopted_tables:
        click.echo(f"table {name} was there already: used as it is")
    click.echo(f"schema version {report.version}, functions, seeds and access up to date")
