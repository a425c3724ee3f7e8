"""What decoding has in common: hostile bodies, and conversions of single values."""

from __future__ import annotations

import tracemalloc
from typing import Any

import msgspec
import pytest

from daemon.contracts import FetchError, FetchErrorKind
from daemon.fetchers import decode

NOT_ARRAYS = {
    "nothing": b"",
    "html": b"<!DOCTYPE html><html><body>Sorry</body></html>",
    "text": b"Invalid name",
    "object": b'{"Error Message": "Limit Reach"}',
    "null": b"null",
    "NaN": b"[NaN]",
    "Infinity": b"[-Infinity]",
    "truncated": b'[{"symbol": "ACME", "pri',
    "two arrays": b"[][]",
    "unclosed nesting": b"[" * 200_000,
    "nesting": b"[" * 200_000 + b"]" * 200_000,
    "nesting of objects": b'[{"a":' * 100_000,
    "UTF-16": "[]".encode("utf-16"),
}


@pytest.mark.parametrize("body", NOT_ARRAYS.values(), ids=NOT_ARRAYS.keys())
def test_a_body_that_is_no_json_array_is_malformed(body: bytes) -> None:
    with pytest.raises(FetchError) as caught:
        decode.records(body, "quote symbol=ACME")

    assert caught.value.kind is FetchErrorKind.MALFORMED
    assert str(caught.value).startswith("quote symbol=ACME: ")
    assert len(str(caught.value)) <= 256


def test_a_body_of_very_many_values_is_refused_before_it_becomes_objects() -> None:
    body = b"[" + b"[]," * 700_000 + b"[]]"
    tracemalloc.start()

    with pytest.raises(FetchError) as caught:
        decode.records(body, "quote")

    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert caught.value.kind is FetchErrorKind.TOO_LARGE
    assert peak < 1_000_000


@pytest.mark.parametrize(
    "record",
    [
        b'{"price": ' + b"9" * 5000 + b"}",
        b'{"price": ' + b"[" * 200_000 + b"]" * 200_000 + b"}",
        b'{"price": 1e999}',
        b'{"price": "\xff"}',
        b'{"price": "\\ud800"}',
        b"[]",
        b"7",
    ],
    ids=["digits", "nesting", "exponent", "no UTF-8", "half a surrogate", "array", "number"],
)
def test_an_element_that_cannot_be_decoded_is_malformed(record: bytes) -> None:
    class Wire(msgspec.Struct):
        price: Any

    with pytest.raises(FetchError) as caught:
        decode.record(msgspec.Raw(record), msgspec.json.Decoder(Wire), "quote symbol=ACME")

    assert caught.value.kind is FetchErrorKind.MALFORMED


@pytest.mark.parametrize(
    ("record", "symbol"),
    [
        (b'{"symbol": "ACME", "price": ' + b"9" * 5000 + b"}", "ACME"),
        (b'{"symbol": 7}', None),
        (b"{}", None),
        (b'{"symbol": "ACME", "a": ' + b"[" * 200_000 + b"]" * 200_000 + b"}", None),
    ],
    ids=["beside a broken number", "number", "absent", "beside deep nesting"],
)
def test_the_symbol_of_an_element_is_read_whatever_else_it_holds(record: bytes, symbol: str | None) -> None:
    assert decode.symbol_of(msgspec.Raw(record)) == symbol


def test_a_mismatch_never_repeats_what_does_not_look_like_a_symbol() -> None:
    error = decode.mismatch(["s3cret-key-of-32-characters-aaaa"], "quote symbol=ACME")

    assert error.kind is FetchErrorKind.WRONG_SYMBOL
    assert "s3cret" not in str(error)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, 1.0),
        (-2.5, -2.5),
        ("2.5", 2.5),
        ("-1e3", -1000.0),
        (6e35, 6e35),
        (0, 0.0),
        (10**400, None),
        (float("nan"), None),
        (float("inf"), None),
        ("1e999", None),
        ("NaN", None),
        ("1_000", None),
        ("", None),
        ("9" * 5000, None),
        (True, None),
        (None, None),
        ([1], None),
        ({}, None),
    ],
)
def test_a_number_is_finite_or_nothing(value: Any, expected: float | None) -> None:
    assert decode.number(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (24580543.97571, 24580543),
        (4115284521472.9995, 4115284521472),
        (-1.9, -1),
        (0, 0),
        (0.0, 0),
        ("166000", 166000),
        (2**63 - 1, 2**63 - 1),
        (2**63, None),
        (1e19, None),
        (-(10**400), None),
        ("about 100", None),
        ("", None),
        (False, None),
        (None, None),
    ],
)
def test_a_whole_number_is_cut_off_and_fits_a_bigint_or_is_nothing(value: Any, expected: int | None) -> None:
    converted = decode.whole(value)

    assert converted == expected
    assert converted is None or type(converted) is int


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("Acme", "Acme"),
        ("A\0c\0me", "Acme"),
        ("\0", None),
        ("", None),
        ("x" * 20_000, "x" * 16_384),
        (7, None),
        (None, None),
    ],
    ids=["text", "NUL", "only NUL", "empty", "long", "number", "null"],
)
def test_a_text_is_bounded_and_without_nul_or_nothing(value: Any, expected: str | None) -> None:
    assert decode.text(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(True, True), (False, False), ("true", True), ("False", False), ("yes", None), (1, None), (None, None)],
)
def test_a_flag_is_a_boolean_or_the_text_of_one(value: Any, expected: bool | None) -> None:
    assert decode.flag(value) is expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [("1980-12-12", "1980-12-12"), ("", None), ("0000-00-00", None), ("soon", None), (19801212, None), (None, None)],
)
def test_a_day_is_an_iso_date_or_nothing(value: Any, expected: str | None) -> None:
    assert decode.day(value) == expected
