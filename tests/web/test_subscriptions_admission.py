"""Symbols that are not in the allow-list yet: verified for whoever shows one, within narrow bounds."""

from __future__ import annotations

import asyncio

import pytest

from daemon.contracts import CallRefusedError, FetchError, FetchErrorKind, RefreshdError
from daemon.web.admission import AdmissionGate
from tests.clocks import StandingClock
from tests.presence.stage import LogRecorder, Recorder
from tests.web.subscription_stage import MemoryStore, SmallCatalogue, hs256, staged


class Upstream(Recorder):
    """Knows some symbols, and takes them into a catalogue."""

    def __init__(self, *known: str, catalogue: SmallCatalogue | None = None) -> None:
        super().__init__()
        self.known = known
        self.catalogue = catalogue or SmallCatalogue()
        self.asked: list[str] = []
        self.error: RefreshdError | None = None
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def admit(self, symbol: str) -> bool:
        self.asked.append(symbol)
        self.notify()
        await self.may_answer.wait()
        if self.error is not None:
            raise self.error
        if symbol in self.known:
            self.catalogue.symbols.add(symbol)
        return symbol in self.known


@pytest.fixture(autouse=True)
def recorded(log: LogRecorder) -> LogRecorder:
    """Keep what is logged off the screen."""
    return log


async def test_a_symbol_that_the_upstream_knows_is_queued_at_once(log: LogRecorder) -> None:
    upstream, store = Upstream("NEW"), MemoryStore()
    gate = AdmissionGate(upstream, StandingClock().monotonic)
    async with staged(store=store, catalogue=upstream.catalogue, gate=gate) as stage:
        answer = await stage.post({"symbol": "NEW", "dataTypes": ["quote", "profile"]})

    assert [entry["data_type"] for entry in answer.body["queued"]] == ["quote", "profile"]
    assert len(store.calls) == 1
    assert [line["symbol"] for line in log.of("symbol_admitted")] == ["NEW"]


async def test_a_symbol_that_it_does_not_know_is_asked_for_once_an_hour() -> None:
    upstream, clock = Upstream(), StandingClock()
    async with staged(gate=AdmissionGate(upstream, clock.monotonic)) as stage:
        body = {"symbol": "NONE", "dataTypes": ["quote"]}
        answers = [await stage.post(body) for _ in range(3)]
        once = list(upstream.asked)
        clock.move(3_601)
        await stage.post(body)

    assert {answer.body["unknown"][0]["reason"] for answer in answers} == {"unknown_symbol"}
    assert (once, upstream.asked) == (["NONE"], ["NONE", "NONE"])


async def test_of_many_views_only_unknown_symbols_are_verified() -> None:
    upstream = Upstream("NEW")
    gate = AdmissionGate(upstream, StandingClock().monotonic)
    async with staged(catalogue=upstream.catalogue, gate=gate) as stage:
        answer = await stage.post({"views": {"AAPL": ["quote"], "NEW": ["quote", "profile"], "NONE": ["quote"]}})

    assert sorted(upstream.asked) == ["NEW", "NONE"]
    assert [entry["symbol"] for entry in answer.body["queued"]] == ["AAPL", "NEW", "NEW"]
    assert answer.body["unknown"] == [{"symbol": "NONE", "data_type": "quote", "reason": "unknown_symbol"}]


async def test_nobody_without_a_token_has_anything_verified() -> None:
    upstream = Upstream("NEW")
    async with staged(gate=AdmissionGate(upstream, StandingClock().monotonic)) as stage:
        answer = await stage.post({"symbol": "NEW", "dataTypes": ["quote"]}, token="")

    assert (answer.status, upstream.asked) == (401, [])


async def test_an_unknown_data_type_or_a_global_one_verifies_nothing() -> None:
    upstream = Upstream("NEW")
    async with staged(gate=AdmissionGate(upstream, StandingClock().monotonic)) as stage:
        await stage.post({"symbol": "NEW", "dataTypes": ["horoscope", "exchange-market-status"]})

    assert upstream.asked == []


@pytest.mark.parametrize(
    "error",
    [FetchError(FetchErrorKind.TIMEOUT, "x" * 1_000), CallRefusedError("calls", 5.0)],
    ids=lambda error: type(error).__name__,
)
async def test_where_the_upstream_cannot_say_the_page_may_ask_again(log: LogRecorder, error: RefreshdError) -> None:
    upstream, clock = Upstream("NEW"), StandingClock()
    upstream.error = error
    async with staged(catalogue=upstream.catalogue, gate=AdmissionGate(upstream, clock.monotonic)) as stage:
        body = {"symbol": "NEW", "dataTypes": ["quote", "horoscope"]}
        failed = await stage.post(body)
        upstream.error = None
        again = await stage.post(body)

    assert [entry["reason"] for entry in failed.body["unknown"]] == ["not_verified_yet", "unknown_data_type"]
    assert [entry["data_type"] for entry in again.body["queued"]] == ["quote"]
    assert len(log.of("symbol_not_verified")[0]["error"]) <= 200


async def test_a_slow_upstream_holds_no_page_for_long() -> None:
    upstream = Upstream("NEW")
    upstream.may_answer.clear()
    gate = AdmissionGate(upstream, StandingClock().monotonic, answer_seconds=0.05)
    async with staged(gate=gate) as stage:
        answer = await stage.post({"symbol": "NEW", "dataTypes": ["quote"]})

    assert answer.body["unknown"][0]["reason"] == "not_verified_yet"


async def test_few_are_verified_at_a_time_and_none_twice() -> None:
    upstream = Upstream("A", "B", "C")
    upstream.may_answer.clear()
    gate = AdmissionGate(upstream, StandingClock().monotonic, at_a_time=2)

    running = [asyncio.ensure_future(gate.admit(symbol, symbol)) for symbol in ("A", "B")]
    await upstream.until(lambda: len(upstream.asked) == 2)
    refused = [await gate.admit("A", "other"), await gate.admit("C", "another")]
    upstream.may_answer.set()

    assert await asyncio.gather(*running) == ["admitted", "admitted"]
    assert refused == ["not_verified_yet", "not_verified_yet"]
    assert await gate.admit("C", "another") == "admitted"


async def test_one_caller_cannot_use_up_what_all_have() -> None:
    upstream, clock = Upstream(), StandingClock()
    gate = AdmissionGate(upstream, clock.monotonic, per_minute=10, per_caller_per_minute=3)

    greedy = [await gate.admit(f"A{number}", "user:greedy") for number in range(20)]
    others = [await gate.admit(f"B{number}", f"user:{number}") for number in range(20)]
    clock.move(61)
    later = await gate.admit("LATER", "user:greedy")

    assert (greedy.count("unknown_symbol"), others.count("unknown_symbol"), later) == (3, 7, "unknown_symbol")
    assert len(upstream.asked) == 11


async def test_users_are_bounded_by_who_they_are() -> None:
    upstream = Upstream()
    gate = AdmissionGate(upstream, StandingClock().monotonic, per_caller_per_minute=1)
    async with staged(gate=gate) as stage:
        for user in ("a", "a", "b"):
            symbol = f"N{len(upstream.asked)}"
            await stage.post({"symbol": symbol, "dataTypes": ["quote"]}, token=hs256(sub=user))

    assert len(upstream.asked) == 2
