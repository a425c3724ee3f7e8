"""Registry rows and symbols that turn out hostile: what is broken stays broken alone, and nothing of it is executed."""

from __future__ import annotations

import hashlib

import asyncpg
import pytest

from daemon.store.database import Database
from tests.rows import HOLDER, counts, make_ready, orphans
from tests.store.calls import sweep

pytestmark = pytest.mark.direct

SWABS = """
create table swabs (symbol text primary key, fetched_at timestamptz not null default now(), value text);
alter table swabs enable row level security;
create policy refreshd_daemon on swabs to refreshd_daemon using (true) with check (true);
grant select, insert, update, delete on swabs to refreshd_daemon;
create function is_swab_stale_v2(p_at timestamptz, p_ttl_minutes integer) returns boolean language sql as 'select true';
grant execute on function is_swab_stale_v2 to refreshd_daemon;
insert into swabs (symbol, value) values ('AAPL', 'x');
insert into data_type_registry_v2 (
    data_type, table_name, timestamp_column, staleness_function, default_ttl_minutes, edge_function_name, key_columns
) values ('swab', 'swabs', 'fetched_at', 'is_swab_stale_v2', 5, 'swab', '{symbol}');
"""
BREAKAGES = {
    "the table is dropped": "drop table swabs",
    "the timestamp is renamed": "alter table swabs rename fetched_at to at",
    "the timestamp becomes text": "alter table swabs alter fetched_at drop default, alter fetched_at type text",
    "the symbol is renamed": "alter table swabs rename symbol to ticker",
    "the symbol becomes bytes": "alter table swabs alter symbol type bytea using symbol::bytea",
    "the key is dropped": "alter table swabs drop constraint swabs_pkey",
    "the table is closed": "revoke all on swabs from refreshd_daemon",
    "the function is dropped": "drop function is_swab_stale_v2",
    "the function divides by zero": """
        create or replace function is_swab_stale_v2(p_at timestamptz, p_ttl_minutes integer) returns boolean
        language sql as 'select 1 / (p_ttl_minutes - 5) = 1'""",
    "the function raises": """
        create or replace function is_swab_stale_v2(p_at timestamptz, p_ttl_minutes integer) returns boolean
        language plpgsql as $$ begin raise exception 'no'; end $$""",
    "the function returns another type": """
        drop function is_swab_stale_v2;
        create function is_swab_stale_v2(p_at timestamptz, p_ttl_minutes integer) returns jsonb
        language sql as 'select jsonb_build_object()';
        grant execute on function is_swab_stale_v2 to refreshd_daemon""",
    "the function answers NULL": """
        create or replace function is_swab_stale_v2(p_at timestamptz, p_ttl_minutes integer) returns boolean
        language sql as 'select null::boolean'""",
}
HOSTILE_NAMES = [
    "",
    "live_quote_indicators; drop table leases_v2",
    'x" cascade; --',
    "x'x",
    "x\n",
    "é",
    "x" * 64,
    "%I",
]
HOSTILE_SYMBOLS = [
    "",
    " AAPL",
    "'; drop table leases_v2; --",
    'A"B',
    "A\\B",
    "\u202eLPAA",
    "\U0001f600",
    "A\nB",
    "GLOBAL",
    "x" * 1_000_000,
    "".join(hashlib.sha256(number.to_bytes(4, "big")).hexdigest() for number in range(16_000)),
]


async def run(owner: Database, script: str) -> None:
    for statement in script.strip().removesuffix(";").split(";\n"):
        await owner.execute(statement)


async def view(owner: Database, symbol: str, *data_types: str) -> None:
    for data_type in data_types:
        await owner.execute("insert into active_subscriptions_v2 values ('user:1', $1, $2, 's')", symbol, data_type)


@pytest.mark.parametrize("breakage", BREAKAGES)
async def test_one_type_that_breaks_later_leaves_the_others_working(
    owner: Database, database: Database, breakage: str
) -> None:
    await run(owner, SWABS)
    await make_ready(owner)
    await view(owner, "AAPL", "swab", "quote")

    await run(owner, BREAKAGES[breakage])

    assert await sweep(database) in {1, 2}
    claimed = {row["data_type"] for row in await database.fetch("select * from get_queue_batch_v2(10, $1)", HOLDER)}
    assert "quote" in claimed
    stored = await database.fetchrow("""select inserted from store_rows_v2('quote', '[{"symbol": "A", "price": 1}]')""")
    assert stored is not None
    assert stored["inserted"] == 1
    assert await orphans(owner) == 0


@pytest.mark.parametrize("breakage", [name for name in BREAKAGES if "NULL" not in name])
async def test_the_pairs_of_a_broken_type_count_as_stale(owner: Database, database: Database, breakage: str) -> None:
    await run(owner, SWABS)
    await make_ready(owner)
    await view(owner, "AAPL", "swab")

    await run(owner, BREAKAGES[breakage])

    assert await sweep(database) == 1
    assert await counts(owner) == {"pending": 1}


@pytest.mark.parametrize(
    "breakage",
    [
        "the table is dropped",
        "the timestamp is renamed",
        "the symbol is renamed",
        "the key is dropped",
        "the table is closed",
    ],
)
async def test_rows_of_a_broken_type_are_refused_with_what_is_wrong(
    owner: Database, database: Database, breakage: str
) -> None:
    await run(owner, SWABS)
    await run(owner, BREAKAGES[breakage])

    with pytest.raises(asyncpg.PostgresError, match=r"swabs|column|unique or exclusion constraint") as refusal:
        await database.fetch("""select * from store_rows_v2('swab', '[{"symbol": "AAPL", "value": "x"}]')""")

    assert refusal.value.sqlstate[:2] in {"22", "42"}


async def test_data_that_is_dated_in_the_future_is_due_one_ttl_from_now(owner: Database, database: Database) -> None:
    await make_ready(owner, ["AAPL", "MSFT"])
    await owner.execute(
        "insert into live_quote_indicators (symbol, price, fetched_at)"
        " values ('AAPL', 1, 'infinity'), ('MSFT', 1, now() + interval '1 year')"
    )

    await database.execute("select seed_refresh_state_v2('{AAPL,MSFT}', '{quote,quote}')")

    due = await owner.fetch("select next_due_at <= now() + interval '1 minute' as soon from refresh_state_v2")
    assert [row["soon"] for row in due] == [True, True]


async def refusal_of(owner: Database, statement: str, name: str) -> str | None:
    try:
        await owner.execute(statement, name)
    except asyncpg.PostgresError as error:
        return error.sqlstate
    return None


@pytest.mark.parametrize("column", ["table_name", "timestamp_column", "staleness_function", "symbol_column"])
async def test_the_registry_takes_no_name_that_is_no_plain_name(owner: Database, column: str) -> None:
    statement = f"update data_type_registry_v2 set {column} = $1 where data_type = 'quote'"

    refusals = {name: await refusal_of(owner, statement, name) for name in HOSTILE_NAMES}

    assert {name: code for name, code in refusals.items() if code not in {"23514", "22023"}} == {}


async def test_a_hostile_key_column_is_a_name_and_never_a_statement(owner: Database, database: Database) -> None:
    for name in HOSTILE_NAMES:
        refused = await refusal_of(
            owner, "update data_type_registry_v2 set key_columns = array[$1] where data_type = 'quote'", name
        )

        assert refused in {None, "23514", "22023"}
        if refused is None:
            with pytest.raises(asyncpg.InvalidParameterValueError, match="must carry the key columns"):
                await database.fetch("""select * from store_rows_v2('quote', '[{"symbol": "AAPL", "price": 1}]')""")
    assert await owner.fetchval("select to_regclass('leases_v2') is not null")


@pytest.mark.parametrize("symbol", HOSTILE_SYMBOLS, ids=lambda symbol: repr(symbol[:30]))
async def test_a_hostile_symbol_is_neither_allowed_nor_queued_and_breaks_no_batch(
    owner: Database, database: Database, symbol: str
) -> None:
    await make_ready(owner)

    queued = await database.fetchval(
        "select check_and_queue_stale_pairs_v2(array['AAPL', $1], '{quote,quote}', '{1,1}')", symbol
    )
    joined = [{"user_id": "user:1", "symbol": s, "data_type": "quote"} for s in (symbol, "MSFT")]
    await database.execute("select refresh_analytics_from_presence_v2('s', $1, '[]')", joined)

    assert queued == 1
    assert await sweep(database) == 1
    with pytest.raises(asyncpg.InvalidParameterValueError, match="cannot queue"):
        await database.fetch("select * from queue_refreshes_v2(array['MSFT', $1], '{quote,quote}', '{1,1}')", symbol)
    if symbol != "GLOBAL":
        with pytest.raises(asyncpg.CheckViolationError):
            await owner.execute("insert into supported_symbols (symbol) values ($1)", symbol)
    jobs = await owner.fetch("select symbol from api_call_queue_v2 order by symbol")
    assert [row["symbol"] for row in jobs] == ["AAPL", "MSFT"]
