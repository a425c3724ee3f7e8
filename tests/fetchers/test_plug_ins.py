"""Plug-ins: loaded by what they declare, refused with a reason, and kept within the contract while they work."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import EntryPoint
from types import ModuleType
from typing import Any

import pytest

from daemon.contracts import (
    CallRefusedError,
    Fetched,
    FetchError,
    FetchErrorKind,
    FetchRequest,
    Oddity,
    OddityKind,
    Upstream,
)
from daemon.fetchers.plug_ins import GROUP, GuardedFetcher, load_fetchers
from daemon.fetchers.table import FETCHERS
from devstack.daemon_process import REPOSITORY
from tests.fetchers.upstream_stub import UpstreamStub

Answering = Callable[[], Any]
MODULE = "a_plug_in_for_tests"
EXAMPLE = REPOSITORY / "examples" / "refreshd-price-targets"
ROW = {"symbol": "ACME", "mood": "glad"}
REQUESTS = [FetchRequest("ACME")]


class MoodFetcher:
    """A fetcher as others write it, which answers what the test says."""

    data_type = "mood"
    batch_size: Any = 1

    def __init__(self, answer: Answering = dict) -> None:
        self._answer = answer

    async def fetch(self, requests: Sequence[FetchRequest], _upstream: Upstream) -> Mapping[str, Fetched | FetchError]:
        """Answer."""
        assert requests
        found: Mapping[str, Fetched | FetchError] = self._answer()
        return found


class NoBatchFetcher(MoodFetcher):
    """Says nothing of use about its batches."""

    batch_size = "many"


class NotAsynchronous:
    """Has everything, but fetches like it was 1999."""

    data_type = "mood"
    batch_size = 1

    def fetch(self) -> None:
        """Do nothing."""


def leave() -> None:
    raise SystemExit("bye")


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module of a plug-in that is installed."""
    made = ModuleType(MODULE)
    for thing in (MoodFetcher, NoBatchFetcher, NotAsynchronous, leave):
        setattr(made, thing.__name__, thing)
    monkeypatch.setitem(sys.modules, MODULE, made)
    return made


def point(value: str = f"{MODULE}:MoodFetcher", name: str = "mood") -> EntryPoint:
    return EntryPoint(name, value, GROUP)


def test_without_plug_ins_the_table_is_that_of_this_version() -> None:
    table = load_fetchers([])

    assert table.fetchers.keys() == FETCHERS.keys()
    assert (table.plug_ins, table.problems) == ({}, [])
    assert table.origin("quote") == "built-in"
    assert table.origin("mood") is None


@pytest.mark.usefixtures("module")
def test_a_plug_in_is_loaded_under_the_name_of_its_entry_point() -> None:
    table = load_fetchers([point()])

    assert table.problems == []
    assert table.fetchers["mood"].data_type == "mood"
    assert table.origin("mood") == "an unknown package"


@pytest.mark.usefixtures("module")
@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (point(name="quote"), "that name is taken: built-in has it"),
        (point(name="Not A Name"), "lower-case letters, digits and hyphens"),
        (point("no_such_module_anywhere:Fetcher"), "ModuleNotFoundError"),
        (point(f"{MODULE}:Absent"), "AttributeError"),
        (point(f"{MODULE}:leave"), "SystemExit: bye"),
        (point("builtins:dict"), "builds no fetcher: data_type is no text"),
        (point("builtins:print"), "builds no fetcher: data_type is no text"),
        (point("builtins:chr"), "cannot be built: TypeError"),
        (point(f"{MODULE}:NoBatchFetcher"), "batch_size is no number from 1 to 1000"),
        (point(f"{MODULE}:NotAsynchronous"), "fetch is no coroutine function"),
    ],
)
def test_a_broken_plug_in_is_refused_with_the_reason_and_the_others_work(broken: EntryPoint, said: str) -> None:
    table = load_fetchers([broken, point(name="good-mood")])

    [problem] = table.problems
    assert said in problem
    assert table.fetchers.keys() == {*FETCHERS, "good-mood"}


@pytest.mark.usefixtures("module")
def test_of_two_plug_ins_with_one_name_the_second_is_refused() -> None:
    table = load_fetchers([point(), point()])

    assert table.problems == ["an unknown package, fetcher 'mood': that name is taken: an unknown package has it"]


async def fetched(answer: Answering) -> Mapping[str, Fetched | FetchError]:
    return await GuardedFetcher("moods 1.0", MoodFetcher(answer)).fetch(REQUESTS, UpstreamStub([]))


def raising(error: BaseException) -> Answering:
    def answer() -> None:
        raise error

    return answer


async def test_what_the_contract_allows_comes_out_as_it_is() -> None:
    oddity = Oddity(OddityKind.UNKNOWN_FIELD, "aura")
    good = Fetched([ROW], datetime(2026, 11, 2, tzinfo=UTC), 'W/"x"', (oddity,))
    failed = FetchError(FetchErrorKind.INSANE_VALUE, "mood is negative")

    assert await fetched(lambda: {"ACME": good}) == {"ACME": good}
    assert await fetched(lambda: {"ACME": failed}) == {"ACME": failed}
    assert await fetched(dict) == {"ACME": Fetched(rows=())}
    assert await fetched(lambda: {"ACME": Fetched(None), "OTHER": good}) == {"ACME": Fetched(None)}


@pytest.mark.parametrize("error", [FetchError(FetchErrorKind.PLAN, "no"), CallRefusedError("breaker", 1.0)])
async def test_errors_of_the_contract_pass(error: Exception) -> None:
    with pytest.raises(type(error)) as caught:
        await fetched(raising(error))

    assert caught.value is error


@pytest.mark.parametrize("error", [KeyError("mood"), RecursionError(), SystemExit(3), ZeroDivisionError()])
async def test_every_other_error_is_a_failed_fetch_that_names_the_plug_in(error: BaseException) -> None:
    with pytest.raises(FetchError, match=r"the plug-in moods 1\.0 is broken: ") as caught:
        await fetched(raising(error))

    assert caught.value.kind is FetchErrorKind.MALFORMED


@pytest.mark.parametrize(
    ("result", "said"),
    [
        ("text", "neither Fetched nor FetchError"),
        (Fetched([{"symbol": object()}]), "rows are no mappings of what JSON can carry"),
        (Fetched([{"volume": 2**70}]), "rows are no mappings"),
        (Fetched([{1: 2}]), "rows are no mappings"),  # type: ignore[dict-item]
        (Fetched(["row"]), "rows are no mappings"),  # type: ignore[list-item]
        (Fetched((), datetime(2026, 1, 1)), "source_timestamp is no time with a zone"),  # noqa: DTZ001
        (Fetched((), etag="x" * 1_000), "etag is no text"),
        (Fetched((), etag=7), "etag is no text"),  # type: ignore[arg-type]
        (Fetched((), oddities=["odd"]), "oddities holds something else"),  # type: ignore[list-item]
        (Fetched((), oddities=[Oddity("odd", "x")]), "oddities holds something else"),  # type: ignore[arg-type]
    ],
)
async def test_a_result_that_cannot_be_worked_with_fails_its_symbol(result: Any, said: str) -> None:
    found = (await fetched(lambda: {"ACME": result}))["ACME"]

    assert isinstance(found, FetchError)
    assert said in str(found)


async def test_results_that_are_no_mapping_fail_the_fetch() -> None:
    with pytest.raises(FetchError, match="is broken: AttributeError"):
        await fetched(list)


@pytest.mark.parametrize("size", [0, -1, 10**9, None, "many", True])
def test_a_batch_size_that_makes_no_sense_is_one(size: Any) -> None:
    fetcher = MoodFetcher()
    fetcher.batch_size = size

    assert GuardedFetcher("moods 1.0", fetcher).batch_size == 1


def test_the_example_is_short() -> None:
    parts = [EXAMPLE / name for name in ("pyproject.toml", "price_targets.sql", "refreshd_price_targets.py")]

    assert sum(len(part.read_text().splitlines()) for part in parts) < 100
