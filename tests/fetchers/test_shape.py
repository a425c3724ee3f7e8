"""Records of one shape: what is stored of them, and what is told."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest

from daemon.contracts import FetchError, FetchErrorKind, OddityKind
from daemon.fetchers import decode
from daemon.fetchers.shape import Field, Reading, Shape, fields, read_list

SHAPE = Shape(
    identity=(*fields(decode.code, "symbol"), *fields(decode.day, "date")),
    optional=(
        *fields(decode.number, "priceAvg50 fairValue", fairValue="value"),
        *fields(decode.text, "note lunchBreak"),
    ),
    limits={"fairValue": (0, 100)},
    sometimes=frozenset({"lunchBreak"}),
)
GOOD: dict[str, Any] = {"symbol": "ACME", "date": "2026-08-10", "priceAvg50": 1.5, "fairValue": 2, "note": "good"}


def read(*changes: dict[str, Any]) -> Reading:
    return read_list(json.dumps([GOOD | change for change in changes]).encode(), SHAPE, "things", {"symbol": "ACME"})


def told(reading: Reading, kind: OddityKind) -> dict[str, tuple[str, int]]:
    return {odd.field: (odd.sample, odd.records) for odd in reading.oddities() if odd.kind is kind}


def test_a_column_is_called_like_its_field_unless_it_says_otherwise() -> None:
    assert fields(decode.text, "priceAvg50 isEtf ebitMarginTTM cik", cik="number") == (
        Field("priceAvg50", "price_avg_50", decode.text),
        Field("isEtf", "is_etf", decode.text),
        Field("ebitMarginTTM", "ebit_margin_ttm", decode.text),
        Field("cik", "number", decode.text),
    )


def test_a_record_becomes_a_row() -> None:
    reading = read({})

    assert reading.rows == [
        {"symbol": "ACME", "date": "2026-08-10", "price_avg_50": 1.5, "value": 2, "note": "good", "lunch_break": None}
    ]
    assert reading.oddities() == ()
    assert reading.is_complete


def test_unknown_fields_are_told_by_name_and_counted() -> None:
    reading = read({"novel": "secret"}, {"novel": 1, "x\n" * 40: 2})

    assert told(reading, OddityKind.UNKNOWN_FIELD) == {"novel": ("", 2), "x?" * 32: ("", 1)}
    assert len(reading.rows) == 2


def test_very_many_unknown_fields_are_told_of_twenty() -> None:
    reading = read(*({f"novel{number}-{other}": 1 for other in range(100)} for number in range(5)))

    assert len(told(reading, OddityKind.UNKNOWN_FIELD)) == 20


def test_a_field_that_is_in_no_record_is_missing_unless_it_often_is() -> None:
    records = [{name: value for name, value in GOOD.items() if name != gone} for gone in ("note", "priceAvg50")]
    both = {name: value for name, value in GOOD.items() if name not in {"note", "priceAvg50"}}

    in_one_each = read_list(json.dumps(records).encode(), SHAPE, "things")
    in_none = read_list(json.dumps([both, both]).encode(), SHAPE, "things")
    empty = read_list(b"[]", SHAPE, "things")

    assert told(in_one_each, OddityKind.MISSING_FIELD) == {}
    assert told(in_none, OddityKind.MISSING_FIELD) == {"note": ("", 1), "priceAvg50": ("", 1)}
    assert empty.oddities() == ()


@pytest.mark.parametrize(
    ("value", "sample"),
    [
        ("much", "much"),
        (True, "True"),
        ([1], "an array"),
        ({}, "an object"),
        ("\x1b[31m" + "x" * 300, "?[31m" + "x" * 251),
    ],
    ids=["text", "boolean", "array", "object", "long"],
)
def test_a_value_that_does_not_convert_is_stored_as_null_and_told(value: Any, sample: str) -> None:
    reading = read({"priceAvg50": value}, {"priceAvg50": value}, {})

    assert [row["price_avg_50"] for row in reading.rows] == [None, None, 1.5]
    assert told(reading, OddityKind.CHANGED_TYPE) == {"priceAvg50": (sample, 2)}


@pytest.mark.parametrize("nothing", [None, ""])
def test_nothing_is_no_changed_type(nothing: Any) -> None:
    assert read({"priceAvg50": nothing, "note": nothing}).oddities() == ()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"date": ""}, "date is missing or cannot be used"),
        ({"fairValue": -0.5}, "fairValue is not in [0, 100)"),
        ({"fairValue": "100"}, "fairValue is not in [0, 100)"),
        ({"symbol": "BOLT"}, "about something else"),
        ({"symbol": 7}, "symbol is missing or not a text"),
    ],
)
def test_a_bad_record_is_left_out_and_the_good_ones_stay(change: dict[str, Any], reason: str) -> None:
    reading = read({}, change, change, {"date": "2026-05-11"})

    quarantined = told(reading, OddityKind.QUARANTINED_RECORD)
    assert [row["date"] for row in reading.rows] == ["2026-08-10", "2026-05-11"]
    assert {field: records for field, (_, records) in quarantined.items()} == {reason: 2}
    assert reading.fetched(replaces=("symbol",)).replaces is None


def test_the_sample_of_a_bad_record_is_short_and_printable() -> None:
    reading = read({}, {"date": None, "note": "\x1b" + "x" * 1000})

    ((sample, _),) = told(reading, OddityKind.QUARANTINED_RECORD).values()
    assert len(sample) == 256
    assert sample.isprintable()


def test_the_reason_never_repeats_what_was_found() -> None:
    body = json.dumps([GOOD]).encode()[:-1] + b', {"symbol": "ACME", "secret": ' + b"9" * 5000 + b"}, [7], 8]"

    reading = read_list(body, SHAPE, "things")

    assert told(reading, OddityKind.QUARANTINED_RECORD).keys() == {"not readable"}
    assert len(reading.rows) == 1


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"date": None}, FetchErrorKind.MALFORMED),
        ({"fairValue": 100}, FetchErrorKind.INSANE_VALUE),
        ({"symbol": "BOLT"}, FetchErrorKind.WRONG_SYMBOL),
        ({"symbol": None}, FetchErrorKind.MALFORMED),
    ],
)
def test_an_answer_of_bad_records_alone_is_a_failure(change: dict[str, Any], kind: FetchErrorKind) -> None:
    with pytest.raises(FetchError) as caught:
        read(change, change)

    assert caught.value.kind is kind
    assert str(caught.value).startswith("things: ")


def test_an_answer_of_very_many_records_is_refused_before_they_become_rows() -> None:
    body = b"[" + b",".join([b'{"symbol":"ACME","date":"2026-08-10"}'] * 50_000) + b"]"
    tracemalloc.start()

    with pytest.raises(FetchError) as caught:
        read_list(body, SHAPE, "things")

    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert caught.value.kind is FetchErrorKind.TOO_LARGE
    assert peak < 8_000_000


def test_a_known_figure_that_is_no_number_is_told_and_kept_in_the_payload() -> None:
    shape = Shape(identity=fields(decode.code, "symbol"), figures=frozenset({"revenue", "profit"}), payload="statement")

    reading = read_list(b'[{"symbol": "ACME", "revenue": "much", "novel": 3}]', shape, "things")

    assert reading.rows == [{"symbol": "ACME", "statement": {"symbol": "ACME", "revenue": "much", "novel": 3}}]
    assert told(reading, OddityKind.CHANGED_TYPE) == {"revenue": ("much", 1)}
    assert told(reading, OddityKind.MISSING_FIELD) == {"profit": ("", 1)}
    assert told(reading, OddityKind.UNKNOWN_FIELD) == {"novel": ("", 1)}
