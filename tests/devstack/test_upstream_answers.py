"""The simulated upstream answers in the shape of the real one."""

from __future__ import annotations

import json
import os
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from devstack.upstream.server import UpstreamServer
from tests.devstack.upstream_client import KEY, WEDNESDAY, Dial, rows_of

RECORDINGS = Path(os.environ.get("REFRESHD_RECORDINGS") or Path(__file__).parents[3] / "shared" / "fixtures" / "fmp")
PANEL = ("AAPL", "MSFT", "BRK-B", "SPY", "NVDA", "KO", "JPM", "XOM")
RECORDED = {
    "quote.AAPL": "quote?symbol={}",
    "profile.AAPL.2026": "profile?symbol={}",
    "income-statement.AAPL": "income-statement?symbol={}",
    "balance-sheet-statement.AAPL": "balance-sheet-statement?symbol={}",
    "cash-flow-statement.AAPL": "cash-flow-statement?symbol={}",
    "ratios-ttm.AAPL": "ratios-ttm?symbol={}",
    "dividends.AAPL": "dividends?symbol={}",
    "dividends-calendar.head": "dividends?symbol={}",
    "shares-float.AAPL": "shares-float?symbol={}",
    "shares-float.SPY": "shares-float?symbol={}",
    "revenue-product-segmentation.AAPL": "revenue-product-segmentation?symbol={}",
    "grades-historical.AAPL": "grades-historical?symbol={}",
    "search-exchange-variants.AAPL": "search-exchange-variants?symbol={}",
    "search-symbol.AAPL": "search-symbol?query={}",
    "available-exchanges": "available-exchanges",
    "all-exchange-market-hours.head": "all-exchange-market-hours",
    "exchange-market-hours.NASDAQ": "exchange-market-hours?exchange=NASDAQ",
    "holidays-by-exchange.NASDAQ": "holidays-by-exchange?exchange=NASDAQ",
}


def shape(row: dict[str, Any]) -> str:
    def json_type(value: object) -> str:
        if isinstance(value, dict):
            return "{" + ",".join(sorted({json_type(item) for item in value.values()})) + "}"
        names = {"NoneType": "null", "int": "number", "float": "number"}
        return names.get(type(value).__name__, type(value).__name__)

    return " ".join(f"{name}:{json_type(value)}" for name, value in row.items())


@pytest.mark.parametrize("recording", RECORDED)
async def test_every_recorded_row_has_a_simulated_row_of_the_same_keys_order_and_types(
    recording: str, upstream: UpstreamServer, client: ClientSession
) -> None:
    path = RECORDINGS / f"{recording}.json"
    if not path.is_file():
        pytest.skip(f"no recording {recording}")
    recorded = json.loads(path.read_text(encoding="utf-8"))

    questions = {RECORDED[recording].format(symbol) for symbol in PANEL}
    simulated = [row for question in questions for row in await rows_of(client, upstream, question)]

    assert {shape(row) for row in recorded} <= {shape(row) for row in simulated}
    assert {tuple(row) for row in simulated} <= {tuple(row) for row in recorded}


async def test_a_quote_has_seventeen_fields_and_whole_numbers_where_shares_and_seconds_are_counted(
    upstream: UpstreamServer, client: ClientSession
) -> None:
    [row] = await rows_of(client, upstream, "quote?symbol=BRK-B")

    assert len(row) == 17
    assert (row["symbol"], row["exchange"], row["timestamp"]) == ("BRK-B", "NYSE", int(WEDNESDAY))
    assert isinstance(row["volume"], int)
    assert row["yearLow"] <= row["dayLow"] <= row["price"] <= row["dayHigh"] <= row["yearHigh"]
    assert row["change"] == pytest.approx(row["price"] - row["previousClose"])


async def test_quotes_are_as_untidy_as_real_ones(upstream: UpstreamServer, client: ClientSession) -> None:
    rows = await rows_of(client, upstream, f"batch-quote?symbols={','.join(upstream.symbols())}")

    by_symbol = {row["symbol"]: row for row in rows}
    assert any(isinstance(row["marketCap"], float) for row in rows)
    assert isinstance(by_symbol["BTCUSD"]["volume"], float)
    assert by_symbol["^GSPC"]["marketCap"] is None
    assert by_symbol["TWTR"]["dayHigh"] is None
    assert by_symbol["BRK-A"]["price"] > 100_000


def test_hundreds_of_symbols_are_listed_in_the_form_that_is_allowed() -> None:
    symbols = UpstreamServer(KEY).symbols()

    assert len(symbols) == len(set(symbols)) >= 300
    assert all(re.fullmatch(r"[A-Z0-9^][A-Z0-9.^=-]{0,19}", symbol) for symbol in symbols)


async def test_a_batch_drops_unknown_symbols_repeats_duplicates_and_has_no_cap(
    upstream: UpstreamServer, client: ClientSession
) -> None:
    some = await rows_of(client, upstream, "batch-quote?symbols=MSFT,NOSUCH,AAPL,MSFT")
    everything = await rows_of(client, upstream, f"batch-quote?symbols={','.join(upstream.symbols())}")

    assert [row["symbol"] for row in some] == ["MSFT", "AAPL", "MSFT"]
    assert len(everything) == len(upstream.symbols())


@pytest.mark.parametrize("question", ["quote?symbol=AAPL,MSFT", "quote?symbol=BRK.B", "profile?symbol=NOSUCH"])
async def test_what_is_no_symbol_is_an_empty_array(
    question: str, upstream: UpstreamServer, client: ClientSession
) -> None:
    assert await rows_of(client, upstream, question) == []


async def test_prices_move_with_the_clock_and_two_servers_agree_about_them(
    upstream: UpstreamServer, client: ClientSession, clock: Dial
) -> None:
    question, rows = "quote?symbol=NVDA", []
    async with UpstreamServer(KEY, latency_seconds=0, clock=clock) as other:
        for _ in range(30):
            clock.seconds += 97
            [row] = await rows_of(client, upstream, question)
            assert await rows_of(client, other, question) == [row]
            rows.append(row)

    assert len({row["price"] for row in rows}) > 20
    for before, after in pairwise(rows):
        assert after["timestamp"] - before["timestamp"] == 97
        assert after["volume"] > before["volume"]
        assert after["dayLow"] <= min(before["dayLow"], after["price"])
        assert after["dayHigh"] >= max(before["dayHigh"], after["price"])


async def test_a_closed_market_stands_still_until_it_opens(
    upstream: UpstreamServer, client: ClientSession, clock: Dial
) -> None:
    before = await rows_of(client, upstream, "quote?symbol=AAPL")

    upstream.market_open = False
    clock.seconds += 3_600
    closed = await rows_of(client, upstream, "quote?symbol=AAPL")
    [hours] = await rows_of(client, upstream, "exchange-market-hours?exchange=NASDAQ")
    upstream.market_open = True
    after = await rows_of(client, upstream, "quote?symbol=AAPL")

    assert closed == before
    assert (hours["openingHour"], hours["isMarketOpen"]) == ("CLOSED", False)
    assert after[0]["timestamp"] == before[0]["timestamp"] + 3_600


@pytest.mark.parametrize("period", ["annual", "quarter"])
async def test_statements_of_every_company_add_up(period: str, upstream: UpstreamServer, client: ClientSession) -> None:
    for symbol in PANEL:
        question = f"?symbol={symbol}&period={period}"
        incomes = await rows_of(client, upstream, f"income-statement{question}")
        sheets = await rows_of(client, upstream, f"balance-sheet-statement{question}")
        flows = await rows_of(client, upstream, f"cash-flow-statement{question}")

        for income, sheet, flow in zip(incomes, sheets, flows, strict=True):
            assert income["grossProfit"] - income["operatingExpenses"] == income["operatingIncome"]
            assert sheet["totalLiabilities"] + sheet["totalEquity"] == sheet["totalAssets"]
            assert sheet["totalCurrentAssets"] + sheet["totalNonCurrentAssets"] == sheet["totalAssets"]
            assert flow["netIncome"] == income["netIncome"]
            assert flow["cashAtEndOfPeriod"] == sheet["cashAndCashEquivalents"]
            assert flow["cashAtEndOfPeriod"] - flow["cashAtBeginningOfPeriod"] == flow["netChangeInCash"]
        for flow, before in pairwise(flows):
            assert flow["cashAtBeginningOfPeriod"] == before["cashAtEndOfPeriod"]
