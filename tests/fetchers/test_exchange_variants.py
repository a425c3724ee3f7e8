"""Variants: listings under other symbols, which belong to the symbol that was asked for."""

from __future__ import annotations

from typing import Any

import pytest

from daemon.contracts import Fetched, FetchError, FetchErrorKind, FetchRequest, OddityKind
from daemon.fetchers.exchange_variants import ExchangeVariantsFetcher, parse
from tests.fetchers.findings import odd, row_of, rows_of
from tests.fetchers.upstream_stub import UpstreamStub, good
from tests.fetchers.wire_rows import VARIANT, answer

MEXICAN: dict[str, Any] = {"symbol": "ACME.MX", "exchange": "Mexican Stock Exchange", "exchangeShortName": "MEX"}


def test_a_variant_becomes_a_row_of_its_table() -> None:
    row = row_of(parse(answer(VARIANT, {}), "ACME"))

    assert len(row) == 37
    assert row["exchange_short_name"] == "NYSE"
    assert row["exchange"] == "New York Stock Exchange"
    assert [row["mkt_cap"], row["vol_avg"], row["full_time_employees"]] == [78283607480000, 55604384, 166000]
    assert [row["dcf"], row["dcf_diff"], row["ipo_date"]] == [142.8506908215328, 170.10931, "1980-12-12"]


def test_all_variants_belong_to_the_symbol_that_was_asked_for() -> None:
    found = parse(answer(VARIANT, {}, MEXICAN), "ACME")

    assert [(row["symbol"], row["symbol_variant"]) for row in rows_of(found)] == [
        ("ACME", "ACME"),
        ("ACME", "ACME.MX"),
    ]
    assert isinstance(found, Fetched)
    assert found.replaces == ("symbol",)
    assert found.oddities == ()


def test_a_variant_without_a_price_is_stored() -> None:
    idle = dict.fromkeys(["price", "range", "changes", "dcfDiff", "cik"])

    found = parse(answer(VARIANT, {}, MEXICAN | idle), "ACME")

    assert rows_of(found)[1]["price"] is None
    assert isinstance(found, Fetched)
    assert found.oddities == ()


def test_an_answer_that_does_not_list_the_symbol_is_about_another_one() -> None:
    with pytest.raises(FetchError) as caught:
        parse(answer(VARIANT, {"symbol": "BOLT"}, {"symbol": "BOLT.MX"}), "ACME")

    assert caught.value.kind is FetchErrorKind.WRONG_SYMBOL
    assert "BOLT" in str(caught.value)


@pytest.mark.parametrize("bad", [{"symbol": None}, {"exchangeShortName": None}, {"exchangeShortName": "x" * 65}])
def test_a_variant_without_its_key_is_left_out(bad: dict[str, Any]) -> None:
    found = parse(answer(VARIANT, {}, MEXICAN | bad), "ACME")

    assert [row["symbol_variant"] for row in rows_of(found)] == ["ACME"]
    assert sum(odd(found, OddityKind.QUARANTINED_RECORD).values()) == 1


async def test_variants_are_asked_for_by_symbol() -> None:
    upstream = UpstreamStub([good(b"[]")])

    assert await ExchangeVariantsFetcher().fetch([FetchRequest("ACME")], upstream) == {"ACME": Fetched(rows=())}
    assert upstream.asked == [("search-exchange-variants", {"symbol": "ACME"}, None)]
