"""The parsers against recorded answers of the real upstream, where these are at hand."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from daemon.contracts import Fetched, FetchErrorKind
from daemon.fetchers import (
    answers,
    available_exchanges,
    dividend_history,
    exchange_market_status,
    exchange_variants,
    financial_statements,
    grades_historical,
    profile,
    quote,
    ratios_ttm,
    revenue_segmentation,
    shares_float,
)
from tests.fetchers.findings import row_of, rows_of

RECORDINGS = Path(
    os.environ.get("REFRESHD_RECORDINGS", Path(__file__).parents[2] / ".." / "shared" / "fixtures" / "fmp")
)

KINDS = {
    "400.missing-parameter.txt": FetchErrorKind.BAD_REQUEST,
    "401.invalid-api-key.json": FetchErrorKind.UNAUTHORISED,
    "402.premium-limit.txt": FetchErrorKind.PLAN,
    "402.restricted-endpoint.txt": FetchErrorKind.PLAN,
    "403.account-suspended.json": FetchErrorKind.UNAUTHORISED,
    "403.legacy-endpoint.json": FetchErrorKind.PLAN,
    "429.limit-reach.json": FetchErrorKind.RATE_LIMITED,
}


def recording(name: str) -> bytes:
    path = RECORDINGS / name
    if not path.is_file():
        pytest.skip(f"no recording {name}: set REFRESHD_RECORDINGS to the directory that holds it")
    return path.read_bytes()


def assert_nothing_odd(found: Fetched) -> None:
    assert found.oddities == ()


def test_the_recorded_quote_is_a_row() -> None:
    found = quote.parse(recording("quote.AAPL.json"), ["AAPL"])["AAPL"]

    assert isinstance(found, Fetched)
    assert found.rows is not None
    assert None not in found.rows[0].values()
    assert found.rows[0]["market_cap"] == 4603751738200
    assert found.rows[0]["source_timestamp"] == "2026-08-26T20:00:00+00:00"


def test_the_recorded_short_quotes_are_rows() -> None:
    found = quote.parse(recording("batch-quote-short.AAPL-MSFT.json"), ["MSFT", "AAPL"])

    assert isinstance(found["MSFT"], Fetched)
    assert found["MSFT"].rows
    assert found["MSFT"].rows[0]["price"] == 496.37


def test_the_recorded_profile_is_a_row() -> None:
    row = row_of(profile.parse(recording("profile.AAPL.2026.json"), "AAPL"))

    assert None not in row.values()
    assert row["full_time_employees"] == 166000
    assert row["ipo_date"] == "1980-12-12"
    assert len(row) == 36


def test_the_recorded_statements_are_one_row() -> None:
    found = financial_statements.parse(
        {endpoint: recording(f"{endpoint}.AAPL.json") for endpoint in financial_statements.STATEMENTS}, "AAPL"
    )

    row = row_of(found)
    assert None not in row.values()
    assert [row["fiscal_year"], row["accepted_date"]] == [2025, "2025-10-31T10:01:26+00:00"]
    assert row["income_statement"]["epsDiluted"] == 7.46
    assert row["cash_flow_statement"]["freeCashFlow"] == 98767000000
    assert_nothing_odd(found)


def test_the_recorded_ratios_are_a_row() -> None:
    found = ratios_ttm.parse(recording("ratios-ttm.AAPL.json"), "AAPL")

    row = row_of(found)
    assert None not in row.values()
    assert [row["gross_profit_margin_ttm"], row["dividend_per_share_ttm"]] == [0.4865291555900202, 1.06]
    assert_nothing_odd(found)


def test_the_recorded_dividends_are_rows() -> None:
    found = dividend_history.parse(recording("dividends.AAPL.json"), "AAPL")

    assert rows_of(found)[0]["date"] == "2026-08-10"
    assert all(None not in row.values() for row in rows_of(found))
    assert_nothing_odd(found)


@pytest.mark.parametrize("symbol", ["AAPL", "SPY"])
def test_the_recorded_share_counts_are_rows(symbol: str) -> None:
    found = shares_float.parse(recording(f"shares-float.{symbol}.json"), symbol)

    assert row_of(found)["date"] == "2026-08-26"
    assert row_of(found)["outstanding_shares"] > 10**9
    assert_nothing_odd(found)


def test_the_recorded_segments_are_rows() -> None:
    found = revenue_segmentation.parse(recording("revenue-product-segmentation.AAPL.json"), "AAPL")

    assert [row["fiscal_year"] for row in rows_of(found)] == [2025, 2024]
    assert rows_of(found)[0]["data"]["iPhone"] == 209586000000
    assert_nothing_odd(found)


def test_the_recorded_grades_are_rows() -> None:
    found = grades_historical.parse(recording("grades-historical.AAPL.json"), "AAPL")

    assert [row["analyst_ratings_buy"] for row in rows_of(found)] == [22, 23, 23, 25, 25]
    assert_nothing_odd(found)


def test_the_recorded_variants_are_rows() -> None:
    found = exchange_variants.parse(recording("search-exchange-variants.AAPL.json"), "AAPL")

    assert {row["symbol_variant"]: row["exchange_short_name"] for row in rows_of(found)} == {
        "AAPL": "NASDAQ",
        "AAPL.MX": "MEX",
        "AAPL.DE": "XETRA",
    }
    assert rows_of(found)[2]["exchange"] == "Deutsche B\u00f6rse"
    assert_nothing_odd(found)


def test_the_recorded_exchanges_are_rows() -> None:
    found = available_exchanges.parse(recording("available-exchanges.json"))

    assert [row["delay"] for row in rows_of(found)] == ["Real-time", "20 min", "15 min", None]
    assert_nothing_odd(found)


def test_the_recorded_hours_are_rows() -> None:
    found = exchange_market_status.parse(recording("all-exchange-market-hours.head.json"), {})

    by_code = {row["exchange"]: row for row in rows_of(found)}
    assert by_code["JPX"]["opening_additional"] == "12:30 PM +09:00"
    assert by_code["NASDAQ"]["opening_hour"] == "CLOSED"
    assert_nothing_odd(found)


def test_the_recorded_holidays_are_read() -> None:
    holidays, oddities = exchange_market_status.parse_holidays(recording("holidays-by-exchange.NASDAQ.json"), "NASDAQ")

    assert [holiday["adjCloseTime"] for holiday in holidays] == ["13:30", None, "13:00", None]
    assert oddities == ()


def test_the_recorded_answer_about_an_unknown_symbol_has_no_rows() -> None:
    assert quote.parse(recording("errors/200.unknown-symbol.json"), ["NONE"]) == {"NONE": Fetched(rows=())}


@pytest.mark.parametrize(("name", "kind"), KINDS.items())
def test_a_recorded_error_has_its_kind(name: str, kind: FetchErrorKind) -> None:
    error = answers.failure(int(name[:3]), {}, recording(f"errors/{name}"), about="quote", secret="unused")

    assert error.kind is kind
