"""Ratios: sixty-one figures, any of which may be missing."""

from __future__ import annotations

import pytest

from daemon.contracts import Fetched, FetchError, FetchErrorKind, FetchRequest, OddityKind
from daemon.fetchers.ratios_ttm import RatiosTtmFetcher, parse
from tests.fetchers.findings import odd, row_of
from tests.fetchers.upstream_stub import UpstreamStub, good
from tests.fetchers.wire_rows import RATIOS, answer


def test_ratios_become_a_row_of_their_table() -> None:
    row = row_of(parse(answer(RATIOS, {"netIncomePerEBTTTM": 0.8269726630148936}), "ACME"))

    assert len(row) == 62
    assert row["symbol"] == "ACME"
    assert row["gross_profit_margin_ttm"] == 0
    assert row["net_income_per_ebt_ttm"] == 0.8269726630148936
    assert row["dividend_per_share_ttm"] == 7.5


def test_any_figure_may_be_null_or_absent() -> None:
    found = parse(b'[{"symbol": "ACME", "quickRatioTTM": null, "cashRatioTTM": 0.25}]', "ACME")

    row = row_of(found)
    assert {name: value for name, value in row.items() if value is not None} == {
        "symbol": "ACME",
        "cash_ratio_ttm": 0.25,
    }
    assert "quickRatioTTM" not in odd(found, OddityKind.MISSING_FIELD)
    assert len(odd(found, OddityKind.MISSING_FIELD)) == 20


def test_a_figure_of_a_later_version_is_told() -> None:
    found = parse(answer(RATIOS, {"novelRatioTTM": 1}), "ACME")

    assert odd(found, OddityKind.UNKNOWN_FIELD) == {"novelRatioTTM": 1}


def test_ratios_of_another_symbol_are_refused() -> None:
    with pytest.raises(FetchError) as caught:
        parse(answer(RATIOS, {"symbol": "BOLT"}), "ACME")

    assert caught.value.kind is FetchErrorKind.WRONG_SYMBOL


async def test_an_unknown_symbol_has_no_rows() -> None:
    upstream = UpstreamStub([good(b"[]", 'W/"2-x"')])

    found = await RatiosTtmFetcher().fetch([FetchRequest("ACME")], upstream)

    assert found == {"ACME": Fetched(rows=(), etag='W/"2-x"')}
    assert upstream.asked == [("ratios-ttm", {"symbol": "ACME"}, None)]
