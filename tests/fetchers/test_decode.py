"""What decoding has in common: hostile bodies, and conversions of single values."""

from __future__ import annotations

import tracemalloc
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
import orjson
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
    with pytest.raises(FetchError) as caught:
        decode.record(msgspec.Raw(record), "quote symbol=ACME")

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


@pytest.mark.parametrize("figure", ["4115284521472.9995", "9007199254740993", "0.4865291555900202", "-1e-7", "0"])
def test_a_number_keeps_its_digits(figure: str) -> None:
    record = decode.record(msgspec.Raw(b'{"n": ' + figure.encode() + b"}"), "quote")

    assert Decimal(orjson.dumps(decode.number(record["n"])).decode()) == Decimal(figure)


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


@pytest.mark.parametrize(
    ("value", "expected"),
    [(7, 7), (7.9, 7), ("12", 12), (0, 0), (2**31 - 1, 2**31 - 1), (2**31, None), (-(2**31), None), ("", None)],
)
def test_a_count_fits_an_integer_column_or_is_nothing(value: Any, expected: int | None) -> None:
    assert decode.count(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"), [("2025", 2025), (2025, 2025), (2025.0, 2025), (25, None), (10**10, None), (None, None)]
)
def test_a_year_is_plausible_or_nothing(value: Any, expected: int | None) -> None:
    assert decode.year(value) == expected


@pytest.mark.parametrize("value", ["", " NYSE", "NY\nSE", "x" * 65, 7, None, ["NYSE"]])
def test_what_could_not_be_a_key_is_no_code(value: Any) -> None:
    assert decode.code("BRK-B") == "BRK-B"
    assert decode.code(value) is None


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        ("2025-10-31 06:01:26", datetime(2025, 10, 31, 10, 1, 26, tzinfo=UTC)),
        ("2025-01-31 16:30:00", datetime(2025, 1, 31, 21, 30, tzinfo=UTC)),
        ("2025-11-02 01:30:00", datetime(2025, 11, 2, 5, 30, tzinfo=UTC)),
        ("2025-03-09 02:30:00", datetime(2025, 3, 9, 7, 30, tzinfo=UTC)),
        ("0001-01-01 00:00:00", datetime(1, 1, 1, 4, 56, 2, tzinfo=UTC)),
        ("9999-12-31 23:59:59", None),
        ("", None),
        ("soon", None),
        (1787774400, None),
    ],
    ids=["summer", "winter", "hour that comes twice", "hour that is left out", "first", "last", "empty", "text", "int"],
)
def test_a_wall_clock_of_new_york_is_a_moment_or_nothing(value: Any, moment: datetime | None) -> None:
    assert decode.eastern(value) == moment


def test_a_wall_clock_of_greenwich_is_taken_as_it_is() -> None:
    assert decode.utc("2026-08-26 14:13:45") == datetime(2026, 8, 26, 14, 13, 45, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"Mac": 3, "iPad": 2.5, "Other": None}, {"Mac": 3, "iPad": 2.5, "Other": None}),
        ({}, {}),
        ({"\0": 1, "M\0ac": 1}, {"Mac": 1}),
        ({"Mac": "much"}, None),
        ({"Mac": {"a": 1}}, None),
        ({str(number): number for number in range(501)}, None),
        ([1], None),
        (None, None),
    ],
    ids=["figures", "none", "NUL", "text", "nested", "too many", "array", "null"],
)
def test_figures_are_numbers_by_name_or_nothing(value: Any, expected: dict[str, Any] | None) -> None:
    assert decode.figures(value) == expected


def test_a_payload_is_flat_bounded_and_storable() -> None:
    record = {
        "revenue": 4.5,
        "cik": "00\x0012",
        "final": True,
        "gone": None,
        "nested": {"a": 1},
        "b\0d": 1,
        "x" * 65: 1,
    }

    assert decode.payload(record) == {"revenue": 4.5, "cik": "0012", "final": True, "gone": None}
    assert len(decode.payload({f"n{number}": number for number in range(1000)})) == 500
