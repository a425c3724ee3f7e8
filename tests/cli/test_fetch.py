"""``refreshd fetch`` as an operator types it: to check a key, a plan, a data type."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator

import orjson
import pytest
import pytest_asyncio

from daemon.contracts import Pair
from daemon.store.budgets import trip_breaker
from daemon.store.database import Database
from daemon.store.flags import set_flags
from daemon.store.queue import claim_jobs
from devstack.daemon_process import REPOSITORY
from devstack.stack import Stack
from devstack.upstream.faults import Fault, FaultKind
from tests.cli.test_commands import refreshd
from tests.rows import counts, make_ready, orphans, queue

SYMBOLS = ["AAPL", "MSFT"]
QUOTE = Pair("AAPL", "quote")
SPENT = "select count(*) filter (where settled_at is not null) = count(*) from api_data_usage_v2"
STATE = "select last_outcome from refresh_state_v2 where symbol = 'AAPL' and data_type = 'quote'"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[Stack]:
    async with Stack(latency_seconds=0.0, durable=False, symbols=SYMBOLS) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def stack(server: Stack) -> AsyncIterator[Stack]:
    """The stack with nothing stored, nothing queued, everything on, and nothing in the way."""
    await server.owner.execute(
        "truncate api_call_queue_v2, refresh_state_v2, api_data_usage_v2, upstream_limits_v2,"
        " live_quote_indicators, profiles"
    )
    await server.owner.execute(
        "update upstreams_v2 set paused_until = null, breaker_state = 'closed', breaker_open_until = null"
    )
    await make_ready(server.owner, SYMBOLS, calls=300)
    yield server
    server.upstream.faults.clear()


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def nothing_is_stored(owner: Database) -> bool:
    return bool(
        await owner.fetchval(
            "select not exists (select from live_quote_indicators) and not exists (select from api_call_queue_v2)"
            " and not exists (select from refresh_state_v2 where last_outcome is not null)"
        )
    )


async def test_a_fetch_shows_what_came_and_stores_it_as_a_refresh(stack: Stack) -> None:
    calls = stack.upstream.calls

    code, text = await refreshd(stack, "fetch", "quote", "AAPL")

    assert code == 0, text
    assert text.startswith("AAPL quote is changed: 1 row stored, fresh until ")
    assert "quote symbol=AAPL: 200, " in text
    assert "price_avg_200" in text
    assert stack.upstream.calls == calls + 1
    assert await stack.owner.fetchval(STATE) == "changed"
    assert await counts(stack.owner) == {"completed": 1}
    assert await orphans(stack.owner) == 0
    assert await stack.owner.fetchval(SPENT)
    assert await stack.owner.fetchval("select sum(calls) from api_data_usage_v2") == 1


async def test_a_dry_run_works_for_any_symbol_and_any_flag_and_stores_nothing(stack: Stack) -> None:
    await set_flags(stack.owner, ["use_queue_system", "migrate_quote_type"], enabled=False)

    code, text = await refreshd(stack, "fetch", "quote", "NVDA", "--dry-run")

    assert code == 0, text
    assert text.startswith("NVDA quote is changed: 1 row would be stored; nothing was, with --dry-run")
    assert await nothing_is_stored(stack.owner)
    assert await stack.owner.fetchval("select sum(calls) from api_data_usage_v2 where settled_at is not null") == 1


async def test_a_type_whose_flag_is_off_is_stored_all_the_same(stack: Stack) -> None:
    await set_flags(stack.owner, ["use_queue_system", "migrate_profile_type"], enabled=False)

    code, text = await refreshd(stack, "fetch", "profile", "AAPL")

    assert code == 0, text
    assert await stack.owner.fetchval("select company_name from profiles where symbol = 'AAPL'") == "Apple Inc."


async def test_the_raw_body_comes_alone_on_standard_output(stack: Stack) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "daemon", "fetch", "profile", "AAPL", "--dry-run", "--raw",
        env=stack.environment(), cwd=REPOSITORY, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    body, said = await process.communicate()

    assert process.returncode == 0
    assert orjson.loads(body)[0]["companyName"] == "Apple Inc."
    assert body.startswith(b"[\n  {")
    assert said.startswith(b"AAPL profile is changed: 1 row would be stored")


async def test_everything_is_there_for_scripts(stack: Stack) -> None:
    code, text = await refreshd(stack, "fetch", "profile", "AAPL", "--json")
    found = orjson.loads(text)

    assert code == 0
    assert (found["outcome"], found["stored"], found["error"]) == ("changed", True, None)
    assert found["rows"][0]["company_name"] == "Apple Inc."
    assert found["etag"].startswith('W/"')
    [call] = found["calls"]
    assert (call["endpoint"], call["params"], call["status"]) == ("profile", {"symbol": "AAPL"}, 200)
    assert call["received_bytes"] > 500


async def test_a_source_that_says_nothing_newer_is_unchanged_and_succeeds(stack: Stack) -> None:
    stack.upstream.market_open = False
    await refreshd(stack, "fetch", "quote", "AAPL")

    code, text = await refreshd(stack, "fetch", "quote", "AAPL")
    stack.upstream.market_open = True

    assert (code, text.splitlines()[0].split(", fresh")[0]) == (0, "AAPL quote is unchanged: 0 rows stored")


async def test_a_symbol_without_data_is_empty_which_is_a_good_answer(stack: Stack) -> None:
    stack.upstream.faults.add(Fault(FaultKind.EMPTY, endpoint="quote", times=1))

    code, text = await refreshd(stack, "fetch", "quote", "AAPL")

    assert code == 0
    assert text.startswith("AAPL quote is empty: 0 rows stored")
    assert await stack.owner.fetchval(STATE) == "empty"


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault(FaultKind.PLAN, times=1), "plan: quote symbol=AAPL: 402"),
        (Fault(FaultKind.HTML, times=1), "malformed: quote symbol=AAPL: not a JSON array"),
        (Fault(FaultKind.WRONG_SYMBOL, wrong_symbol="WRNG", times=1), "wrong_symbol: quote symbol=AAPL"),
        (Fault(FaultKind.STATUS, times=1), "upstream_error: quote symbol=AAPL: 50"),
        (Fault(FaultKind.TRUNCATED_JSON, times=1), "transport: quote symbol=AAPL: the body has "),
    ],
)
async def test_a_failure_says_its_kind_and_changes_nothing_but_the_budgets(
    stack: Stack, fault: Fault, said: str
) -> None:
    stack.upstream.faults.add(fault)

    code, text = await refreshd(stack, "fetch", "quote", "AAPL")

    assert code == 1
    assert f"AAPL quote failed: {said}" in text
    assert await nothing_is_stored(stack.owner)
    assert await stack.owner.fetchval(SPENT)


async def test_a_wrong_key_is_named_and_stops_nobody_else(stack: Stack) -> None:
    code, text = await refreshd(stack, "fetch", "quote", "AAPL", FMP_API_KEY="a-false-key")

    assert code == 1
    assert "AAPL quote failed: unauthorised: " in text
    assert "; the key is wrong, check FMP_API_KEY" in text
    assert "a-false-key" not in text
    assert await stack.owner.fetchval("select breaker_state from upstreams_v2 where upstream = 'fmp'") == "closed"


async def test_an_open_breaker_holds_the_operator_too(stack: Stack) -> None:
    await trip_breaker(stack.owner, "fmp", "timeouts", None, 300, 300)
    calls = stack.upstream.calls

    code, text = await refreshd(stack, "fetch", "quote", "AAPL")

    assert code == 1
    assert "refreshd: nothing was asked: the breaker is open (timeouts); call refused: breaker" in text
    assert stack.upstream.calls == calls


async def test_a_used_up_budget_holds_the_operator_too(stack: Stack) -> None:
    await stack.owner.execute(
        "insert into api_data_usage_v2 (upstream, holder, calls, bytes) values ('fmp', 'x', 300, 0)"
    )

    code, text = await refreshd(stack, "fetch", "quote", "AAPL")

    assert code == 1
    assert "nothing was asked: all calls of this minute are made" in text


async def test_without_a_daemon_the_configured_limits_hold_for_as_long(stack: Stack) -> None:
    await stack.owner.execute("truncate upstream_limits_v2")

    code, text = await refreshd(stack, "fetch", "quote", "AAPL")

    assert code == 0, text
    assert await stack.owner.fetchval("select count(*) from upstream_limits_v2") == 0


async def test_the_job_that_waits_is_done_with_it(stack: Stack) -> None:
    [waiting] = await queue(stack.owner, QUOTE)

    code, text = await refreshd(stack, "fetch", "quote", "AAPL")

    assert code == 0, text
    assert f"{waiting}, which waited in the queue: done with this" in text
    assert await counts(stack.owner) == {"completed": 1}
    assert await orphans(stack.owner) == 0


async def test_a_job_that_runs_is_left_alone(stack: Stack) -> None:
    await queue(stack.owner, QUOTE)
    await claim_jobs(stack.owner, 1, "host/4242", 300)

    code, text = await refreshd(stack, "fetch", "quote", "AAPL")
    dry_code, dry_text = await refreshd(stack, "fetch", "quote", "AAPL", "--dry-run")

    assert code == 1
    assert "AAPL quote is being refreshed just now by host/4242: nothing was asked" in text
    assert dry_code == 0
    assert ", processing: left alone" in dry_text
    assert await counts(stack.owner) == {"processing": 1}


async def test_rows_that_the_table_refuses_are_said_and_fail_the_job(stack: Stack) -> None:
    await stack.owner.execute("alter table live_quote_indicators add constraint cheap check (price < 0)")

    code, text = await refreshd(stack, "fetch", "quote", "AAPL")
    await stack.owner.execute("alter table live_quote_indicators drop constraint cheap")

    assert code == 1
    assert "AAPL quote is changed, but was not stored: the table refused the row: CheckViolationError" in text
    assert await counts(stack.owner) == {"failed": 1}


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("quotes", "AAPL"), 78, "unknown data type 'quotes': there are available-exchanges, "),
        (
            ("quote", "NVDA"),
            78,
            "'NVDA' is not in supported_symbols: add it with `refreshd seed symbols FILE`, or give",
        ),
        (("quote",), 2, "which SYMBOL?"),
        (("quote", "aapl"), 2, "'aapl' is no symbol"),
        (("quote", "A\x1b[31m"), 2, "is no symbol"),
        (("quote", "AAPL", "--raw", "--json"), 2, "--raw and --json exclude each other"),
    ],
)
async def test_what_cannot_be_fetched_is_refused_before_anything_is_asked(
    stack: Stack, arguments: tuple[str, ...], code: int, said: str
) -> None:
    calls = stack.upstream.calls

    answered, text = await refreshd(stack, "fetch", *arguments)

    assert (answered, stack.upstream.calls) == (code, calls)
    assert said in " ".join(text.split())
    assert "\x1b" not in text


async def test_a_type_without_a_fetcher_names_those_that_are_there(stack: Stack) -> None:
    await stack.owner.execute("update data_type_registry_v2 set edge_function_name = 'fax' where data_type = 'profile'")

    code, text = await refreshd(stack, "fetch", "profile", "AAPL")
    await stack.owner.execute(
        "update data_type_registry_v2 set edge_function_name = 'profile' where data_type = 'profile'"
    )

    assert code == 78
    assert "profile needs the fetcher 'fax', which is not here: there are " in text


async def test_the_exit_codes_are_in_the_help(stack: Stack) -> None:
    code, text = await refreshd(stack, "fetch", "--help")

    assert code == 0
    assert "Exit codes: 0 the upstream gave a good answer" in " ".join(text.split())
