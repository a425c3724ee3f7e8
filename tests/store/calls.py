"""The functions of the schema as the tests call them."""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg

from daemon.store.database import Database
from tests.rows import HOLDER


async def claim(database: Database, calls: int = 10, *, fetchers: list[str] | None = None) -> list[asyncpg.Record]:
    return await database.fetch("select * from get_queue_batch_v2($1, $2, 30, $3)", calls, HOLDER, fetchers)


async def check_pairs(database: Database, symbols: Sequence[str], viewers: int = 1) -> int:
    return int(
        await database.fetchval(
            "select check_and_queue_stale_pairs_v2($1, $2, $3)",
            list(symbols),
            ["quote"] * len(symbols),
            [viewers] * len(symbols),
        )
    )


async def complete(database: Database, job: asyncpg.Record, *, size: int = 1000) -> bool:
    return bool(
        await database.fetchval(
            "select complete_queue_job_v2($1, $2, 'changed', now() + interval '60 s', now() + interval '55 s', $3,"
            " null, null)",
            job["job_id"],
            job["lease_id"],
            size,
        )
    )


async def sweep(database: Database) -> int:
    return int(await database.fetchval("select check_and_queue_stale_data_from_presence_v2()"))
