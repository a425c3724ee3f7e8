"""How much history is asked for, on a plan that has it and on one that has not."""

from __future__ import annotations

import pytest

from daemon.contracts import Answer, Fetched, FetchError, FetchErrorKind, FetchRequest
from daemon.fetchers.conditional import REFUSED_SECONDS, History
from daemon.fetchers.financial_statements import STATEMENTS, FinancialStatementsFetcher
from tests.clocks import StandingClock
from tests.fetchers.upstream_stub import UpstreamStub, good

REFUSED = FetchError(
    FetchErrorKind.PLAN,
    "dividends symbol=ACME: 402 Premium Query Parameter: the value set for 'limit' is not available under your plan",
)
LIMITED, PLAIN = {"symbol": "ACME", "limit": "9"}, {"symbol": "ACME"}


def whole(_body: bytes, _symbol: str) -> Fetched:
    return Fetched(rows=({"symbol": "ACME"},), replaces=("symbol",))


async def fetch(history: History, upstream: UpstreamStub) -> Fetched:
    found = await history.fetch_one(FetchRequest("ACME", '"old"'), upstream, "dividends", PLAIN, whole)
    assert isinstance(found["ACME"], Fetched)
    return found["ACME"]


async def test_a_refused_limit_is_left_out_for_a_day_and_what_comes_then_replaces_nothing() -> None:
    clock = StandingClock()
    history = History(9, clock.monotonic)
    upstream = UpstreamStub([REFUSED, good(b"[]"), good(b"[]"), good(b"[]")])

    cut = [await fetch(history, upstream), await fetch(history, upstream)]
    clock.move(REFUSED_SECONDS)
    again = await fetch(history, upstream)

    assert [params for _, params, _ in upstream.asked] == [LIMITED, PLAIN, PLAIN, LIMITED]
    assert {etag for _, _, etag in upstream.asked} == {'"old"'}
    assert [found.replaces for found in cut] == [None, None]
    assert again.replaces == ("symbol",)


async def test_without_a_limit_too_the_refusal_is_that_of_the_symbol() -> None:
    upstream = UpstreamStub([REFUSED, FetchError(FetchErrorKind.PLAN, "dividends symbol=ACME: 402 Premium Endpoint")])

    with pytest.raises(FetchError, match="Premium Endpoint"):
        await fetch(History(9, StandingClock().monotonic), upstream)


@pytest.mark.parametrize(
    "error",
    [FetchError(FetchErrorKind.PLAN, "402 Premium Endpoint"), FetchError(FetchErrorKind.TIMEOUT, "at the time limit")],
    ids=["plan", "timeout"],
)
async def test_another_failure_is_not_asked_about_again(error: FetchError) -> None:
    history, upstream = History(9, StandingClock().monotonic), UpstreamStub([error])

    with pytest.raises(FetchError):
        await fetch(history, upstream)

    assert len(upstream.asked) == 1
    assert not history.is_cut


async def test_what_has_not_changed_has_not_changed_on_a_small_plan_either() -> None:
    upstream = UpstreamStub([REFUSED, Answer(304, b"", None, 200)])

    assert await fetch(History(9, StandingClock().monotonic), upstream) == Fetched(rows=None, etag='"old"')


async def test_statements_go_on_with_the_years_that_the_plan_has() -> None:
    upstream = UpstreamStub([REFUSED, *[good(b"[]")] * 3])

    await FinancialStatementsFetcher().fetch([FetchRequest("ACME")], upstream)

    assert [endpoint for endpoint, _, _ in upstream.asked] == [next(iter(STATEMENTS)), *STATEMENTS]
    assert ["limit" in params for _, params, _ in upstream.asked] == [True, False, False, False]
