"""Quotes: what a row must have, what it may lack, and batches."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from daemon.contracts import Fetched, FetchError, FetchErrorKind, FetchRequest
from daemon.fetchers.answers import StatusError
from daemon.fetchers.quote import QuoteFetcher, parse
from tests.fetchers.upstream_stub import UpstreamStub, good
from tests.fetchers.wire_rows import QUOTE, quotes

ACME_AND_BOLT = [FetchRequest("ACME"), FetchRequest("BOLT")]
PLAN = StatusError(402, FetchErrorKind.PLAN, "batch-quote: 402 Restricted Endpoint")


def row_of(found: Fetched | FetchError) -> dict[str, Any]:
    assert isinstance(found, Fetched)
    assert found.rows is not None
    (row,) = found.rows
    return dict(row)


def kind_of(found: Fetched | FetchError) -> FetchErrorKind:
    assert isinstance(found, FetchError)
    return found.kind


def test_a_quote_becomes_a_row_of_its_table() -> None:
    found = parse(quotes({}), ["ACME"])["ACME"]

    assert row_of(found) == {
        "symbol": "ACME",
        "name": "Acme Corporation",
        "price": 101.25,
        "change_percentage": 1.5,
        "change": 1.5,
        "volume": 1234567,
        "day_low": 99.5,
        "day_high": 102.0,
        "year_high": 140.0,
        "year_low": 80.25,
        "market_cap": 5000000000,
        "price_avg_50": 100.5,
        "price_avg_200": 95.75,
        "exchange": "NYSE",
        "open": 100.0,
        "previous_close": 99.75,
        "source_timestamp": "2026-08-26T20:00:00+00:00",
    }
    assert isinstance(found, Fetched)
    assert found.source_timestamp == datetime(2026, 8, 26, 20, tzinfo=UTC)


def test_a_row_can_be_carried_by_json() -> None:
    row = row_of(parse(quotes({"changePercentage": 6e35, "volume": 24580543.97571}), ["ACME"])["ACME"])

    assert json.loads(json.dumps(row, allow_nan=False)) == row
    assert row["change_percentage"] == 6e35
    assert row["volume"] == 24580543


@pytest.mark.parametrize("nothing", [None, "", [1], {"a": 1}, "junk", True])
def test_everything_but_symbol_and_price_may_be_missing(nothing: object) -> None:
    figures = {name: nothing for name in QUOTE if name not in {"symbol", "price", "timestamp", "name", "exchange"}}

    row = row_of(parse(quotes(figures), ["ACME"])["ACME"])

    assert {name for name, value in row.items() if value is None} == {
        name for name in row if name not in {"symbol", "price", "source_timestamp", "name", "exchange"}
    }


def test_a_row_of_symbol_and_price_alone_is_a_quote() -> None:
    row = row_of(parse(b'[{"symbol": "ACME", "price": 3, "new": {"field": 1}}]', ["ACME"])["ACME"])

    assert {name: value for name, value in row.items() if value is not None} == {"symbol": "ACME", "price": 3.0}


def test_zero_stays_zero() -> None:
    row = row_of(parse(quotes({"volume": 0, "marketCap": 0, "price": 0, "change": 0}), ["ACME"])["ACME"])

    assert [row["volume"], row["market_cap"], row["price"], row["change"]] == [0, 0, 0, 0]


@pytest.mark.parametrize("absent", [0, None, "", 0.0])
def test_a_quote_without_a_timestamp_has_no_source_timestamp(absent: object) -> None:
    found = parse(quotes({"timestamp": absent}), ["ACME"])["ACME"]

    assert row_of(found)["source_timestamp"] is None
    assert isinstance(found, Fetched)
    assert found.source_timestamp is None


@pytest.mark.parametrize("price", [999_999.99, 0, 743_000])
def test_a_price_may_be_very_high_or_nothing(price: float) -> None:
    assert row_of(parse(quotes({"price": price}), ["ACME"])["ACME"])["price"] == price


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"price": -0.01}, FetchErrorKind.INSANE_VALUE),
        ({"price": 1e6}, FetchErrorKind.INSANE_VALUE),
        ({"price": 1e300}, FetchErrorKind.INSANE_VALUE),
        ({"price": 10**30}, FetchErrorKind.INSANE_VALUE),
        ({"price": None}, FetchErrorKind.MALFORMED),
        ({"price": "12"}, FetchErrorKind.MALFORMED),
        ({"price": True}, FetchErrorKind.MALFORMED),
        ({"price": [1]}, FetchErrorKind.MALFORMED),
        ({"timestamp": -1}, FetchErrorKind.INSANE_VALUE),
        ({"timestamp": 10**400}, FetchErrorKind.INSANE_VALUE),
        ({"timestamp": 1.5e308}, FetchErrorKind.INSANE_VALUE),
        ({"timestamp": 1787774400000}, FetchErrorKind.INSANE_VALUE),
        ({"timestamp": 1e308}, FetchErrorKind.INSANE_VALUE),
        ({"timestamp": "now"}, FetchErrorKind.MALFORMED),
    ],
)
def test_a_quote_of_doubtful_identity_is_refused(change: dict[str, Any], kind: FetchErrorKind) -> None:
    found = parse(quotes(change), ["ACME"])["ACME"]

    assert kind_of(found) is kind
    assert "ACME" in str(found)
    assert next(iter(change)) in str(found)


def test_an_empty_answer_means_no_rows() -> None:
    assert parse(b"[]", ["ACME"]) == {"ACME": Fetched(rows=())}


def test_an_answer_about_another_symbol_is_refused() -> None:
    found = parse(quotes({"symbol": "BOLT"}), ["ACME"])["ACME"]

    assert kind_of(found) is FetchErrorKind.WRONG_SYMBOL
    assert "BOLT" in str(found)


@pytest.mark.parametrize("symbol", [None, 7, [], "acme", " ACME"])
def test_a_symbol_must_be_the_one_asked_for(symbol: object) -> None:
    found = parse(quotes({"symbol": symbol}), ["ACME"])["ACME"]

    assert kind_of(found) in {FetchErrorKind.MALFORMED, FetchErrorKind.WRONG_SYMBOL}


def test_a_batch_is_matched_by_symbol_and_leaves_out_what_was_not_asked_for() -> None:
    body = quotes({"symbol": "BOLT", "price": 2}, {"symbol": "EVIL", "price": 6}, {"symbol": "ACME", "price": 1})

    found = parse(body, ["ACME", "BOLT", "COIL"])

    assert list(found) == ["ACME", "BOLT", "COIL"]
    assert row_of(found["ACME"])["price"] == 1
    assert row_of(found["BOLT"])["price"] == 2
    assert found["COIL"] == Fetched(rows=())


@pytest.mark.parametrize(
    "bad",
    [
        b'{"symbol": "BOLT", "price": -1}',
        b'{"symbol": "BOLT", "price": 1, "volume": ' + b"9" * 5000 + b"}",
        b'{"symbol": "BOLT", "price": 1, "name": "\xff"}',
    ],
    ids=["price", "digits", "no UTF-8"],
)
def test_one_bad_row_fails_its_symbol_alone(bad: bytes) -> None:
    body = b"[" + quotes({})[1:-1] + b"," + bad + b"]"

    found = parse(body, ["ACME", "BOLT"])

    assert row_of(found["ACME"])["price"] == 101.25
    assert isinstance(found["BOLT"], FetchError)


def test_a_row_without_a_symbol_leaves_the_missing_ones_in_doubt() -> None:
    found = parse(quotes({}, {"symbol": None}), ["ACME", "BOLT"])

    assert row_of(found["ACME"])["price"] == 101.25
    assert kind_of(found["BOLT"]) is FetchErrorKind.MALFORMED


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
def test_of_two_rows_of_a_symbol_the_newer_counts(order: tuple[int, int]) -> None:
    body = quotes(*({"price": n, "timestamp": n} for n in order))

    assert row_of(parse(body, ["ACME"])["ACME"])["price"] == 2


@pytest.mark.parametrize("changes", [({}, {"price": -1}), ({"price": -1}, {}), ({}, {"timestamp": 0})])
def test_of_two_rows_of_a_symbol_a_good_one_with_a_time_counts(changes: tuple[dict[str, Any], ...]) -> None:
    found = parse(quotes(*changes), ["ACME"])["ACME"]

    assert row_of(found)["source_timestamp"] is not None


async def test_one_symbol_is_asked_for_on_its_own() -> None:
    upstream = UpstreamStub([good(quotes({"symbol": "^GSPC"}))])

    found = await QuoteFetcher().fetch([FetchRequest("^GSPC", etag="ignored")], upstream)

    assert upstream.asked == [("quote", {"symbol": "^GSPC"}, None)]
    assert row_of(found["^GSPC"])["symbol"] == "^GSPC"


async def test_several_symbols_are_asked_for_in_one_call() -> None:
    upstream = UpstreamStub([good(quotes({}, {"symbol": "BOLT"}))])

    found = await QuoteFetcher().fetch([*ACME_AND_BOLT, FetchRequest("ACME")], upstream)

    assert upstream.asked == [("batch-quote", {"symbols": "ACME,BOLT"}, None)]
    assert set(found) == {"ACME", "BOLT"}


async def test_no_symbols_need_no_call() -> None:
    upstream = UpstreamStub([])

    assert await QuoteFetcher().fetch([], upstream) == {}


@pytest.mark.parametrize("refusal", [PLAN, StatusError(403, FetchErrorKind.UNAUTHORISED, "403")], ids=["402", "403"])
async def test_a_refused_batch_is_remembered_for_a_day(refusal: FetchError) -> None:
    now = 1000.0
    fetcher = QuoteFetcher(monotonic=lambda: now)
    upstream = UpstreamStub([refusal, good(quotes({}))])

    with pytest.raises(FetchError) as caught:
        await fetcher.fetch(ACME_AND_BOLT, upstream)

    assert caught.value.kind is FetchErrorKind.BATCH_REFUSED
    assert fetcher.batch_size == 1
    assert "ACME" in await fetcher.fetch([FetchRequest("ACME")], upstream)
    now += 86_399
    assert fetcher.batch_size == 1
    now += 1
    assert fetcher.batch_size == 100


async def test_a_batch_formed_before_the_refusal_is_refused_without_a_call() -> None:
    fetcher = QuoteFetcher(monotonic=lambda: 0.0)
    upstream = UpstreamStub([PLAN])
    with pytest.raises(FetchError):
        await fetcher.fetch(ACME_AND_BOLT, upstream)

    with pytest.raises(FetchError) as caught:
        await fetcher.fetch(ACME_AND_BOLT, upstream)

    assert caught.value.kind is FetchErrorKind.BATCH_REFUSED
    assert len(upstream.asked) == 1


@pytest.mark.parametrize("kind", [FetchErrorKind.UNAUTHORISED, FetchErrorKind.RATE_LIMITED, FetchErrorKind.TIMEOUT])
async def test_other_failures_of_a_batch_say_nothing_about_batches(kind: FetchErrorKind) -> None:
    fetcher = QuoteFetcher()

    with pytest.raises(FetchError) as caught:
        await fetcher.fetch(ACME_AND_BOLT, UpstreamStub([FetchError(kind, "no")]))

    assert caught.value.kind is kind
    assert fetcher.batch_size == 100


async def test_a_symbol_outside_the_plan_says_nothing_about_batches() -> None:
    fetcher = QuoteFetcher()

    with pytest.raises(FetchError) as caught:
        await fetcher.fetch([FetchRequest("ACME")], UpstreamStub([PLAN]))

    assert caught.value.kind is FetchErrorKind.PLAN
    assert fetcher.batch_size == 100
