"""Whatever JSON, or no JSON at all, a body holds: rows that can be stored, or a FetchError."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.contracts import Fetched, FetchError, KnownExchange, Oddity, Row
from daemon.fetchers import (
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
from daemon.fetchers.shape import MAX_ODDITIES
from daemon.fetchers.table import FETCHERS
from tests.fetchers import wire_rows

SYMBOLS = ["ACME", "BOLT"]


class Kind(NamedTuple):
    """A data type: one good record, how its answers are parsed, and the key that no row is without."""

    record: Mapping[str, Any]
    parse: Callable[[bytes], Fetched]
    key: tuple[str, ...]


def _quote(body: bytes) -> Fetched:
    found = quote.parse(body, SYMBOLS)["ACME"]
    if isinstance(found, FetchError):
        raise found
    return found


def _statements(body: bytes) -> Fetched:
    return financial_statements.parse(dict.fromkeys(financial_statements.STATEMENTS, body), "ACME")


def _hours(body: bytes) -> Fetched:
    return exchange_market_status.parse(body, {"NYSE": KnownExchange("NYSE", "09:30", "16:00")})


def of_acme(parse: Callable[[bytes, str], Fetched]) -> Callable[[bytes], Fetched]:
    return lambda body: parse(body, "ACME")


KINDS = {
    "quote": Kind(wire_rows.QUOTE, _quote, ("symbol", "price")),
    "profile": Kind(wire_rows.PROFILE, of_acme(profile.parse), ("symbol", "company_name")),
    "financial-statements": Kind(wire_rows.STATEMENTS["income-statement"], _statements, ("symbol", "date", "period")),
    "ratios-ttm": Kind(wire_rows.RATIOS, of_acme(ratios_ttm.parse), ("symbol",)),
    "dividend-history": Kind(wire_rows.DIVIDEND, of_acme(dividend_history.parse), ("symbol", "date")),
    "shares-float": Kind(wire_rows.SHARES_FLOAT, of_acme(shares_float.parse), ("symbol", "date")),
    "revenue-segmentation": Kind(
        wire_rows.SEGMENTATION, of_acme(revenue_segmentation.parse), ("symbol", "fiscal_year", "period", "date")
    ),
    "grades-historical": Kind(wire_rows.GRADES, of_acme(grades_historical.parse), ("symbol", "date")),
    "exchange-variants": Kind(
        wire_rows.VARIANT, of_acme(exchange_variants.parse), ("symbol", "symbol_variant", "exchange_short_name")
    ),
    "available-exchanges": Kind(wire_rows.EXCHANGE, of_acme(available_exchanges.parse), ("exchange",)),
    "exchange-market-status": Kind(wire_rows.HOURS, _hours, ("exchange",)),
}
EVERY_KIND = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["12", "NaN", "1e999", "\0"]),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3),
    max_leaves=10,
)


def records(kind: Kind) -> st.SearchStrategy[dict[str, Any]]:
    """Draw good records in which some fields hold anything, or are gone, and fields that nobody knows."""
    names = st.sampled_from(sorted(kind.record))
    spoiled = st.dictionaries(names | st.text(max_size=10), values, max_size=4)
    gone = st.sets(names, max_size=4)
    return st.builds(
        lambda changes, absent: {name: held for name, held in (kind.record | changes).items() if name not in absent},
        spoiled,
        gone,
    )


def bodies(kind: Kind) -> st.SearchStrategy[bytes]:
    documents = values | st.lists(records(kind) | values, max_size=4) | st.lists(records(kind), min_size=1, max_size=4)
    return documents.map(lambda document: json.dumps(document).encode()) | st.binary(max_size=200)


def assert_storable(row: Row) -> None:
    text = orjson.dumps(dict(row))
    assert b"\\u0000" not in text
    assert json.dumps(orjson.loads(text), allow_nan=False)


def assert_bounded(oddity: Oddity) -> None:
    assert len(oddity.field) <= 128
    assert len(oddity.sample) <= 256
    assert oddity.field.isprintable()
    assert oddity.sample.isprintable()
    assert oddity.records >= 1


def test_every_data_type_is_here() -> None:
    assert KINDS.keys() == FETCHERS.keys()


@EVERY_KIND
def test_a_good_record_is_a_row_and_nothing_odd(kind: Kind) -> None:
    found = kind.parse(json.dumps([kind.record]).encode())

    assert found.rows is not None
    assert len(found.rows) == 1
    if kind is not KINDS["financial-statements"]:
        assert found.oddities == ()


@EVERY_KIND
@given(data=st.data())
def test_a_body_is_rows_or_an_error(kind: Kind, data: st.DataObject) -> None:
    body = data.draw(bodies(kind))

    try:
        found = kind.parse(body)
    except FetchError:
        return

    rows = found.rows or ()
    assert len({tuple(sorted(row)) for row in rows}) <= 1
    for row in rows:
        assert all(row[column] is not None for column in kind.key)
        assert row.get("symbol") in {"ACME", None}
        assert_storable(row)
    assert len(found.oddities) <= 3 * 4 * MAX_ODDITIES
    for oddity in found.oddities:
        assert_bounded(oddity)


@EVERY_KIND
@given(position=st.integers(0, 1000), junk=st.binary(max_size=3))
def test_a_body_cut_or_altered_anywhere_is_rows_or_an_error(kind: Kind, position: int, junk: bytes) -> None:
    whole = json.dumps([kind.record]).encode()
    body = whole[:position] + junk + whole[position + len(junk) :]

    try:
        found = kind.parse(body)
    except FetchError:
        return

    for row in found.rows or ():
        assert_storable(row)


@EVERY_KIND
def test_a_truncated_body_is_never_a_shorter_answer(kind: Kind) -> None:
    whole = json.dumps([kind.record] * 2).encode()

    for length in range(len(whole)):
        with pytest.raises(FetchError):
            kind.parse(whole[:length])
