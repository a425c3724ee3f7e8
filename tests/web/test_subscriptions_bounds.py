"""What one page can cost, whatever it asks for."""

from __future__ import annotations

from typing import Any

import pytest

from daemon.contracts import CallRefusedError, Fetched, FetchError, FetchErrorKind, FetchRequest, Pair, RefreshdError
from daemon.processor.admission import UpstreamAdmission
from daemon.store.database import Database
from daemon.web.request_limits import WindowStorage
from tests.clocks import StandingClock
from tests.rows import make_ready
from tests.web.subscription_stage import MemoryStore, anonymous_key, hs256, staged

MANY = {f"S{number}": ["quote", "profile"] for number in range(50)}


async def test_a_request_names_as_many_pairs_as_a_viewer_counts_for_and_no_more() -> None:
    async with staged() as stage:
        most = await stage.post({"views": MANY})
        too_many = await stage.post({"views": {**MANY, "AAPL": ["quote"]}})

    assert most.status == 200
    assert (too_many.status, too_many.code) == (400, "invalid_request")
    assert "at most 100 pairs" in too_many.body["error"]["message"]


async def test_pairs_are_limited_for_each_user_and_for_all_logged_out_pages_of_an_address() -> None:
    async with staged(pairs=150) as stage:
        asked = [
            (await stage.post({"views": MANY}, token)).status
            for token in (hs256(sub="a"), hs256(sub="b"), anonymous_key(), hs256(sub="a"), anonymous_key())
        ]
        small = (await stage.post(None, anonymous_key())).status
        stage.clock.move(60)
        later = (await stage.post({"views": MANY}, anonymous_key())).status

    assert asked == [200, 200, 200, 429, 429]
    assert (small, later) == (200, 200)


@pytest.mark.parametrize(
    ("body", "topics"),
    [
        ({"symbol": "AAPL", "dataTypes": ["quote"]}, ["AAPL"]),
        ({"symbol": "AAPL", "dataTypes": ["quote"], "topics": "lobby"}, []),
        ({"views": {"AAPL": ["quote"]}}, []),
        ({"views": {"AAPL": ["quote"]}, "topics": "symbol"}, ["AAPL"]),
    ],
)
async def test_topics_are_joined_for_pages_that_use_them(body: dict[str, Any], topics: list[str]) -> None:
    store = MemoryStore()
    async with staged(store=store) as stage:
        answer = await stage.post(body)

    assert answer.status == 200
    assert store.calls == [([Pair("AAPL", "quote")], topics)]


async def test_before_the_daemon_works_and_when_it_stops_pages_are_told_to_come_back() -> None:
    store = MemoryStore()
    async with staged(store=store, is_open=False) as stage:
        answer = await stage.post()

    assert (answer.status, answer.code) == (503, "unavailable")
    assert int(answer.headers["Retry-After"]) > 0
    assert store.calls == []


async def test_windows_that_are_over_are_forgotten() -> None:
    clock = StandingClock()
    storage = WindowStorage(clock.monotonic)
    for number in range(1_000):
        await storage.acquire_entry(f"k{number}", 5, 60)
        clock.move(1)

    assert sum([await storage.get(f"k{number}") for number in range(1_000)]) <= 61


class Profiles:
    """A fetcher of profiles that says what it is told to."""

    data_type = "profile"
    batch_size = 1

    def __init__(self, found: Fetched | FetchError) -> None:
        self.found = found
        self.asked: list[str] = []

    async def fetch(self, requests: list[FetchRequest], _upstream: Any) -> dict[str, Fetched | FetchError]:
        self.asked += [request.symbol for request in requests]
        if isinstance(self.found, FetchError):
            raise self.found
        return {requests[0].symbol: self.found}


class Purses:
    """A spender whose purses hold nothing."""

    settlements: tuple[()] = ()

    def purse(self, _estimated_bytes: int, _data_type: str) -> Purses:
        return self


async def admission(database: Database, found: Fetched | FetchError, *, wanted: bool = True) -> tuple[Any, Profiles]:
    profiles = Profiles(found)

    async def reload() -> None:
        return None

    return UpstreamAdmission(database, Purses(), profiles, reload, lambda: wanted), profiles  # type: ignore[arg-type]


KNOWN = Fetched(rows=({"symbol": "NEWCO", "exchange": "NASDAQ"},))


async def test_a_symbol_that_the_operator_took_out_costs_nothing_and_stays_out(
    owner: Database, database: Database
) -> None:
    await make_ready(owner)
    await owner.execute("insert into supported_symbols (symbol, is_active) values ('NEWCO', false)")
    who, profiles = await admission(database, KNOWN)

    assert await who.admit("NEWCO") is False
    assert profiles.asked == []
    assert await owner.fetchval("select is_active from supported_symbols where symbol = 'NEWCO'") is False


async def test_with_the_flags_off_nobody_is_asked(database: Database) -> None:
    who, profiles = await admission(database, KNOWN, wanted=False)

    with pytest.raises(CallRefusedError):
        await who.admit("NEWCO")
    assert profiles.asked == []


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (KNOWN, True),
        (Fetched(rows=()), False),
        (FetchError(FetchErrorKind.PLAN, "402"), False),
        (FetchError(FetchErrorKind.BAD_REQUEST, "404"), False),
        (FetchError(FetchErrorKind.TIMEOUT, "late"), None),
    ],
    ids=["known", "unknown", "plan", "refused", "timeout"],
)
async def test_a_symbol_is_taken_in_when_the_upstream_has_it(
    owner: Database, database: Database, found: Fetched | FetchError, verdict: bool | None
) -> None:
    await make_ready(owner)
    who, _ = await admission(database, found)

    if verdict is None:
        with pytest.raises(RefreshdError):
            await who.admit("NEWCO")
    else:
        assert await who.admit("NEWCO") is verdict
    listed = await owner.fetchval(
        "select count(*) from supported_symbols where symbol = 'NEWCO' and exchange = 'NASDAQ'"
    )
    assert listed == (verdict is True)
