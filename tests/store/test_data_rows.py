"""How data rows are stored, and what a broken registry row does to the others."""

from __future__ import annotations

from typing import Any

import asyncpg
import pytest

from daemon.store.database import Database
from tests.rows import make_ready

OTHER_TYPE = """
insert into data_type_registry_v2 (
    data_type, table_name, timestamp_column, staleness_function, default_ttl_minutes, edge_function_name, upstream,
    key_columns, estimated_data_size_bytes, batch_size
) values ($1, $2, 'fetched_at', 'is_data_stale_v2', 5, 'other', $3, '{symbol}', 100, 1)
"""


async def store(database: Database, *rows: dict[str, Any]) -> tuple[int, int, int]:
    result = await database.fetch("select inserted, updated, unchanged from store_rows_v2('quote', $1)", list(rows))
    return (result[0]["inserted"], result[0]["updated"], result[0]["unchanged"])


async def test_of_duplicate_rows_the_last_is_stored_and_unknown_columns_are_passed_over(
    owner: Database, database: Database
) -> None:
    stored = await store(database, {"symbol": "AAPL", "price": 1, "horoscope": "good"}, {"symbol": "AAPL", "price": 2})

    assert stored == (1, 0, 0)
    assert await owner.fetchval("select price from live_quote_indicators") == 2


async def test_an_unchanged_row_is_left_untouched_with_its_timestamp(owner: Database, database: Database) -> None:
    row = {"symbol": "AAPL", "price": 1.5}
    await store(database, row)
    before = await owner.fetchval("select fetched_at from live_quote_indicators")

    assert await store(database, row) == (0, 0, 1)
    assert await owner.fetchval("select fetched_at from live_quote_indicators") == before
    assert await store(database, {**row, "price": 2}) == (0, 1, 0)
    assert await owner.fetchval("select fetched_at from live_quote_indicators") > before


async def test_rows_without_their_key_or_of_an_unknown_type_raise(database: Database) -> None:
    with pytest.raises(asyncpg.InvalidParameterValueError, match="must carry the key columns"):
        await store(database, {"price": 1})
    with pytest.raises(asyncpg.InvalidParameterValueError, match="unknown data type"):
        await database.fetch("select * from store_rows_v2('x', $1)", [{"symbol": "AAPL"}])


async def test_a_broken_registry_row_leaves_the_other_types_working(owner: Database, database: Database) -> None:
    await owner.execute("create table ratings (symbol text primary key, fetched_at timestamptz)")
    await owner.execute(OTHER_TYPE, "rating", "ratings", "fmp")
    await owner.execute("drop table ratings")
    await make_ready(owner)
    await owner.execute("insert into live_quote_indicators (symbol, price) values ('AAPL', 1)")

    await database.execute("select seed_refresh_state_v2($1, $2)", ["AAPL", "AAPL"], ["rating", "quote"])

    rows = await owner.fetch("select symbol, data_type, next_due_at > now() as fresh from refresh_state_v2")
    assert [tuple(row) for row in rows] == [("AAPL", "quote", True)]
