"""What every fetcher promises, those of plug-ins included, whatever the upstream answers.

A test of a plug-in says what it is about, and inherits everything else::

    @pytest.fixture(scope="module")
    def subject() -> Subject:
        return Subject(MoodFetcher, "AAPL", fixed({"mood": b'[{"symbol": "AAPL", "mood": 7}]'}))


    class TestMoods(Conformance):
        pass

Bodies are given to the fetcher as the client would: whole, decompressed, and within the cap.
"""

from __future__ import annotations

import asyncio
import json
import tracemalloc
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from daemon.contracts import (
    GLOBAL_SYMBOL,
    Answer,
    Fetched,
    Fetcher,
    FetchError,
    FetchErrorKind,
    FetchRequest,
    Row,
)

Good = Callable[[str, Mapping[str, str]], bytes]
"""From an endpoint and its parameters to a good body."""

CAP = 2 * 1024 * 1024
LARGEST_CAP = 8 * 1024 * 1024
MEMORY = 64 * 1024 * 1024
PREFIXES = 1_500
DEPTH = 200_000
DIGITS = "9" * 5_000
HTML = b"<!DOCTYPE html><html><head><title>502 Bad Gateway</title></head><body></body></html>"
ETAG = 'W/"22b-aaaaaaaaaaaaaaaaaaaaaaaaaaa"'


class ConformanceError(AssertionError):
    """A fetcher breaks its promise."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A fetcher, and what the upstream answers it.

    ``forgiven`` are endpoints without which the fetcher can do: what is wrong with them need not fail the fetch.
    """

    build: Callable[[], Fetcher]
    symbol: str
    good: Good
    forgiven: frozenset[str] = frozenset()

    @property
    def is_global(self) -> bool:
        """Whether its rows are about no symbol."""
        return self.symbol == GLOBAL_SYMBOL


def fixed(bodies: Mapping[str, bytes]) -> Good:
    """Return good answers that are the same for all parameters."""

    def good(endpoint: str, _params: Mapping[str, str]) -> bytes:
        assert endpoint in bodies, f"give a good body for the endpoint {endpoint}"
        return bodies[endpoint]

    return good


@dataclass
class ScriptedUpstream:
    """Gives good answers, but for the endpoints that are spoilt; 304 to every call with an ETag where told so."""

    good: Good
    spoilt: Mapping[str, bytes] = field(default_factory=dict)
    honours_etags: bool = False
    asked: list[tuple[str, dict[str, str], str | None]] = field(default_factory=list)

    async def get(
        self, endpoint: str, params: Mapping[str, str], *, etag: str | None = None, max_bytes: int | None = None
    ) -> Answer:
        """Answer as the client does."""
        cap = CAP if max_bytes is None else max_bytes
        assert 0 < cap <= LARGEST_CAP, f"max_bytes is {max_bytes}"
        assert not {"apikey", "api_key", "token"} & {name.lower() for name in params}, "the key is not a parameter"
        self.asked.append((endpoint, dict(params), etag))
        if etag is not None and self.honours_etags:
            return Answer(304, b"", etag, 200)
        body = self.spoilt[endpoint] if endpoint in self.spoilt else self.good(endpoint, params)
        if len(body) > cap:
            raise FetchError(FetchErrorKind.TOO_LARGE, f"{endpoint}: the body exceeds {cap} bytes")
        return Answer(200, body, ETAG, len(body) + 200)


async def fetched(
    subject: Subject, upstream: ScriptedUpstream, *, fetcher: Fetcher | None = None, etag: str | None = None
) -> Fetched | FetchError:
    """Fetch once and return what came of it.

    Raises:
        ConformanceError: For everything that the contract does not allow.
    """
    fetcher = fetcher or subject.build()
    try:
        results = await fetcher.fetch([FetchRequest(subject.symbol, etag)], upstream)
    except FetchError as error:
        return _checked_error(error)
    except AssertionError:
        raise
    except BaseException as error:
        raise ConformanceError(f"{type(error).__name__} came out instead of a FetchError: {error}") from error
    if not results.keys() <= {subject.symbol}:
        raise ConformanceError(f"there are results for {sorted(results)}, asked was for {subject.symbol}")
    result = results.get(subject.symbol, Fetched(rows=()))
    if isinstance(result, FetchError):
        return _checked_error(result)
    check_result(result, None if subject.is_global else subject.symbol)
    return result


def _checked_error(error: FetchError) -> FetchError:
    text = str(error)
    if not text or len(text) > 600 or not text.isprintable():
        raise ConformanceError(f"the message of an error is one printable line: {text!r:.700}")
    return error


def check_result(result: Fetched, symbol: str | None) -> None:
    """Check that what was fetched can be stored.

    Args:
        result: It.
        symbol: Which every row must name; None for a global type.

    Raises:
        ConformanceError: Where it cannot.
    """
    for row in result.rows or ():
        _check_row(row, symbol)
    if result.source_timestamp is not None and result.source_timestamp.utcoffset() is None:
        raise ConformanceError("the source timestamp has no zone")
    for oddity in result.oddities:
        if len(oddity.sample) > 256 or not oddity.sample.isprintable():
            raise ConformanceError(f"an oddity has a sample of at most 256 printable characters: {oddity!r:.700}")


def _check_row(row: Row, symbol: str | None) -> None:
    if symbol is not None and row.get("symbol") != symbol:
        raise ConformanceError(f"a row is about {row.get('symbol')!r}, asked was for {symbol}")
    try:
        text = json.dumps(dict(row), allow_nan=False, ensure_ascii=False)
        text.encode()
    except (TypeError, ValueError) as error:
        raise ConformanceError(f"a row is nothing that JSON can carry: {error}") from None
    if "\\u0000" in text:
        raise ConformanceError("a text holds a NUL character, which PostgreSQL refuses")


# --- bodies that are no use ------------------------------------------------------------------------------------------

USELESS: Mapping[str, bytes] = {
    "nothing": b"",
    "spaces": b" \n ",
    "null": b"null",
    "a number": b"17",
    "a text": b'"quote"',
    "an object": b"{}",
    "an error object": b'{"Error Message": "Limit Reach . Please upgrade your plan"}',
    "HTML": HTML,
    "plain text": b"Query Error: Invalid or missing query parameter - symbol",
    "an array of numbers": b"[1, 2]",
    "an array of nulls": b"[null]",
    "an array of arrays": b"[[]]",
    "an array of empty objects": b"[{}]",
    "a bare NaN": b"NaN",
    "an array of NaN": b"[NaN]",
    "nesting": b"[" * DEPTH + b"]" * DEPTH,
    "nesting of objects": b'[{"symbol":' * DEPTH,
    "a digit too many": f"[{DIGITS}]".encode(),
    "bytes that are no UTF-8": b'[{"symbol": "\xff\xfe"}]',
    "two arrays": b"[][]",
}
"""Bodies that can never be stored."""

VALUES: Sequence[str] = (
    "null", "true", "-1", "0", "1e999", "-1e999", "1e-999", DIGITS, "-" + DIGITS, "1.5", '""', '"NaN"', '"\\u0000"',
    '"\\ud800"', '"2026-02-30"', '"0000-00-00 00:00:00"', '"' + "x" * 100_000 + '"', "[]", "{}",
    '{"a": [null, {"b": 1}]}', "[" * 500 + "]" * 500, "[" * DEPTH + "]" * DEPTH, "NaN", "Infinity",
)  # fmt: skip
"""Values, as JSON and as what pretends to be JSON, that a field may hold to everybody's surprise."""


def altered(body: bytes, value: str) -> Iterator[bytes]:
    """Return good bodies in each of which one field of every record holds ``value``."""
    records = json.loads(body)
    names = dict.fromkeys(name for record in records[:50] for name in record)
    for name in names:
        marked = [record | {name: "\x01"} for record in records[:50]]
        yield json.dumps(marked).replace('"\\u0001"', value).encode()


def crowds(body: bytes) -> Iterator[bytes]:
    """Return bodies of nearly two MiB that hold very many things."""
    first = json.dumps(json.loads(body)[0]).encode()
    for piece in (b"[]", b"{}", b"1", b'""', first):
        yield b"[" + b",".join([piece] * ((CAP - 10) // (len(piece) + 1))) + b"]"


def renamed(body: bytes) -> bytes | None:
    """Return a good body about another symbol, None where its records name none."""
    records = json.loads(body)
    if not all("symbol" in record for record in records):
        return None
    return json.dumps([record | {"symbol": "WRNG"} for record in records]).encode()


def prefixes(body: bytes) -> Iterator[bytes]:
    """Return every beginning of a body, or many, evenly spread, where it is long; the last few always."""
    step = max(1, len(body) // PREFIXES)
    for length in {*range(0, len(body), step), *range(max(0, len(body) - 64), len(body))}:
        if body[:length].strip() != body.strip():
            yield body[:length]


# --- the suite -------------------------------------------------------------------------------------------------------

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["12", "NaN", "1e999", "\0"]),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3),
    max_leaves=10,
)


@cache
def answers_of(subject: Subject) -> Mapping[str, bytes]:
    """Return the good body of every endpoint that a fetch asks for."""
    upstream = ScriptedUpstream(subject.good)
    asyncio.run(fetched(subject, upstream))
    return {endpoint: subject.good(endpoint, params) for endpoint, params, _ in reversed(upstream.asked)}


async def _all_fail(subject: Subject, endpoint: str, bodies: Iterator[bytes]) -> None:
    for body in bodies:
        result = await fetched(subject, ScriptedUpstream(subject.good, {endpoint: body}))
        if not isinstance(result, FetchError) and endpoint not in subject.forgiven:
            raise ConformanceError(f"{endpoint} answered {body[:80]!r}, which was taken for good")


async def _all_bear(subject: Subject, endpoint: str, bodies: Iterator[bytes]) -> None:
    for body in bodies:
        await fetched(subject, ScriptedUpstream(subject.good, {endpoint: body}))


class Conformance:
    """The suite: inherit from it, and define the fixture ``subject`` in the module."""

    def test_a_good_answer_gives_rows_that_can_be_stored(self, subject: Subject) -> None:
        first, again = (asyncio.run(fetched(subject, ScriptedUpstream(subject.good))) for _ in range(2))

        assert isinstance(first, Fetched)
        assert first.rows
        assert first == again

    def test_it_says_what_it_is(self, subject: Subject) -> None:
        fetcher = subject.build()

        assert fetcher.data_type
        assert 1 <= fetcher.batch_size <= 1_000
        assert subject.build() is not fetcher

    def test_an_answer_that_has_not_changed_has_no_rows(self, subject: Subject) -> None:
        first = asyncio.run(fetched(subject, ScriptedUpstream(subject.good)))
        assert isinstance(first, Fetched)
        upstream = ScriptedUpstream(subject.good, honours_etags=True)

        second = asyncio.run(fetched(subject, upstream, etag=first.etag))

        assert isinstance(second, Fetched)
        if all(etag is not None for _, _, etag in upstream.asked):
            assert second.rows is None
            assert second.etag == first.etag
        else:
            assert second.rows is not None

    def test_an_upstream_that_has_nothing_is_empty_and_no_error(self, subject: Subject) -> None:
        nothing = dict.fromkeys(answers_of(subject), b"[]")

        result = asyncio.run(fetched(subject, ScriptedUpstream(subject.good, nothing)))

        assert isinstance(result, Fetched)
        assert result.rows is not None
        assert list(result.rows) == []

    @pytest.mark.parametrize("error", FetchErrorKind)
    def test_the_errors_of_the_upstream_come_out_as_they_are(self, subject: Subject, error: FetchErrorKind) -> None:
        def refusing(endpoint: str, _params: Mapping[str, str]) -> bytes:
            raise FetchError(error, f"{endpoint}: no")

        result = asyncio.run(fetched(subject, ScriptedUpstream(refusing)))

        assert isinstance(result, FetchError)
        assert result.kind is error

    @pytest.mark.parametrize("what", USELESS)
    def test_a_body_that_is_no_use_is_an_error(self, subject: Subject, what: str) -> None:
        for endpoint in answers_of(subject):
            asyncio.run(_all_fail(subject, endpoint, iter([USELESS[what]])))

    def test_no_beginning_of_an_answer_is_taken_for_a_shorter_one(self, subject: Subject) -> None:
        for endpoint, body in answers_of(subject).items():
            asyncio.run(_all_fail(subject, endpoint, prefixes(body)))

    def test_an_answer_about_another_symbol_is_an_error(self, subject: Subject) -> None:
        for endpoint, body in answers_of(subject).items():
            if not subject.is_global and (other := renamed(body)) is not None:
                asyncio.run(_all_fail(subject, endpoint, iter([other])))

    @pytest.mark.parametrize("value", VALUES, ids=lambda value: value[:12])
    def test_a_field_may_hold_anything(self, subject: Subject, value: str) -> None:
        for endpoint, body in answers_of(subject).items():
            asyncio.run(_all_bear(subject, endpoint, altered(body, value)))

    def test_very_many_records_take_bounded_memory(self, subject: Subject) -> None:
        for endpoint, body in answers_of(subject).items():
            for crowd in crowds(body):
                assert _peak_bytes(subject, endpoint, crowd) < MEMORY

    @settings(
        max_examples=150,
        deadline=None,
        suppress_health_check=[
            HealthCheck.function_scoped_fixture,
            HealthCheck.differing_executors,
            HealthCheck.too_slow,
        ],
    )
    @given(data=st.data())
    def test_whatever_json_comes_there_are_rows_or_an_error(self, subject: Subject, data: st.DataObject) -> None:
        answers = answers_of(subject)
        endpoint = data.draw(st.sampled_from(sorted(answers)))
        body = data.draw(_bodies(json.loads(answers[endpoint])[0]))

        asyncio.run(_all_bear(subject, endpoint, iter([body])))


def _bodies(good: dict[str, Any]) -> st.SearchStrategy[bytes]:
    changes = st.dictionaries(st.sampled_from(sorted(good)) | st.text(max_size=8), json_values, max_size=5)
    records = changes.map(lambda change: good | change) | json_values
    documents = st.lists(records, max_size=4) | json_values
    return documents.map(lambda document: json.dumps(document).encode()) | st.binary(max_size=200)


def _peak_bytes(subject: Subject, endpoint: str, body: bytes) -> int:
    tracemalloc.start()
    try:
        asyncio.run(_all_bear(subject, endpoint, iter([body])))
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
