"""The committed description of the schema is what a migrated database has."""

from __future__ import annotations

import asyncpg

from devstack.snapshot import FILE, describe
from tests.databases import TestDatabase


async def described(urls: TestDatabase, *changes: str) -> str:
    connection = await asyncpg.connect(urls.owner_url)
    try:
        for change in changes:
            await connection.execute(change)
        return await describe(connection)
    finally:
        await connection.close()


async def test_the_committed_snapshot_is_what_a_migrated_database_has(urls: TestDatabase) -> None:
    assert await described(urls) == FILE.read_text(encoding="utf-8"), "run `make snapshot` and read what changed"


async def test_a_grant_that_nobody_declared_shows_in_the_snapshot(urls: TestDatabase) -> None:
    before = await described(urls)

    after = await described(urls, "grant select on api_call_queue_v2_pending to anon")

    assert after.count("grant select to anon") == before.count("grant select to anon") + 1


async def test_a_changed_function_shows_in_the_snapshot(urls: TestDatabase) -> None:
    before = await described(urls)

    after = await described(urls, "alter function is_valid_identifier(text) reset search_path")

    assert after != before
