"""The fast path is the slow path, sooner: whatever the body, the same rows, oddities and errors come out of both."""

from __future__ import annotations

import asyncio
import json
import random
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.contracts import Fetched, FetchError, FetchErrorKind
from daemon.fetchers import (
    available_exchanges,
    decode,
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
from daemon.fetchers.shape import MAX_RECORDS, Field, Shape, fields, read_list
from tests.fetchers import wire_rows
from tests.fetchers.conformance import ScriptedUpstream, answers_of, fetched
from tests.fetchers.fuzz_bodies import spoil
from tests.fetchers.subjects import SUBJECTS
from tests.fetchers.test_parse_properties import EVERY_KIND, Kind, bodies

GOOD: Mapping[str, tuple[Shape, Mapping[str, Any]]] = {
    "quote": (quote.QUOTE, wire_rows.QUOTE),
    "profile": (profile.PROFILE, wire_rows.PROFILE),
    "ratios-ttm": (ratios_ttm.RATIOS, wire_rows.RATIOS),
    "dividends": (dividend_history.DIVIDEND, wire_rows.DIVIDEND),
    "shares-float": (shares_float.FLOAT, wire_rows.SHARES_FLOAT),
    "revenue-product-segmentation": (revenue_segmentation.SEGMENTATION, wire_rows.SEGMENTATION),
    "grades-historical": (grades_historical.GRADES, wire_rows.GRADES),
    "search-exchange-variants": (exchange_variants.VARIANT, wire_rows.VARIANT),
    "available-exchanges": (available_exchanges.EXCHANGE, wire_rows.EXCHANGE),
    "all-exchange-market-hours": (exchange_market_status.HOURS, wire_rows.HOURS),
    "holidays-by-exchange": (exchange_market_status.HOLIDAY, wire_rows.HOLIDAY),
} | {name: (shape, wire_rows.STATEMENTS[name]) for name, shape in financial_statements.STATEMENTS.items()}
"""By endpoint the shape of its records, and a good one."""

SHAPES = tuple(shape for shape, _ in GOOD.values())
EVERY_SUBJECT = pytest.mark.parametrize("name", sorted(SUBJECTS))

CONVERSIONS = {
    convert.__name__: convert
    for convert in (
        *(decode.number, decode.unquoted, decode.whole, decode.count, decode.year, decode.anything, decode.flag),
        *(decode.text, decode.code, decode.day, decode.utc, decode.eastern, decode.figures),
    )
}
NUMERIC = frozenset({"number", "unquoted", "whole", "count", "anything"})
LIMITS = ((0, 100), (-0.5, 1e6), (-(2**70), 2**70), (float("-inf"), float("inf")))

EDGES = (0, -1, 7, 99, 100, 1799, 1800, 2200, 2201, 2**30, 2**31, 2**62, 2**63, 2**64, 10**30, 10**400)
numbers = st.one_of(
    st.sampled_from(EDGES).flatmap(lambda edge: st.integers(-edge - 1, edge + 1) | st.sampled_from((edge, -edge))),
    st.floats(),
    st.sampled_from((-0.0, 1.0, 2025.0, 99.99, 1e19, -9.3e18, 4.7e18)),
)
texts = st.one_of(
    st.text(max_size=12),
    numbers.map(str),
    st.dates().map(str),
    st.datetimes().map(str),
    st.sampled_from(("", " ", "A ", "\0", "2026-W33-1", "20260810", "2026-02-30", "2026-08-10T00", "0000-00-00")),
    st.sampled_from(("true", "x" * 64, "x" * 65, "x" * 16_384, "x" * 16_385, "\u00e9" * 10, "١٢", "1_000", "+7")),
    st.sampled_from(("2025-11-02 01:30:00", "2026-08-10 06:01:26+02:00", "9999-12-31 23:59:59", "0001-01-01 00:00:00")),
)
values = st.one_of(
    st.none(),
    st.booleans(),
    numbers,
    texts,
    st.lists(numbers, max_size=2),
    st.dictionaries(texts, st.none() | numbers | texts, max_size=3),
)


class _Never:
    """Reads no answer fast."""

    def rows(self, *_: object) -> None:
        return None


@contextmanager
def only_slowly(*shapes: Shape) -> Iterator[None]:
    """Have the records of these shapes read one by one."""
    ways = [shape.fast for shape in shapes]
    for shape in shapes:
        object.__setattr__(shape, "fast", _Never())
    try:
        yield
    finally:
        for shape, way in zip(shapes, ways, strict=True):
            object.__setattr__(shape, "fast", way)


def exactly(value: Any) -> Any:
    """Return what is the same for the same values of the same types alone: 1 is not 1.0, and 0.0 not -0.0."""
    if isinstance(value, dict):
        return sorted((name, exactly(held)) for name, held in value.items())
    if isinstance(value, Fetched):
        return [value.etag, value.source_timestamp, value.replaces, value.oddities, exactly(list(value.rows or ()))]
    if isinstance(value, FetchError):
        return value.kind, str(value)
    return [exactly(held) for held in value] if isinstance(value, list) else (type(value), repr(value))


def result_of(read: Callable[[], Any]) -> Any:
    try:
        return exactly(read())
    except FetchError as error:
        return exactly(error)


def assert_same(read: Callable[[], Any], *shapes: Shape) -> None:
    """Check that the result is the same both ways, three times: nothing is remembered from one to the next."""
    fast = result_of(read)
    with only_slowly(*shapes):
        slow = result_of(read)
    assert fast == slow
    assert result_of(read) == fast


def read_all(body: bytes, shape: Shape, expected: Mapping[str, str] | None = None) -> list[Any]:
    reading = read_list(body, shape, "things", expected)
    return [reading.rows, reading.is_complete, list(reading.oddities()), exactly(reading.fetched(replaces=("symbol",)))]


@pytest.mark.parametrize(("shape", "record"), GOOD.values(), ids=GOOD.keys())
def test_a_good_answer_goes_the_fast_way(shape: Shape, record: Mapping[str, Any]) -> None:
    body = json.dumps([record, record]).encode()

    assert shape.fast.rows(body) is not None
    assert_same(lambda: read_all(body, shape), shape)


@EVERY_SUBJECT
def test_the_answers_of_the_simulated_upstream_go_the_fast_way(name: str) -> None:
    for endpoint, body in answers_of(SUBJECTS[name]).items():
        shape, _ = GOOD["quote" if endpoint == "batch-quote" else endpoint]

        assert shape.fast.rows(body) is not None, endpoint


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("profile", {"description": "", "ipoDate": "", "city": None, "beta": None}),
        ("dividends", {"recordDate": "", "declarationDate": None}),
        ("income-statement", {"cik": "", "acceptedDate": "", "filingDate": None}),
        ("quote", {"timestamp": 0, "marketCap": 4115284521472.9995, "volume": None}),
    ],
)
def test_what_is_unknown_goes_the_fast_way_too(name: str, change: dict[str, Any]) -> None:
    shape, record = GOOD[name]
    body = json.dumps([record, {**record, **change}]).encode()

    assert shape.fast.rows(body) is not None
    assert_same(lambda: read_all(body, shape), shape)


@pytest.mark.parametrize(
    "body",
    [
        b'[{"symbol": "A", "n": 1, "new": 2}]',
        b'[{"symbol": "A"}]',
        b'[{"symbol": "A", "n": "1"}]',
        b'[{"symbol": "A", "n": 9223372036854775808}]',
        b'[{"symbol": "A", "n": NaN}]',
        b'[{"symbol": "A\\u0000", "n": 1}]',
        b'[{"symbol": " A", "n": 1}]',
        b'[{"symbol": "B", "n": 1}]',
        b'[{"symbol": "A", "n": 1}, 7]',
        b'[{"symbol": "A", "n": 1}',
    ],
)
def test_what_is_odd_does_not(body: bytes) -> None:
    shape = Shape(identity=fields(decode.code, "symbol"), optional=fields(decode.number, "n"))

    assert shape.fast.rows(body, {"symbol": "A"}) is None
    assert_same(lambda: read_all(body, shape, {"symbol": "A"}), shape)


@EVERY_KIND
@given(data=st.data())
def test_any_records_give_the_same(kind: Kind, data: st.DataObject) -> None:
    body = data.draw(bodies(kind))

    assert_same(lambda: kind.parse(body), *SHAPES)


@EVERY_SUBJECT
@given(seed=st.integers(0, 2**32))
def test_any_altered_answer_gives_the_same(name: str, seed: int) -> None:
    subject, rng = SUBJECTS[name], random.Random(seed)
    answers = answers_of(subject)
    endpoint = rng.choice(sorted(answers))
    body = spoil(answers[endpoint], rng)

    assert_same(lambda: asyncio.run(fetched(subject, ScriptedUpstream(subject.good, {endpoint: body}))), *SHAPES)


@pytest.mark.parametrize("name", CONVERSIONS)
@given(data=st.data())
def test_every_conversion_gives_the_same(name: str, data: st.DataObject) -> None:
    field = Field("field", "column", CONVERSIONS[name])
    is_required, is_kept = data.draw(st.booleans(), "required"), data.draw(st.booleans(), "kept")
    limits = data.draw(st.just({}) | st.sampled_from(LIMITS).map(lambda limits: {"field": limits}), "limits")
    shape = Shape(
        identity=(*fields(decode.code, "symbol"), *([field] if is_required else ())),
        optional=() if is_required else (field,),
        limits=limits,
        figures=("figure",) if is_kept else (),
        payload="record" if is_kept else None,
    )
    figures = st.none() | numbers if is_kept else st.just(1)
    held = st.fixed_dictionaries(
        {"symbol": st.just("ACME"), "field": values} | ({"figure": figures} if is_kept else {}),
    )
    body = json.dumps(data.draw(st.lists(held, max_size=3), "records")).encode()
    expected = data.draw(st.sampled_from((None, {"symbol": "ACME"}, {"field": "7"})), "expected")

    assert_same(lambda: read_all(body, shape, expected), shape)


@given(records=st.lists(st.fixed_dictionaries({"symbol": texts, "shout": values, "n": numbers}), max_size=3))
def test_a_conversion_that_is_unknown_gives_the_same(records: list[dict[str, Any]]) -> None:
    def shout(value: Any) -> str | None:
        return "nothing" if value is None else value.upper() or None if isinstance(value, str) else None

    required = Shape(identity=(*fields(decode.code, "symbol"), *fields(shout, "shout")), optional=fields(shout, "n"))
    body = json.dumps(records).encode()

    assert_same(lambda: read_all(body, required), required)


NO_TYPE = {
    "two columns of one field": Shape(identity=fields(decode.code, "a"), optional=[Field("a", "b", decode.text)]),
    "one column of two fields": Shape(identity=fields(decode.code, "a"), optional=[Field("b", "a", decode.text)]),
    "a column that is no word": Shape(identity=fields(decode.code, "a"), optional=[Field("b", "b-c", decode.text)]),
    "limits of a text": Shape(identity=fields(decode.code, "a b"), limits={"b": (0, 9)}),
    "a known field without a column": Shape(identity=fields(decode.code, "a"), sometimes=frozenset("b")),
    "figures that are not kept": Shape(identity=fields(decode.code, "a"), figures=("b",)),
    "nested and kept": Shape(identity=fields(decode.code, "a"), optional=fields(decode.figures, "b"), payload="c"),
    "kept but now and then": Shape(identity=fields(decode.code, "a b"), sometimes=frozenset("b"), payload="c"),
    "kept by an odd name": Shape(identity=(Field("a", "a", decode.code), Field("é", "b", decode.code)), payload="c"),
}


@pytest.mark.parametrize("shape", NO_TYPE.values(), ids=NO_TYPE.keys())
@given(data=st.data())
def test_a_shape_that_no_type_can_say_goes_the_slow_way(shape: Shape, data: st.DataObject) -> None:
    held = st.fixed_dictionaries({}, optional=dict.fromkeys(("a", "b", "c", "é"), st.sampled_from(("x", "5", 7, None))))
    body = json.dumps(data.draw(st.lists(held, max_size=2))).encode()

    assert shape.fast.rows(body) is None
    assert_same(lambda: read_all(body, shape), shape)


def test_a_field_that_is_named_twice_counts_as_the_last_of_it() -> None:
    shape = Shape(identity=fields(decode.code, "symbol"), optional=fields(decode.number, "n"), payload="record")
    body = b'[{"symbol": "A", "n": 1, "symbol": "B", "n": 2}]'

    assert shape.fast.rows(body) == [{"symbol": "B", "n": 2, "record": {"symbol": "B", "n": 2}}]
    assert_same(lambda: read_all(body, shape), shape)


def test_an_answer_of_very_many_good_records_is_refused_before_they_become_rows() -> None:
    shape = Shape(identity=fields(decode.code, "a"))
    good, body = (b"[" + b",".join([b'{"a":"x"}'] * number) + b"]" for number in (MAX_RECORDS, 200_000))
    assert len(shape.fast.rows(good) or ()) == MAX_RECORDS
    tracemalloc.start()

    with pytest.raises(FetchError) as caught:
        read_list(body, shape, "things")

    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert caught.value.kind is FetchErrorKind.TOO_LARGE
    assert peak < 20_000_000


def test_an_answer_of_very_many_values_is_refused_before_they_become_rows() -> None:
    names = " ".join(f"field{number}" for number in range(100))
    shape = Shape(identity=fields(decode.code, "symbol"), optional=fields(decode.number, names))
    record = json.dumps({"symbol": "A"} | dict.fromkeys(names.split(), 1)).encode()
    body = b"[" + b",".join([record] * 4_000) + b"]"

    assert shape.fast.rows(body) is None
    assert_same(lambda: read_all(body, shape), shape)
