"""Every data type all the way: from the simulated upstream through a claimed job into its table."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from aiohttp import ClientSession

from daemon.contracts import GLOBAL_SYMBOL, Pair
from daemon.fetchers.client import HttpUpstream
from daemon.fetchers.table import FETCHERS, build_fetchers
from daemon.processor.breaker import Breaker, BreakerLimits
from daemon.processor.calls import CallWatch
from daemon.processor.dispatch import Batch, Dispatcher
from daemon.processor.drift import DriftWatch
from daemon.processor.spending import Spender
from daemon.refresh.estimates import Estimates, SessionLength
from daemon.refresh.markets import Markets
from daemon.refresh.policy import DueRules
from daemon.store.catalogue import StoredCatalogue, seed_symbols
from daemon.store.clock import DatabaseClock
from daemon.store.database import Database
from daemon.store.exchanges import read_exchanges
from daemon.store.queue import claim_jobs
from devstack.upstream.server import UpstreamServer
from tests.rows import HOLDER, make_ready, queue

KEY = "a-key"
COLUMNS = """
select a.attname from pg_attribute a where a.attrelid = to_regclass($1) and a.attnum > 0 and a.attname <> $2
"""


class Worker:
    """Works jobs off against the simulated upstream."""

    def __init__(self, owner: Database, dispatcher: Dispatcher, markets: Markets, upstream: UpstreamServer) -> None:
        self.owner = owner
        self.upstream = upstream
        self._dispatcher = dispatcher
        self._markets = markets

    async def work(self, data_type: str) -> str:
        """Refresh a pair of a type and return the outcome."""
        self._markets.load(await read_exchanges(self.owner))
        is_global = await self.owner.fetchval(
            "select symbol_column is null from data_type_registry_v2 where data_type = $1", data_type
        )
        (job,) = await queue(self.owner, Pair(GLOBAL_SYMBOL if is_global else "AAPL", data_type))
        jobs = await claim_jobs(self.owner, 10, HOLDER, 30)
        assert [claimed.id for claimed in jobs] == [job]
        await self._dispatcher.run(Batch(jobs, 0.0))
        ended = await self.owner.fetchrow(
            "select status, outcome, error_message from api_call_queue_v2 where id = $1", job
        )
        assert ended is not None
        assert ended["status"] == "completed", ended["error_message"]
        return str(ended["outcome"])

    async def wire(self, endpoint: str, params: Mapping[str, str]) -> list[dict[str, Any]]:
        """Return what the upstream says itself."""
        async with (
            ClientSession(headers={"apikey": KEY}) as session,
            session.get(f"{self.upstream.url}/{endpoint}", params=params) as response,
        ):
            records: list[dict[str, Any]] = json.loads(await response.read())
            return records


@pytest.fixture
async def worker(owner: Database, database: Database) -> AsyncIterator[Worker]:
    await make_ready(owner)
    await seed_symbols(owner, [("AAPL", "NASDAQ")])
    clock, catalogue = DatabaseClock(), StoredCatalogue()
    await clock.synchronise(database)
    await catalogue.load(database)
    markets = Markets(lambda: catalogue.types, catalogue.exchange_of, clock, catalogue.exchanges)
    async with (
        UpstreamServer(KEY, latency_seconds=0, calls_per_minute=10_000) as upstream,
        HttpUpstream(upstream.url, KEY, version="test", allow_loopback=True) as client,
    ):
        spender = Spender(database, "fmp", HOLDER, client, Breaker(database, "fmp", BreakerLimits(), clock), clock)
        estimates = Estimates(SessionLength(clock, first_seconds=300, leave_grace_seconds=30))
        dispatcher = Dispatcher(
            database,
            {"fmp": spender},
            build_fetchers(markets, clock.now),
            clock,
            DueRules(),
            estimates,
            DriftWatch(),
            CallWatch(),
            on_finished=lambda _: None,
            on_refused=lambda _: None,
        )
        yield Worker(owner, dispatcher, markets, upstream)


SOMETIMES_NULL = {
    "exchange-market-status": {"opening_additional", "closing_additional", "holidays_checked_on"},
    "available-exchanges": {"delay"},
    "exchange-variants": {"price", "range", "changes", "dcf_diff", "cik", "mkt_cap"},
}


@pytest.mark.parametrize("data_type", FETCHERS)
async def test_a_type_is_fetched_into_every_column_of_its_table(worker: Worker, data_type: str) -> None:
    registry = await worker.owner.fetchrow("select * from data_type_registry_v2 where data_type = $1", data_type)
    assert registry is not None

    assert await worker.work(data_type) == "changed"

    rows = await worker.owner.fetch("select to_jsonb(t) as row from " + registry["table_name"] + " t")
    columns = await worker.owner.fetch(COLUMNS, registry["table_name"], registry["timestamp_column"])
    assert rows
    empty = {name["attname"] for name in columns if any(row["row"][name["attname"]] is None for row in rows)}
    assert empty <= SOMETIMES_NULL.get(data_type, set())


async def test_figures_are_stored_with_all_their_digits(worker: Worker) -> None:
    worker.upstream.market_open = False  # a price that moves between two answers moves some of the ratios
    await worker.work("ratios-ttm")

    (sent,) = await worker.wire("ratios-ttm", {"symbol": "AAPL"})
    stored = await worker.owner.fetchrow("select * from ratios_ttm")
    assert stored is not None
    figures = sorted(float(value) for name, value in sent.items() if name != "symbol")
    assert sorted(float(value) for name, value in stored.items() if name.endswith("_ttm")) == figures


async def test_statements_are_stored_as_they_came(worker: Worker) -> None:
    await worker.work("financial-statements")

    params = {"symbol": "AAPL", "period": "annual", "limit": "40"}
    income = await worker.wire("income-statement", params)
    rows = await worker.owner.fetch("select * from financial_statements order by date desc")
    assert [row["income_statement"] for row in rows] == income
    assert [str(row["fiscal_year"]) for row in rows] == [record["fiscalYear"] for record in income]
    assert worker.upstream.calls_by_endpoint["cash-flow-statement"] == 1
    assert await worker.work("financial-statements") == "unchanged"


async def test_a_dividend_that_is_gone_is_removed_with_the_next_answer(worker: Worker) -> None:
    await worker.owner.execute(
        "insert into dividend_history (symbol, date) values ('AAPL', '1999-09-09'), ('MSFT', '1999-09-09')"
    )

    await worker.work("dividend-history")

    old = await worker.owner.fetch("select symbol from dividend_history where date = '1999-09-09'")
    count = await worker.owner.fetchval("select count(*) from dividend_history where symbol = 'AAPL'")
    assert [row["symbol"] for row in old] == ["MSFT"]
    assert count == len(await worker.wire("dividends", {"symbol": "AAPL"}))


async def test_the_same_list_again_costs_no_write(worker: Worker) -> None:
    await worker.work("grades-historical")
    before = await worker.owner.fetch("select xmin::text, fetched_at from grades_historical order by date")

    worker.upstream.honour_etags = False
    await worker.work("grades-historical")

    assert await worker.owner.fetch("select xmin::text, fetched_at from grades_historical order by date") == before


async def test_what_has_not_changed_is_unchanged(worker: Worker) -> None:
    await worker.work("available-exchanges")

    assert await worker.work("available-exchanges") == "unchanged"
    assert worker.upstream.statuses[304] == 1


async def test_holidays_come_with_the_second_answer_and_stay_with_the_hours_on_a_closed_day(worker: Worker) -> None:
    await worker.work("exchange-market-status")
    await worker.work("exchange-market-status")
    open_day = await worker.owner.fetchrow("select * from exchange_market_status where exchange = 'NASDAQ'")

    worker.upstream.market_open = False
    await worker.work("exchange-market-status")

    closed_day = await worker.owner.fetchrow("select * from exchange_market_status where exchange = 'NASDAQ'")
    assert open_day is not None
    assert closed_day is not None
    assert [open_day["is_market_open"], closed_day["is_market_open"]] == [True, False]
    assert closed_day["opening_hour"] == open_day["opening_hour"] != "CLOSED"
    assert len(closed_day["holidays"]) >= 9
    assert closed_day["holidays_checked_on"] is not None
    assert worker.upstream.calls_by_endpoint["holidays-by-exchange"] == 1
