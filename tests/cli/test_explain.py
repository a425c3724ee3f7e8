"""``refreshd queue`` and ``refreshd explain`` as an operator types them at 3 a.m."""

from __future__ import annotations

from collections.abc import AsyncIterator

import orjson
import pytest
import pytest_asyncio

from daemon.contracts import Pair
from daemon.store.flags import set_flags
from daemon.store.queue import claim_jobs
from devstack.stack import Stack
from tests.cli.test_commands import refreshd
from tests.rows import make_ready, queue

SYMBOLS = ["AAPL", "AAL", "MSFT", "NVDA"]
QUOTE = Pair("AAPL", "quote")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[Stack]:
    async with Stack(latency_seconds=0.0, durable=False, symbols=SYMBOLS) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def stack(server: Stack) -> Stack:
    """The stack with nothing queued, everything on, and nothing in the way."""
    await server.owner.execute(
        "truncate api_call_queue_v2, refresh_state_v2, active_subscriptions_v2, api_data_usage_v2, upstream_limits_v2"
    )
    await server.owner.execute(
        "update upstreams_v2 set paused_until = null, breaker_state = 'closed', bytes_ceiling = null"
    )
    await server.owner.execute("update supported_symbols set is_active = true")
    await make_ready(server.owner, SYMBOLS, calls=300)
    return server


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def view(stack: Stack, *viewers: str) -> None:
    await stack.owner.execute(
        "insert into active_subscriptions_v2 (user_id, symbol, data_type, source)"
        " select v, 'AAPL', 'quote', 'viewers:0' from unnest($1::text[]) v",
        list(viewers),
    )


async def set_state(stack: Stack, *, fresh: str = "41 s", due: str = "40 s", outcome: str = "changed") -> None:
    await stack.owner.execute(
        "insert into refresh_state_v2 (symbol, data_type, last_checked_at, last_outcome, fresh_until, next_due_at,"
        " consecutive_failures) values ('AAPL', 'quote', now(), $1, now() + $2::text::interval,"
        " now() + $3::text::interval, case $1 when 'failed' then 3 else 0 end)",
        outcome,
        fresh,
        due,
    )


async def explained(stack: Stack, symbol: str = "AAPL", data_type: str = "quote") -> str:
    code, text = await refreshd(stack, "explain", symbol, data_type)
    assert code == 0, text
    return text.splitlines()[0]


async def test_a_fresh_pair_says_for_how_long_and_when_it_falls_due(stack: Stack) -> None:
    await view(stack, "user:ann", "user:bob", "user:cid")
    await set_state(stack)

    sentence = await explained(stack)

    assert sentence.startswith("AAPL quote is fresh for another ")
    assert "; 3 viewers are looking; it falls due in " in sentence


async def test_a_pair_that_nobody_looks_at_stays_as_it_is(stack: Stack) -> None:
    await set_state(stack, fresh="-2 hours", due="-2 hours")

    sentence = await explained(stack)

    assert sentence.startswith("AAPL quote has been stale for 2 h")
    assert sentence.endswith(", and nobody is looking at it: it stays as it is")


async def test_a_pair_that_was_never_fetched_says_so(stack: Stack) -> None:
    assert await explained(stack) == "AAPL quote has never been fetched, and nobody is looking at it"

    await view(stack, "user:ann")
    assert await explained(stack) == (
        "AAPL quote has never been fetched; one viewer is looking: it is queued within a minute at most"
    )


async def test_a_flag_that_is_off_is_named_with_what_turns_it_on(stack: Stack) -> None:
    await set_flags(stack.owner, ["migrate_quote_type"], enabled=False)
    assert await explained(stack) == (
        "AAPL quote is not refreshed: the flag migrate_quote_type is off;"
        " `refreshd flags on migrate_quote_type` turns it on"
    )

    await set_flags(stack.owner, ["use_queue_system"], enabled=False)
    assert "the flag use_queue_system is off" in await explained(stack)


async def test_a_type_that_moves_over_says_whose_it_is_and_for_how_long_it_is_held(stack: Stack) -> None:
    await stack.owner.execute(
        "insert into migration_phases_v2 (data_type, phase, held_until)"
        " values ('quote', 'watched', now() + interval '1 minute')"
    )
    held = await explained(stack)
    await stack.owner.execute("update migration_phases_v2 set phase = 'rolled_back', held_until = null")
    await set_flags(stack.owner, ["migrate_quote_type"], enabled=False)
    back = await explained(stack)
    await stack.owner.execute("delete from migration_phases_v2")

    assert "its type has just moved over, and is held for" in held
    assert "its type is the old system's (rolled back): `refreshd migration status`" in back


async def test_a_symbol_that_is_not_active_is_not_refreshed(stack: Stack) -> None:
    await stack.owner.execute("update supported_symbols set is_active = false where symbol = 'AAPL'")

    assert await explained(stack) == "AAPL quote is not refreshed: its symbol is not active in supported_symbols"


async def test_a_job_that_waits_says_how_many_go_first(stack: Stack) -> None:
    await queue(stack.owner, QUOTE, Pair("MSFT", "quote"), Pair("NVDA", "quote"))
    await stack.owner.execute(
        "update api_call_queue_v2_pending set lane = 1, gain = case symbol when 'AAPL' then 1 else 2 end"
    )

    assert await explained(stack) == ("AAPL quote is queued; about 2 jobs are worth more for the cost, and first")


async def test_a_job_that_runs_names_who_runs_it(stack: Stack) -> None:
    await queue(stack.owner, QUOTE)
    await claim_jobs(stack.owner, 1, "host/4242", 300)

    assert (await explained(stack)).startswith("AAPL quote is being refreshed now by host/4242, since ")


async def test_a_job_that_is_tried_again_says_when_and_why(stack: Stack) -> None:
    await queue(stack.owner, QUOTE)
    await stack.owner.execute(
        "update api_call_queue_v2_pending set not_before = now() + interval '30 s', retry_count = 2,"
        " error_message = E'timeout: no answer\\x1b[31m in 10 s'"
    )

    sentence = await explained(stack)

    assert sentence.startswith("AAPL quote is tried again in ")
    assert sentence.endswith("(retry 2 of 3): timeout: no answer\\x1b[31m in 10 s")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("update upstreams_v2 set paused_until = now() + interval '1 h', pause_reason = '429'", "paused until"),
        ("update upstreams_v2 set breaker_state = 'open', breaker_reason = 'timeout'", "the breaker is open (timeout)"),
        ("truncate upstream_limits_v2", "no running daemon has announced limits"),
        ("update upstreams_v2 set bytes_ceiling = -1000000", "bytes are ahead of the pace that lasts for 30 days"),
        (
            "insert into api_data_usage_v2 (upstream, holder, calls, bytes) values ('fmp', 'x', 300, 0)",
            "all calls of this minute are made",
        ),
        (
            "insert into api_data_usage_v2 (upstream, holder, calls, bytes) values ('fmp', 'x', 1, 19e9)",
            "95 % of the bytes of 30 days are spent",
        ),
    ],
)
async def test_what_holds_all_calls_is_said_by_both_commands(stack: Stack, change: str, reason: str) -> None:
    await queue(stack.owner, QUOTE)
    await stack.owner.execute(change)

    sentence = await explained(stack)
    _, state = await refreshd(stack, "queue")
    assert sentence.startswith("AAPL quote is queued, and nothing is claimed now: ")
    assert reason in sentence
    assert reason in state.splitlines()[0]


async def test_failed_and_empty_pairs_say_what_comes_next(stack: Stack) -> None:
    await view(stack, "user:ann")
    await set_state(stack, outcome="failed", fresh="-1 min", due="15 min")
    assert "failed 3 times in a row, and is not tried again before " in await explained(stack)

    await stack.owner.execute("update refresh_state_v2 set last_outcome = 'empty'")
    assert "has nothing at the upstream, as of " in await explained(stack)


async def test_a_global_type_is_explained_for_any_symbol(stack: Stack) -> None:
    assert (await explained(stack, "WHATEVER", "exchange-market-status")).startswith("GLOBAL exchange-market-status ")


async def test_a_type_that_this_version_cannot_fetch_says_so(stack: Stack) -> None:
    await stack.owner.execute("update data_type_registry_v2 set edge_function_name = 'fax' where data_type = 'profile'")

    sentence = await explained(stack, "AAPL", "profile")
    await stack.owner.execute(
        "update data_type_registry_v2 set edge_function_name = 'profile' where data_type = 'profile'"
    )

    assert sentence == (
        "AAPL profile is not refreshed: this version has no fetcher fax; the job waits for one that has"
    )


async def test_what_does_not_exist_is_refused_with_what_does(stack: Stack) -> None:
    symbol = await refreshd(stack, "explain", "AAXX", "quote")
    kind = await refreshd(stack, "explain", "AAPL", "quotes")

    assert (symbol[0], kind[0]) == (78, 78)
    assert "is not in supported_symbols; there are AAL, AAPL: add it with `refreshd seed symbols FILE`" in symbol[1]
    assert "unknown data type 'quotes': there are available-exchanges, " in kind[1]


async def test_hostile_arguments_are_only_texts(stack: Stack) -> None:
    code, text = await refreshd(stack, "explain", "'; drop table profiles; --\x1b[31m", "quote")

    assert code == 78
    assert "\x1b" not in text


async def test_both_are_there_for_scripts(stack: Stack) -> None:
    await queue(stack.owner, QUOTE)

    explanation = orjson.loads((await refreshd(stack, "explain", "AAPL", "quote", "--json"))[1])
    state = orjson.loads((await refreshd(stack, "queue", "--json"))[1])

    assert explanation["verdict"].startswith("AAPL quote is queued")
    assert explanation["index"] == pytest.approx(explanation["job"]["gain"] / explanation["cost"])
    assert [row["pending"] for row in state["types"] if row["data_type"] == "quote"] == [1]
    assert state["held_by"] == {"fmp": None}


@pytest.mark.parametrize("columns", [80, 130])
async def test_both_fit_the_terminal(stack: Stack, columns: int) -> None:
    await view(stack, "user:ann")
    await queue(stack.owner, QUOTE)

    table = (await refreshd(stack, "queue", COLUMNS=str(columns)))[1].split("\n\n")[1]

    assert max(map(len, table.splitlines())) <= columns


async def test_a_quote_says_whether_its_exchange_trades(stack: Stack) -> None:
    await set_state(stack)
    await stack.owner.execute("update supported_symbols set exchange = 'XTEST' where symbol = 'AAPL'")
    await stack.owner.execute(
        "insert into exchange_market_status (exchange, opening_hour, closing_hour, timezone, holidays)"
        " select 'XTEST', '09:00 AM +00:00', '05:00 PM +00:00', 'Etc/UTC',"
        " jsonb_agg(jsonb_build_object('date', d::date, 'isClosed', true))"
        " from generate_series(now() - interval '2 days', now() + interval '2 days', interval '1 day') d"
    )

    _, text = await refreshd(stack, "explain", "AAPL", "quote")

    assert "XTEST is closed until " in text
    assert "one fetch after the close stays fresh until it opens" in text
