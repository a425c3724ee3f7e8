"""The eleven data tables: what the registry says of them is true, and what the upstream sends has its place."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from daemon.store.database import Database
from tests.databases import TestDatabase
from tests.rows import make_ready

pytestmark = pytest.mark.direct

RECORDINGS = Path(
    os.environ.get("REFRESHD_RECORDINGS", Path(__file__).parents[2] / ".." / "shared" / "fixtures" / "fmp")
)
RECORDED = {
    "quote": ("quote.AAPL.json", {"timestamp": "source_timestamp"}),
    "profile": ("profile.AAPL.2026.json", {}),
    "ratios-ttm": ("ratios-ttm.AAPL.json", {"netIncomePerEBTTTM": "net_income_per_ebt_ttm"}),
    "dividend-history": ("dividends.AAPL.json", {}),
    "shares-float": ("shares-float.AAPL.json", {}),
    "revenue-segmentation": ("revenue-product-segmentation.AAPL.json", {}),
    "grades-historical": ("grades-historical.AAPL.json", {}),
    "exchange-variants": ("search-exchange-variants.AAPL.json", {}),
    "available-exchanges": ("available-exchanges.json", {}),
    "exchange-market-status": ("all-exchange-market-hours.head.json", {}),
}
ROWS: Mapping[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "quote": ({"symbol": "BRK-A", "price": 742_100.5, "volume": 24_580_543}, {"price": 742_100.51}),
    "profile": ({"symbol": "AAPL", "company_name": "Apple Inc.", "market_cap": 4_115_284_521_472}, {"ceo": "x"}),
    "financial-statements": (
        {
            "symbol": "AAPL",
            "date": "2025-09-27",
            "period": "FY",
            "fiscal_year": 2025,
            "accepted_date": "2025-10-31T10:01:26+00:00",
            "income_statement": {"revenue": 416_161_000_000, "eps": 7.49},
        },
        {"balance_sheet_statement": {"inventory": 0}},
    ),
    "ratios-ttm": ({"symbol": "AAPL", "current_ratio_ttm": 0.893_187_654_321}, {"current_ratio_ttm": -1}),
    "dividend-history": ({"symbol": "AAPL", "date": "2026-08-10", "yield": 0.343_865_568}, {"frequency": "Special"}),
    "shares-float": (
        {"symbol": "AAPL", "date": "2026-08-26", "float_shares": 14_669_554_809},
        {"source_timestamp": "2026-08-26T14:13:45+00:00"},
    ),
    "revenue-segmentation": (
        {"symbol": "AAPL", "fiscal_year": 2025, "period": "FY", "date": "2025-09-27", "data": {"Mac": 33_708_000_000}},
        {"data": {"Mac": 1, "iPad, old": 2.5}},
    ),
    "grades-historical": (
        {"symbol": "AAPL", "date": "2026-08-01", "analyst_ratings_buy": 22},
        {"analyst_ratings_buy": 23},
    ),
    "exchange-variants": (
        {"symbol": "AAPL", "symbol_variant": "AAPL.MX", "exchange_short_name": "MEX", "mkt_cap": 78_283_607_480_000},
        {"exchange": "Mexican Stock Exchange"},
    ),
    "available-exchanges": ({"exchange": "ASX", "symbol_suffix": ".AX"}, {"delay": "20 min"}),
    "exchange-market-status": (
        {"exchange": "JPX", "opening_hour": "09:00 AM +09:00", "opening_additional": "12:30 PM +09:00"},
        {"holidays": [{"date": "2026-12-31", "isClosed": True}]},
    ),
}


def snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])[A-Z]|(?<=[A-Z])[A-Z](?=[a-z])", lambda match: f"_{match[0]}", name).lower()


async def registry(owner: Database) -> dict[str, asyncpg.Record]:
    return {row["data_type"]: row for row in await owner.fetch("select * from data_type_registry_v2")}


async def store(database: Database, data_type: str, *rows: Mapping[str, Any]) -> tuple[int, int, int]:
    [result] = await database.fetch("select * from store_rows_v2($1, $2)", data_type, list(rows))
    return (result["inserted"], result["updated"], result["unchanged"])


async def test_there_are_eleven_types_and_their_flags_are_off(owner: Database) -> None:
    types = await registry(owner)
    flags = await owner.fetch("select flag_name, enabled from feature_flags where flag_name like 'migrate_%'")

    assert set(types) == set(ROWS)
    assert {row["flag_name"] for row in flags} == {f"migrate_{name.replace('-', '_')}_type" for name in ROWS}
    assert not any(row["enabled"] for row in flags)


async def test_an_older_registry_is_completed_and_what_the_operator_changed_stays(urls: TestDatabase) -> None:
    connection = await asyncpg.connect(urls.owner_url)
    seed = (Path(__file__).parents[2] / "schema" / "seeds" / "registry.sql").read_text(encoding="utf-8")
    await connection.execute("delete from data_type_registry_v2 where data_type <> 'quote'")
    await connection.execute("update data_type_registry_v2 set default_ttl_minutes = 9")

    await connection.execute(seed)

    rows = await connection.fetch("select data_type, default_ttl_minutes as ttl from data_type_registry_v2")
    await connection.close()
    assert {row["data_type"]: row["ttl"] for row in rows}["quote"] == 9
    assert len(rows) == 11


@pytest.mark.parametrize("data_type", sorted(ROWS))
async def test_a_table_is_published_and_pages_read_it_but_do_not_write(
    owner: Database, urls: TestDatabase, data_type: str
) -> None:
    table = (await registry(owner))[data_type]["table_name"]
    connection = await asyncpg.connect(urls.owner_url)

    for role in ("anon", "authenticated"):
        await connection.execute(f"set role {role}")
        assert await connection.fetch(f"select * from {table}") == []
        for statement in (f"insert into {table} default values", f"delete from {table}", f"truncate {table}"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)
        await connection.execute("reset role")

    assert await connection.fetchval(
        "select exists (select from pg_publication_tables where pubname = 'supabase_realtime' and tablename = $1)",
        table,
    )
    await connection.close()


@pytest.mark.parametrize("data_type", sorted(ROWS))
async def test_rows_are_stored_once_left_alone_when_unchanged_and_updated_when_changed(
    owner: Database, database: Database, data_type: str
) -> None:
    row, change = ROWS[data_type]

    assert await store(database, data_type, row) == (1, 0, 0)
    assert await store(database, data_type, row) == (0, 0, 1)
    assert await store(database, data_type, {**row, **change}, {**row, **change}) == (0, 1, 0)

    table = (await registry(owner))[data_type]["table_name"]
    [stored] = await owner.fetch(f"select to_jsonb(t) as row from {table} t")
    kept = json.loads(json.dumps(stored["row"]), parse_float=Decimal)
    assert {name: kept[name] for name in {**row, **change}} == json.loads(
        json.dumps({**row, **change}), parse_float=Decimal
    )


@pytest.mark.parametrize("data_type", sorted(RECORDED))
async def test_every_field_that_was_recorded_has_a_column(owner: Database, data_type: str) -> None:
    name, renamed = RECORDED[data_type]
    if not (RECORDINGS / name).is_file():
        pytest.skip(f"no recording {name}: set REFRESHD_RECORDINGS to the directory that holds it")
    table = (await registry(owner))[data_type]["table_name"]
    rows = await owner.fetch("select attname from pg_attribute where attrelid = $1::regclass and attnum > 0", table)
    columns = {row["attname"] for row in rows}

    records = json.loads((RECORDINGS / name).read_bytes())

    fields = {renamed.get(field, snake(field)) for record in records for field in record}
    assert fields
    assert {re.sub(r"_(50|200)$", r"_\1", re.sub(r"avg(\d)", r"avg_\1", field)) for field in fields} <= columns


@pytest.mark.parametrize("data_type", sorted(ROWS))
async def test_data_that_an_older_system_left_seeds_the_state_of_its_pairs(
    owner: Database, database: Database, data_type: str
) -> None:
    await make_ready(owner, ["AAPL", "BRK-A"])
    known = (await registry(owner))[data_type]
    await store(database, data_type, ROWS[data_type][0])
    symbol = "GLOBAL" if known["symbol_column"] is None else ROWS[data_type][0]["symbol"]

    await database.execute("select seed_refresh_state_v2($1, $2)", [symbol], [data_type])

    row = await owner.fetchrow("select symbol, fresh_until - last_success_at as ttl from refresh_state_v2")
    assert row is not None
    assert row["symbol"] == symbol
    assert row["ttl"].total_seconds() == known["default_ttl_minutes"] * 60
