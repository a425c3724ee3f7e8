"""Revenue by segment: names that come and go, by fiscal year."""

from __future__ import annotations

from typing import Any

import pytest

from daemon.contracts import Fetched, FetchError, FetchErrorKind, FetchRequest, OddityKind
from daemon.fetchers.revenue_segmentation import RevenueSegmentationFetcher, parse
from tests.fetchers.findings import odd, row_of, rows_of
from tests.fetchers.upstream_stub import UpstreamStub, good
from tests.fetchers.wire_rows import SEGMENTATION, answer


def test_a_fiscal_year_becomes_a_row_of_its_table() -> None:
    found = parse(answer(SEGMENTATION, {}), "ACME")

    assert found == Fetched(
        rows=(
            {
                "symbol": "ACME",
                "fiscal_year": 2025,
                "period": "FY",
                "date": "2025-09-27",
                "reported_currency": "USD",
                "data": {"Anvils": 33708000000, "Rockets, Skates and Springs": 109158000000.5},
            },
        ),
        replaces=("symbol", "period"),
    )


def test_the_year_may_be_quoted_and_the_currency_null() -> None:
    row = row_of(parse(answer(SEGMENTATION, {"fiscalYear": "2025", "reportedCurrency": None}), "ACME"))

    assert [row["fiscal_year"], row["reported_currency"]] == [2025, None]


@pytest.mark.parametrize("data", [[1, 2], {"Anvils": "many"}, "none", 7])
def test_segments_that_are_no_figures_are_stored_as_null_and_told(data: Any) -> None:
    found = parse(answer(SEGMENTATION, {"data": data}), "ACME")

    assert row_of(found)["data"] is None
    assert odd(found, OddityKind.CHANGED_TYPE) == {"data": 1}


@pytest.mark.parametrize("bad", [{"fiscalYear": 25}, {"date": ""}, {"period": None}, {"fiscalYear": None}])
def test_a_year_without_its_key_is_left_out(bad: dict[str, Any]) -> None:
    found = parse(answer(SEGMENTATION, {}, bad), "ACME")

    assert len(rows_of(found)) == 1
    with pytest.raises(FetchError) as caught:
        parse(answer(SEGMENTATION, bad), "ACME")
    assert caught.value.kind is FetchErrorKind.MALFORMED


async def test_fiscal_years_are_asked_for() -> None:
    upstream = UpstreamStub([good(answer(SEGMENTATION, {}), '"new"')])

    found = await RevenueSegmentationFetcher().fetch([FetchRequest("ACME")], upstream)

    asked = {"symbol": "ACME", "period": "annual", "structure": "flat"}
    assert upstream.asked == [("revenue-product-segmentation", asked, None)]
    assert isinstance(found["ACME"], Fetched)
    assert found["ACME"].etag == '"new"'
