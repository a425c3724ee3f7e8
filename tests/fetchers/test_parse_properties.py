"""Whatever JSON, or no JSON at all, a body holds: rows that can be stored, or a FetchError."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.contracts import Fetched, FetchError, Row
from daemon.fetchers import profile, quote
from tests.fetchers.findings import rows_of
from tests.fetchers.wire_rows import PROFILE, QUOTE

SYMBOLS = ["ACME", "BOLT"]

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["12", "NaN", "1e999", "\0"]),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3),
    max_leaves=10,
)


def records(names: list[str]) -> st.SearchStrategy[dict[str, Any]]:
    known = st.dictionaries(st.sampled_from(names), values)
    identity = st.fixed_dictionaries(
        {"symbol": st.sampled_from(SYMBOLS), "price": st.floats(-1, 2e6) | values, "companyName": values}
    )
    return st.builds(lambda first, second: first | second, identity, known)


def bodies(names: list[str]) -> st.SearchStrategy[bytes]:
    documents = values | st.lists(records(names) | values, max_size=4)
    return documents.map(lambda document: json.dumps(document).encode()) | st.binary(max_size=200)


def assert_storable(row: Row) -> None:
    text = json.dumps(dict(row), allow_nan=False, ensure_ascii=False)
    assert "\\u0000" not in text
    text.encode()


@given(bodies(list(QUOTE)))
def test_quotes_are_rows_or_errors_by_symbol(body: bytes) -> None:
    try:
        found = quote.parse(body, SYMBOLS)
    except FetchError:
        return

    assert list(found) == SYMBOLS
    for symbol, result in found.items():
        assert isinstance(result, Fetched | FetchError)
        for row in (result.rows or ()) if isinstance(result, Fetched) else ():
            assert row["symbol"] == symbol
            assert_storable(row)


@given(bodies(list(PROFILE)))
def test_profiles_are_rows_or_errors(body: bytes) -> None:
    try:
        rows = profile.parse(body, "ACME")
    except FetchError:
        return

    for row in rows_of(rows):
        assert row["symbol"] == "ACME"
        assert_storable(row)


@given(st.integers(0, 1000), st.binary(max_size=3))
def test_a_body_cut_or_altered_anywhere_is_rows_or_an_error(position: int, junk: bytes) -> None:
    whole = json.dumps([QUOTE]).encode()
    body = whole[:position] + junk + whole[position + len(junk) :]

    try:
        found = quote.parse(body, ["ACME"])["ACME"]
    except FetchError:
        return

    assert isinstance(found, Fetched | FetchError)


def test_a_truncated_body_is_never_a_shorter_answer() -> None:
    whole = json.dumps([QUOTE, QUOTE | {"symbol": "BOLT"}]).encode()

    for length in range(len(whole)):
        with pytest.raises(FetchError):
            quote.parse(whole[:length], SYMBOLS)
