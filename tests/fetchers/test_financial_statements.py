"""Financial statements: three answers, one row for each fiscal year."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from daemon.contracts import Fetched, FetchError, FetchErrorKind, FetchRequest, OddityKind
from daemon.fetchers.financial_statements import LIMIT, FinancialStatementsFetcher, parse
from tests.fetchers.findings import odd, row_of, rows_of
from tests.fetchers.upstream_stub import UpstreamStub, good
from tests.fetchers.wire_rows import STATEMENTS, answer

INCOME, BALANCE, CASH = STATEMENTS
ACCEPTED = datetime(2025, 10, 31, 10, 1, 26, tzinfo=UTC)
YEAR_BEFORE = {"date": "2024-09-28", "fiscalYear": "2024", "acceptedDate": "2024-12-01 06:01:36"}


def bodies(*changes: dict[str, Any], **of_one: bytes) -> Mapping[str, bytes]:
    """Return three answers with a record for each of ``changes``; ``income``, ``balance``, ``cash`` replace one."""
    names = {"income": INCOME, "balance": BALANCE, "cash": CASH}
    alike = {endpoint: answer(record, *changes) for endpoint, record in STATEMENTS.items()}
    return alike | {names[name]: body for name, body in of_one.items()}


def test_three_statements_of_a_year_become_one_row() -> None:
    found = parse(bodies({}), "ACME")

    row = row_of(found)
    payloads = {name: row.pop(name) for name in ("income_statement", "balance_sheet_statement", "cash_flow_statement")}
    assert row == {
        "symbol": "ACME",
        "period": "FY",
        "date": "2025-09-27",
        "fiscal_year": 2025,
        "reported_currency": "USD",
        "cik": "0000012345",
        "filing_date": "2025-10-31",
        "accepted_date": "2025-10-31T10:01:26+00:00",
    }
    assert list(payloads.values()) == list(STATEMENTS.values())
    assert isinstance(found, Fetched)
    assert found.source_timestamp == ACCEPTED
    assert found.replaces == ("symbol", "period")
    assert found.oddities == ()


def test_years_are_merged_by_date_and_period_newest_first() -> None:
    found = parse(bodies(YEAR_BEFORE, {}, YEAR_BEFORE), "ACME")

    assert [row["fiscal_year"] for row in rows_of(found)] == [2025, 2024]
    assert isinstance(found, Fetched)
    assert found.source_timestamp == ACCEPTED


def test_a_year_of_which_a_statement_is_not_there_keeps_the_others() -> None:
    found = parse(bodies({}, YEAR_BEFORE, cash=answer(STATEMENTS[CASH], {})), "ACME")

    newer, older = rows_of(found)
    assert newer["cash_flow_statement"] is not None
    assert older["cash_flow_statement"] is None
    assert older["income_statement"]["date"] == "2024-09-28"
    assert newer.keys() == older.keys()


def test_a_statement_that_lags_behind_leaves_the_source_without_a_time() -> None:
    found = parse(bodies({}, YEAR_BEFORE, cash=answer(STATEMENTS[CASH], YEAR_BEFORE)), "ACME")

    assert isinstance(found, Fetched)
    assert found.source_timestamp is None
    assert rows_of(found)[0]["accepted_date"] == "2025-10-31T10:01:26+00:00"


def test_a_year_of_which_a_statement_cannot_be_read_is_left_out() -> None:
    broken = answer(STATEMENTS[BALANCE], {}, YEAR_BEFORE | {"period": None})

    found = parse(bodies({}, YEAR_BEFORE, balance=broken), "ACME")

    assert [row["fiscal_year"] for row in rows_of(found)] == [2025]
    assert sum(odd(found, OddityKind.QUARANTINED_RECORD).values()) == 1
    assert isinstance(found, Fetched)
    assert found.replaces is None


def test_statements_of_which_no_year_is_whole_are_refused() -> None:
    broken = answer(STATEMENTS[BALANCE], {"date": "2023-09-30"}, {"date": ""})

    with pytest.raises(FetchError) as caught:
        parse(bodies({}, balance=broken), "ACME")

    assert caught.value.kind is FetchErrorKind.MALFORMED


def test_a_history_that_may_be_cut_removes_nothing() -> None:
    found = parse(bodies(*({"date": f"{year}-09-27"} for year in range(1900, 1900 + LIMIT))), "ACME")

    assert len(rows_of(found)) == LIMIT
    assert isinstance(found, Fetched)
    assert found.replaces is None


@pytest.mark.parametrize("absent", [None, "", "soon"])
def test_a_statement_without_a_time_is_stored_without_one(absent: str | None) -> None:
    found = parse(bodies({"acceptedDate": absent}), "ACME")

    assert row_of(found)["accepted_date"] is None
    assert isinstance(found, Fetched)
    assert found.source_timestamp is None


def test_new_and_vanished_figures_are_told() -> None:
    income = {name: value for name, value in STATEMENTS[INCOME].items() if name != "revenue"}

    found = parse(bodies({}, income=json.dumps([income | {"novelty": 1, "eps": "n/a"}]).encode()), "ACME")

    assert odd(found, OddityKind.UNKNOWN_FIELD) == {"novelty": 1}
    assert odd(found, OddityKind.MISSING_FIELD) == {"revenue": 1}
    assert odd(found, OddityKind.CHANGED_TYPE) == {"eps": 1}
    assert row_of(found)["income_statement"]["novelty"] == 1


def test_a_statement_of_another_symbol_is_refused() -> None:
    with pytest.raises(FetchError) as caught:
        parse(bodies({}, cash=answer(STATEMENTS[CASH], {"symbol": "BOLT"})), "ACME")

    assert caught.value.kind is FetchErrorKind.WRONG_SYMBOL


async def test_three_calls_fetch_a_symbol_and_none_is_conditional() -> None:
    upstream = UpstreamStub([good(body, '"tag"') for body in bodies({}).values()])

    found = await FinancialStatementsFetcher().fetch([FetchRequest("ACME", '"old"')], upstream)

    params = {"symbol": "ACME", "period": "annual", "limit": "40"}
    assert upstream.asked == [(endpoint, params, None) for endpoint in STATEMENTS]
    assert isinstance(found["ACME"], Fetched)
    assert found["ACME"].etag is None


async def test_a_symbol_that_files_nothing_has_no_rows() -> None:
    found = await FinancialStatementsFetcher().fetch([FetchRequest("ACME")], UpstreamStub([good(b"[]")] * 3))

    assert rows_of(found["ACME"]) == []


async def test_a_failure_of_one_call_is_the_failure_of_all() -> None:
    upstream = UpstreamStub([good(answer(STATEMENTS[INCOME], {})), FetchError(FetchErrorKind.TIMEOUT, "late")])

    with pytest.raises(FetchError) as caught:
        await FinancialStatementsFetcher().fetch([FetchRequest("ACME")], upstream)

    assert caught.value.kind is FetchErrorKind.TIMEOUT
