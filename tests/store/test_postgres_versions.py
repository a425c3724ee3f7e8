"""The schema on every PostgreSQL that is supported and found here, each a server of its own."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from daemon.store.export import export_schema
from daemon.store.migrate import migrate
from daemon.store.plan import read_status
from daemon.store.schema import load_schema
from devstack.postgres import EmbeddedPostgres
from devstack.postgres_binaries import candidate_folders, is_usable, major_version
from devstack.snapshot import describe
from tests.databases import TestDatabase
from tests.needs import require

SUPPORTED = (15, 16, 17)


def found_folders() -> Iterator[Path]:
    """Yield the folders where PostgreSQL may lie: those of the development stack, and that of the wheel pgserver."""
    yield from candidate_folders()
    wheel = importlib.util.find_spec("pgserver")
    if wheel and wheel.origin:
        yield Path(wheel.origin).parent / "pginstall" / "bin"


@pytest.fixture(scope="module", params=SUPPORTED, ids=lambda major: f"PostgreSQL {major}")
def server(request: pytest.FixtureRequest) -> Iterator[EmbeddedPostgres]:
    for folder in found_folders():
        if is_usable(folder) and major_version(folder) == request.param:
            with EmbeddedPostgres.start(durable=False, binaries=folder) as running:
                yield running
            return
    require(f"postgresql-{request.param}", found=None, hint="install it, or name its folder")


async def described(url: str) -> str:
    connection = await asyncpg.connect(url)
    try:
        return await describe(connection)
    finally:
        await connection.close()


async def test_the_schema_is_the_same_exported_or_migrated_and_a_second_run_changes_nothing(
    server: EmbeddedPostgres, urls: TestDatabase, tmp_path: Path
) -> None:
    schema = load_schema()
    expected = await described(urls.owner_url)
    superuser = await asyncpg.connect(server.url())
    await superuser.execute("create database exported")
    await superuser.close()
    exported = await asyncpg.connect(server.url("exported"))
    await exported.execute(schema.roles.sql)
    for name in export_schema(schema, tmp_path):
        await exported.execute((tmp_path / name).read_text())
    await exported.close()

    await migrate(server.url(), schema, create_roles=True)
    once = await described(server.url())
    await migrate(server.url(), schema, create_roles=True)

    assert once == expected
    assert await described(server.url()) == expected
    assert await described(server.url("exported")) == expected
    assert (await read_status(server.url("exported"), schema)).is_up_to_date


async def test_tables_of_an_older_system_are_examined(server: EmbeddedPostgres) -> None:
    superuser = await asyncpg.connect(server.url())
    await superuser.execute("create database older")
    await superuser.close()
    older = await asyncpg.connect(server.url("older"))
    await older.execute("create table profiles (id bigserial primary key, symbol text unique, modified_at timestamp)")
    await older.close()

    report = await migrate(server.url("older"), load_schema(), create_roles=True)

    assert report.adoption.tables == ("profiles",)
