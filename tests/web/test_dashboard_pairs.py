"""What the dashboard looks up, on a real PostgreSQL, with no more rights than the daemon has."""

from __future__ import annotations

from daemon.contracts import GLOBAL_SYMBOL, Pair
from daemon.store.database import Database
from daemon.store.top_pairs import read_outcomes, read_top_pairs
from tests.rows import make_ready
from tests.web.dashboard_stage import finish_jobs, set_state, subscribe

AAPL, MSFT = Pair("AAPL", "quote"), Pair("MSFT", "quote")


async def test_the_pairs_with_the_most_viewers_come_first_and_so_many_alone(
    owner: Database, database: Database
) -> None:
    await make_ready(owner)
    for viewers, pair in ((2, AAPL), (5, MSFT), (2, Pair("AAPL", "profile"))):
        await subscribe(owner, pair, viewers)

    top = await read_top_pairs(database)
    first = await read_top_pairs(database, 1)

    assert [(row["symbol"], row["data_type"], row["viewers"]) for row in top] == [
        ("MSFT", "quote", 5),
        ("AAPL", "profile", 2),
        ("AAPL", "quote", 2),
    ]
    assert [row["symbol"] for row in first] == ["MSFT"]


async def test_a_viewer_in_two_sources_counts_once(owner: Database, database: Database) -> None:
    await make_ready(owner)
    await subscribe(owner, AAPL, 2)
    await owner.execute("insert into active_subscriptions_v2 values ('user:1', 'AAPL', 'quote', 'symbol:AAPL')")

    (row,) = await read_top_pairs(database)

    assert row["viewers"] == 2


async def test_a_pair_says_how_it_stands(owner: Database, database: Database) -> None:
    await make_ready(owner)
    await subscribe(owner, AAPL, 1)
    await set_state(owner, AAPL, age=20, fresh_for=40, due_in=35, outcome="unchanged")

    (row,) = await read_top_pairs(database)

    assert 20 <= row["age_seconds"] < 30
    assert 30 < row["fresh_for_seconds"] <= 40
    assert 25 < row["due_in_seconds"] <= 35
    assert (row["ttl_seconds"], row["last_outcome"], row["job_status"]) == (60, "unchanged", None)
    assert (row["queue_is_on"], row["type_is_on"], row["symbol_is_active"]) == (True, True, True)


async def test_a_pair_says_how_its_job_stands(owner: Database, database: Database) -> None:
    await make_ready(owner)
    await subscribe(owner, AAPL, 1)
    await owner.execute("select queue_refreshes_v2(array['AAPL'], array['quote'], array[1])")
    await owner.execute("update api_call_queue_v2 set retry_count = 2, error_message = 'timeout'")

    (row,) = await read_top_pairs(database)

    assert (row["job_status"], row["lane"], row["retry_count"], row["error_message"]) == ("pending", 0, 2, "timeout")
    assert row["waits_seconds"] <= 0


async def test_what_stands_in_the_way_is_told(owner: Database, database: Database) -> None:
    await make_ready(owner)
    await owner.execute("update supported_symbols set is_active = false where symbol = 'MSFT'")
    await owner.execute("update feature_flags set enabled = false where flag_name = 'migrate_shares_float_type'")
    for pair in (MSFT, Pair("NOPE", "quote"), Pair("AAPL", "shares-float"), Pair("AAPL", "gone")):
        await subscribe(owner, pair, 1)
    await subscribe(owner, Pair(GLOBAL_SYMBOL, "available-exchanges"), 1)

    told = {(row["symbol"], row["data_type"]): row for row in await read_top_pairs(database)}

    assert told[MSFT]["symbol_is_active"] is False
    assert told["NOPE", "quote"]["symbol_is_active"] is None
    assert told["AAPL", "shares-float"]["type_is_on"] is False
    assert told["AAPL", "gone"]["upstream"] is None
    assert told[GLOBAL_SYMBOL, "available-exchanges"]["symbol_is_active"] is True


async def test_outcomes_of_the_last_hour_are_counted_by_type(owner: Database, database: Database) -> None:
    await make_ready(owner)
    await finish_jobs(owner, "quote", "changed", 4)
    await finish_jobs(owner, "quote", "rejected", 1)
    await finish_jobs(owner, "quote", "failed", 2, apart=600, error="x" * 500)
    await finish_jobs(owner, "profile", "empty", 2, apart=4_000)

    outcomes = {row["data_type"]: row for row in await read_outcomes(database)}

    quote = outcomes["quote"]
    assert [quote[name] for name in ("changed", "unchanged", "empty", "rejected", "failed")] == [4, 0, 0, 1, 2]
    assert quote["last_error"] == "x" * 300
    assert 0 <= quote["last_error_seconds_ago"] < 60
    assert outcomes["profile"]["empty"] == 1
    assert outcomes["profile"]["last_error"] is None
