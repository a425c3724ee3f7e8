"""Every fetcher of this version keeps what all fetchers promise, and the suite sees one that does not."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from daemon.contracts import Fetched, FetchError, FetchRequest, Row, Upstream
from tests.fetchers.conformance import (
    CAP,
    Conformance,
    ConformanceError,
    ScriptedUpstream,
    Subject,
    altered,
    crowds,
    fetched,
    fixed,
    prefixes,
    renamed,
)
from tests.fetchers.subjects import SUBJECTS


@pytest.fixture(scope="module", params=sorted(SUBJECTS))
def subject(request: pytest.FixtureRequest) -> Subject:
    """Each fetcher of the table."""
    return SUBJECTS[request.param]


class TestEveryFetcher(Conformance):
    """The suite, for one after the other."""


class CarelessFetcher:
    """Believes its upstream, and answers what the test says."""

    data_type = "careless"
    batch_size = 1

    def __init__(self, found: Mapping[str, Fetched | FetchError] | Exception) -> None:
        self._found = found

    async def fetch(self, requests: Sequence[FetchRequest], _upstream: Upstream) -> Mapping[str, Fetched | FetchError]:
        """Answer."""
        assert requests
        if isinstance(self._found, Exception):
            raise self._found
        return self._found


def row(**columns: object) -> Row:
    return {"symbol": "AAPL", **columns}


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (KeyError("price"), "KeyError came out"),
        (RecursionError(), "RecursionError came out"),
        ({"MSFT": Fetched(())}, "there are results for"),
        ({"AAPL": Fetched([row(symbol="MSFT")])}, "a row is about 'MSFT'"),
        ({"AAPL": Fetched([row(price=float("nan"))])}, "nothing that JSON can carry"),
        ({"AAPL": Fetched([row(name="\ud800")])}, "nothing that JSON can carry"),
        ({"AAPL": Fetched([row(name=b"x")])}, "nothing that JSON can carry"),
        ({"AAPL": Fetched([row(name="a\0b")])}, "a NUL character"),
    ],
)
def test_a_fetcher_that_breaks_its_promise_is_seen(
    found: Mapping[str, Fetched | FetchError] | Exception, said: str
) -> None:
    subject = Subject(lambda: CarelessFetcher(found), "AAPL", fixed({}))

    with pytest.raises(ConformanceError, match=said):
        asyncio.run(fetched(subject, ScriptedUpstream(subject.good)))


def test_the_bodies_that_the_suite_makes_are_what_they_say() -> None:
    body = b'[{"symbol": "AAPL", "price": 1}]'

    assert list(altered(body, "NaN")) == [b'[{"symbol": NaN, "price": 1}]', b'[{"symbol": "AAPL", "price": NaN}]']
    assert renamed(body) == b'[{"symbol": "WRNG", "price": 1}]'
    assert renamed(b'[{"exchange": "NYSE"}]') is None
    assert set(prefixes(body)) == {body[:length] for length in range(len(body))}
    assert all(CAP - 200 < len(crowd) <= CAP for crowd in crowds(body))
