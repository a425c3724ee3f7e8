"""The registry refuses what does not exist, says all that is wrong, and gives a new type what it needs."""

from __future__ import annotations

import asyncpg
import pytest

from daemon.contracts import Pair
from daemon.store.database import Database
from tests.rows import make_ready, orphans, queue

pytestmark = pytest.mark.direct

INSERT = """
insert into data_type_registry_v2 (
    data_type, table_name, timestamp_column, staleness_function, default_ttl_minutes, edge_function_name, key_columns
) values ('rating', 'ratings', 'fetched_at', 'is_data_stale_v2', 5, 'quote', '{symbol}')
"""
TABLE = "create table ratings (symbol text primary key, score int, note text unique, fetched_at timestamptz)"


async def test_a_new_type_of_a_known_fetcher_is_one_insert(owner: Database, database: Database) -> None:
    await owner.execute(TABLE)
    await owner.execute(INSERT)
    await make_ready(owner, ["AAPL"])

    assert await owner.fetchval("select enabled from feature_flags where flag_name = 'migrate_rating_type'")
    assert await database.fetchval("select check_and_queue_stale_batch_v2('AAPL', '{rating}', 1)") == 1
    [job] = await database.fetch("select data_type, fetcher from get_queue_batch_v2(1, 'h/1')")
    assert tuple(job) == ("rating", "quote")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("table_name = 'nowhere'", "there is no table public.nowhere"),
        ("table_name = 'viewers_v2'", "there is no table public.viewers_v2"),
        ("timestamp_column = 'fetched'", "has no column fetched"),
        ("timestamp_column = 'score'", "column score of table ratings is no timestamp"),
        ("source_timestamp_column = 'note'", "column note of table ratings is no timestamp"),
        ("symbol_column = 'ticker'", "has no column ticker"),
        ("key_columns = '{symbol,score}'", r"has no unique index on exactly \(symbol, score\)"),
        ("key_columns = '{symbol,NULL}'", "has no unique index on exactly"),
        ("""key_columns = array['symbol"; drop table ratings']""", "has no column"),
        ("staleness_function = 'pg_sleep'", "there is no function public.pg_sleep"),
        ("staleness_function = 'store_rows_v2'", "there is no function public.store_rows_v2"),
        ("upstream = 'other'", "upstream 'other' is not in upstreams_v2"),
        ("refresh_schedule = 'every day'", "is no cron expression of five fields"),
        ("refresh_schedule = '* * * * * ; drop'", "is no cron expression of five fields"),
    ],
)
async def test_what_does_not_exist_is_refused_by_name(owner: Database, change: str, problem: str) -> None:
    await owner.execute(TABLE)
    await owner.execute(INSERT)

    with pytest.raises(asyncpg.InvalidParameterValueError, match=problem):
        await owner.execute(f"update data_type_registry_v2 set {change} where data_type = 'rating'")


async def test_everything_that_is_wrong_is_said_at_once(owner: Database) -> None:
    await owner.execute(TABLE)

    with pytest.raises(asyncpg.InvalidParameterValueError) as refusal:
        await owner.execute(INSERT.replace("fetched_at", "seen_at").replace("is_data_stale_v2", "nothing"))

    assert "no column seen_at" in str(refusal.value)
    assert "no function public.nothing" in str(refusal.value)


@pytest.mark.parametrize(
    "index",
    [
        "create unique index on ratings (score) where score > 0",
        "create unique index on ratings ((score + 1))",
        "alter table ratings add unique (score) deferrable",
        "create index on ratings (score)",
    ],
)
async def test_rows_cannot_be_upserted_on_an_index_that_is_not_plain_and_unique(owner: Database, index: str) -> None:
    await owner.execute(TABLE)
    await owner.execute(index)

    assert await owner.fetchval("select has_unique_key_v2('ratings', '{symbol}')")
    assert not await owner.fetchval("select has_unique_key_v2('ratings', '{score}')")


async def test_a_changed_schedule_is_computed_anew_and_its_round_forgotten(owner: Database) -> None:
    await owner.execute("update data_type_state_v2 set next_scheduled_at = now(), schedule_cursor = 'M'")

    await owner.execute("update data_type_registry_v2 set default_ttl_minutes = 7 where data_type = 'profile'")
    await owner.execute("update data_type_registry_v2 set refresh_schedule = '0 1 * * *' where data_type = 'quote'")

    rows = await owner.fetch(
        "select data_type, next_scheduled_at is null, schedule_cursor from data_type_state_v2"
        " where data_type in ('profile', 'quote') order by 1"
    )
    assert [tuple(row) for row in rows] == [("profile", False, "M"), ("quote", True, None)]


async def test_a_type_that_is_deleted_leaves_no_pair_and_no_pending_job(owner: Database) -> None:
    await make_ready(owner, ["AAPL"])
    await queue(owner, Pair("AAPL", "profile"), Pair("AAPL", "quote"))

    await owner.execute("delete from data_type_registry_v2 where data_type = 'profile'")

    rows = await owner.fetch("select data_type from api_call_queue_v2 union select data_type from refresh_state_v2")
    assert [row["data_type"] for row in rows] == ["quote"]
    assert await orphans(owner) == 0
