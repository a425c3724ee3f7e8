"""The migration runner beside others that work on the same database."""

from __future__ import annotations

from dataclasses import replace

import asyncpg
import pytest

from daemon.store.database import Database
from daemon.store.execution import MigrationError
from daemon.store.migrate import migrate
from daemon.store.schema import SqlFile, load_schema
from tests.databases import TestDatabase


async def test_a_migration_that_cannot_get_a_lock_says_which_one_and_who_has_it(urls: TestDatabase) -> None:
    schema = load_schema()
    adding = SqlFile("0099_adding", "create table half_done (id int); alter table profiles add column note text;")
    reader = await asyncpg.connect(urls.owner_url, server_settings={"application_name": "an old report"})

    try:
        async with reader.transaction():
            await reader.execute("lock table profiles in access share mode")
            with pytest.raises(MigrationError) as caught:
                await migrate(
                    urls.owner_url, replace(schema, migrations=(*schema.migrations, adding)), lock_seconds=1.0
                )
            half_done = await reader.fetchval("select to_regclass('half_done')")
    finally:
        await reader.close()

    assert "0099_adding.sql failed, nothing of it was applied: it waited 1 s in vain" in str(caught.value)
    assert "AccessExclusiveLock on profiles, held by process" in str(caught.value)
    assert "'an old report'" in str(caught.value)
    assert half_done is None


async def test_every_file_runs_within_bounds_of_time(urls: TestDatabase) -> None:
    schema = load_schema()
    telling = SqlFile(
        "0099_telling",
        "create table told as select current_setting('lock_timeout') as lock,"
        " current_setting('statement_timeout') as statement;",
    )

    await migrate(urls.owner_url, replace(schema, migrations=(*schema.migrations, telling)))

    async with Database(urls.owner_url) as owner:
        told = await owner.fetchrow("select * from told")
        assert told is not None
        assert (told["lock"], told["statement"]) == ("10s", "15min")
