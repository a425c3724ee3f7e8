"""Rows that the upstream no longer has are removed, and no others."""

from __future__ import annotations

from typing import Any

import asyncpg
import pytest

from daemon.store.database import Database

DIVIDENDS = [("AAPL", "2026-08-10"), ("AAPL", "2026-05-11"), ("MSFT", "2026-05-11")]


async def have_dividends(database: Database) -> None:
    rows = [{"symbol": symbol, "date": day} for symbol, day in DIVIDENDS]
    await database.fetch("select * from store_rows_v2('dividend-history', $1)", rows)


async def remove(database: Database, data_type: str, columns: list[str], *rows: dict[str, Any]) -> int:
    removed: int = await database.fetchval("select remove_gone_rows_v2($1, $2, $3)", data_type, list(rows), columns)
    return removed


async def test_a_row_whose_key_is_not_in_the_answer_is_removed(owner: Database, database: Database) -> None:
    await have_dividends(database)

    removed = await remove(database, "dividend-history", ["symbol"], {"symbol": "AAPL", "date": "2026-08-10"})

    left = await owner.fetch("select symbol, date::text from dividend_history order by symbol")
    assert removed == 1
    assert [tuple(row) for row in left] == [("AAPL", "2026-08-10"), ("MSFT", "2026-05-11")]


async def test_an_empty_answer_removes_nothing(owner: Database, database: Database) -> None:
    await have_dividends(database)
    await database.fetch("select * from store_rows_v2('available-exchanges', $1)", [{"exchange": "ASX"}])

    assert await remove(database, "dividend-history", ["symbol"]) == 0
    assert await remove(database, "available-exchanges", []) == 0
    assert await owner.fetchval("select count(*) from dividend_history") == 3
    assert await owner.fetchval("select count(*) from available_exchanges") == 1


async def test_an_answer_that_does_not_fit_the_table_is_refused_by_name(database: Database) -> None:
    await have_dividends(database)

    with pytest.raises(asyncpg.InvalidParameterValueError, match="p_rows does not fit table dividend_history"):
        await remove(database, "dividend-history", ["symbol"], {"symbol": "AAPL", "date": "soon"})


async def test_of_a_global_type_everything_else_is_removed(owner: Database, database: Database) -> None:
    rows = [{"exchange": "ASX"}, {"exchange": "JPX"}, {"exchange": "OLD"}]
    await database.fetch("select * from store_rows_v2('available-exchanges', $1)", rows)

    removed = await remove(database, "available-exchanges", [], *rows[:2])

    assert removed == 1
    assert await owner.fetchval("select array_agg(exchange order by exchange) from available_exchanges") == [
        "ASX",
        "JPX",
    ]


async def test_rows_that_agree_with_none_of_the_answer_stay(owner: Database, database: Database) -> None:
    keys = [("FY", "2025-09-27"), ("FY", "2024-09-28"), ("Q1", "2025-12-27")]
    rows = [{"symbol": "AAPL", "fiscal_year": 2025, "period": period, "date": day} for period, day in keys]
    await database.fetch("select * from store_rows_v2('revenue-segmentation', $1)", rows)

    removed = await remove(database, "revenue-segmentation", ["symbol", "period"], rows[0])

    left = await owner.fetchval("select array_agg(period order by period) from revenue_product_segmentation")
    assert removed == 1
    assert left == ["FY", "Q1"]
