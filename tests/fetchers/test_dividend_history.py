"""Dividends: the whole history of a symbol, and what that means for a dividend that is gone."""

from __future__ import annotations

import pytest

from daemon.contracts import Answer, Fetched, FetchError, FetchErrorKind, FetchRequest, OddityKind
from daemon.fetchers.dividend_history import LIMIT, DividendHistoryFetcher, parse
from tests.fetchers.findings import odd, row_of, rows_of
from tests.fetchers.upstream_stub import UpstreamStub, good
from tests.fetchers.wire_rows import DIVIDEND, answer


def test_a_dividend_becomes_a_row_of_its_table() -> None:
    found = parse(answer(DIVIDEND, {}), "ACME")

    assert found == Fetched(
        rows=(
            {
                "symbol": "ACME",
                "date": "2026-08-10",
                "record_date": "2026-08-11",
                "payment_date": "2026-08-13",
                "declaration_date": "2026-07-30",
                "adj_dividend": 0.27,
                "dividend": 0.54,
                "yield": 0.3438655680269902,
                "frequency": "Quarterly",
            },
        ),
        replaces=("symbol",),
    )


def test_an_unknown_date_is_null_and_nothing_odd() -> None:
    found = parse(answer(DIVIDEND, {"declarationDate": "", "recordDate": None, "frequency": "Special"}), "ACME")

    row = row_of(found)
    assert [row["declaration_date"], row["record_date"], row["frequency"]] == [None, None, "Special"]
    assert isinstance(found, Fetched)
    assert found.oddities == ()


@pytest.mark.parametrize("bad", [{"dividend": -1}, {"adjDividend": 1e15}, {"date": ""}, {"symbol": "BOLT"}])
def test_a_bad_dividend_is_left_out_and_then_nothing_is_removed(bad: dict[str, object]) -> None:
    found = parse(answer(DIVIDEND, {}, bad), "ACME")

    assert len(rows_of(found)) == 1
    assert sum(odd(found, OddityKind.QUARANTINED_RECORD).values()) == 1
    assert isinstance(found, Fetched)
    assert found.replaces is None


def test_an_answer_that_may_be_cut_removes_nothing() -> None:
    found = parse(answer(DIVIDEND, *({"date": f"{year}-08-10"} for year in range(1800, 1800 + LIMIT))), "ACME")

    assert len(rows_of(found)) == LIMIT
    assert isinstance(found, Fetched)
    assert found.replaces is None


def test_dividends_of_another_symbol_are_refused() -> None:
    with pytest.raises(FetchError) as caught:
        parse(answer(DIVIDEND, {"symbol": "BOLT"}), "ACME")

    assert caught.value.kind is FetchErrorKind.WRONG_SYMBOL


async def test_the_whole_history_is_asked_for_conditionally() -> None:
    upstream = UpstreamStub([good(answer(DIVIDEND, {}), '"new"'), Answer(304, b"", None, 200)])
    fetcher = DividendHistoryFetcher()

    first = await fetcher.fetch([FetchRequest("ACME", '"old"')], upstream)
    second = await fetcher.fetch([FetchRequest("ACME", '"new"')], upstream)

    assert upstream.asked == [("dividends", {"symbol": "ACME", "limit": "1000"}, tag) for tag in ('"old"', '"new"')]
    assert isinstance(first["ACME"], Fetched)
    assert first["ACME"].etag == '"new"'
    assert second == {"ACME": Fetched(rows=None, etag='"new"')}


async def test_an_answer_with_a_bad_record_is_not_remembered() -> None:
    upstream = UpstreamStub([good(answer(DIVIDEND, {}, {"date": None}), '"new"')])

    found = await DividendHistoryFetcher().fetch([FetchRequest("ACME")], upstream)

    assert isinstance(found["ACME"], Fetched)
    assert found["ACME"].etag is None
