"""The schema as files of the Supabase CLI: what they hold, and what they make of a database."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import asyncpg
import pglast
import pytest

from daemon.store.database import Database
from daemon.store.execution import MigrationError
from daemon.store.export import export_schema
from daemon.store.migrate import check_version, migrate
from daemon.store.plan import plan, read_status
from daemon.store.schema import LATEST_VERSION, Schema, SqlFile, load_schema
from devstack.postgres import EmbeddedPostgres
from devstack.snapshot import describe
from tests.databases import TestDatabase, database_of
from tests.needs import require

REPOSITORY = Path(__file__).parents[2]
CLI_VARIABLE = "REFRESHD_SUPABASE_CLI"
CLI_SECONDS = 90.0
ADDING = SqlFile("0099_adding", "create table added (id integer primary key);\n")


def supabase_cli() -> str | None:
    """Return the Supabase CLI: the one that is named, that on PATH, or that of `npm install --prefix .ci --no-save`."""
    folders = os.pathsep.join([os.environ.get("PATH", ""), str(REPOSITORY / ".ci" / "node_modules" / ".bin")])
    return os.environ.get(CLI_VARIABLE) or shutil.which("supabase", path=folders)


def push(cli: str, url: str, home: Path) -> str:
    """Push the migrations below ``home`` to a database, and return what the CLI printed."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "DO_NOT_TRACK": "1",
        "SUPABASE_TELEMETRY_DISABLED": "1",
    }
    done = subprocess.run(
        [cli, "db", "push", "--yes", "--workdir", str(home), "--db-url", f"{url}?sslmode=disable"],
        check=False,
        cwd=home,
        env=environment,
        capture_output=True,
        text=True,
        timeout=CLI_SECONDS,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
async def prepared(postgres: EmbeddedPostgres) -> AsyncIterator[TestDatabase]:
    """A database with nothing in it but what a Supabase project has."""
    async with database_of(postgres, "template0") as database:
        connection = await asyncpg.connect(database.owner_url)
        await connection.execute(load_schema().roles.sql)
        await connection.close()
        yield database


async def described(url: str) -> str:
    connection = await asyncpg.connect(url)
    try:
        return await describe(connection)
    finally:
        await connection.close()


async def execute_files(url: str, folder: Path, names: tuple[str, ...]) -> None:
    """Do what the CLI does: one file after the other, in the order of their names."""
    connection = await asyncpg.connect(url)
    try:
        for name in sorted(names):
            await connection.execute((folder / name).read_text())
    finally:
        await connection.close()


async def assert_complete(prepared: TestDatabase, migrated: TestDatabase, schema: Schema) -> None:
    """Assert that a database is what `refreshd migrate` makes, and that the runner and the daemon are content."""
    assert await described(prepared.owner_url) == await described(migrated.owner_url)
    assert (await read_status(prepared.owner_url, schema)).is_up_to_date
    assert await plan(prepared.owner_url, schema) == ("declare triggers, seeds and access again",)
    report = await migrate(prepared.owner_url, schema)
    assert (report.applied, report.version) == ((), LATEST_VERSION)
    assert await described(prepared.owner_url) == await described(migrated.owner_url)
    async with Database(prepared.daemon_url) as daemon:
        assert await check_version(daemon) == LATEST_VERSION


async def test_the_exported_files_give_the_schema_that_migrate_gives(
    prepared: TestDatabase, urls: TestDatabase, tmp_path: Path
) -> None:
    names = export_schema(load_schema(), tmp_path)

    await execute_files(prepared.owner_url, tmp_path, names)

    await assert_complete(prepared, urls, load_schema())


async def test_the_supabase_cli_pushes_an_export_and_what_is_added_to_it_later(
    prepared: TestDatabase, urls: TestDatabase, tmp_path: Path
) -> None:
    cli = supabase_cli()
    require("supabase", found=cli, hint=f"npm install --prefix .ci --no-save, or name it in {CLI_VARIABLE}")
    assert cli is not None
    folder = tmp_path / "supabase" / "migrations"
    schema = load_schema()
    names = export_schema(schema, folder)

    said = push(cli, prepared.owner_url, tmp_path)

    assert all(name in said for name in names)
    await assert_complete(prepared, urls, schema)

    later = replace(
        schema, migrations=(*schema.migrations, ADDING), access=replace(schema.access, sql=schema.access.sql + "-- .\n")
    )
    added = export_schema(later, folder)
    said = push(cli, prepared.owner_url, tmp_path)

    assert [name for name in (*names, *added) if name in said] == list(added)
    assert await plan(prepared.owner_url, later) == ("declare triggers, seeds and access again",)


def test_every_exported_file_parses_and_sorts_after_those_it_needs(tmp_path: Path) -> None:
    schema = load_schema()

    names = export_schema(schema, tmp_path)

    order = ["0000_ledger", *(file.name for file in schema.migrations), "declared"]
    assert [name[15:] for name in sorted(names)] == [f"refreshd_{name}.sql" for name in order]
    for name in names:
        assert pglast.parse_sql((tmp_path / name).read_text())


def test_a_second_export_writes_nothing(tmp_path: Path) -> None:
    first = export_schema(load_schema(), tmp_path)
    texts = [(tmp_path / name).read_text() for name in first]

    second = export_schema(load_schema(), tmp_path)

    assert (len(first), second) == (LATEST_VERSION + 2, ())
    assert [(tmp_path / name).read_text() for name in first] == texts


async def test_a_later_export_only_adds_and_what_it_adds_is_later_and_applies(
    prepared: TestDatabase, tmp_path: Path
) -> None:
    schema = load_schema()
    edited = replace(schema, access=replace(schema.access, sql=schema.access.sql + "-- said better\n"))
    later = replace(edited, migrations=(*schema.migrations, ADDING))

    exports = []
    for version in (schema, edited, later):
        exports.append(export_schema(version, tmp_path))
        await execute_files(prepared.owner_url, tmp_path, exports[-1])

    assert [len(names) for names in exports[1:]] == [1, 1]
    assert max(exports[0]) < min(exports[1])
    assert max(exports[1]) < min(exports[2])
    assert (await read_status(prepared.owner_url, later)).migrations[-1].name == "0099_adding"


def test_a_file_that_was_edited_by_hand_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    names = export_schema(load_schema(), tmp_path)
    edited, lost = tmp_path / names[3], tmp_path / names[-1]
    edited.write_text(edited.read_text().replace("create", "create ", 1))
    lost.unlink()

    with pytest.raises(MigrationError, match=rf"{names[3]} was edited after it was exported"):
        export_schema(load_schema(), tmp_path)

    assert not lost.exists()


def test_an_export_of_a_newer_version_is_not_added_to(tmp_path: Path) -> None:
    schema = load_schema()
    export_schema(replace(schema, migrations=(*schema.migrations, ADDING)), tmp_path)

    with pytest.raises(MigrationError, match=r"0099_adding.*exported by a newer one"):
        export_schema(schema, tmp_path)


def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    own = tmp_path / "20240101000000_mine.sql"
    own.write_text("select 1;")

    export_schema(load_schema(), tmp_path)

    assert own.read_text() == "select 1;"
