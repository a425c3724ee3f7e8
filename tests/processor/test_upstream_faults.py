"""Every fault of the upstream, from the socket to what the database says of it afterwards."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from daemon.contracts import Pair
from daemon.store.database import Database
from devstack.upstream.faults import Fault, FaultKind
from devstack.upstream.server import UpstreamServer
from tests.fetchers.scripted_server import reply, saying, serving
from tests.processor.attempts import KEY, Attempts, attempts
from tests.rows import make_ready, orphans, queue

pytestmark = pytest.mark.direct

QUOTE, OTHER = Pair("AAPL", "quote"), Pair("MSFT", "quote")


@pytest.fixture
async def upstream() -> AsyncIterator[UpstreamServer]:
    async with UpstreamServer(KEY, calls_per_minute=1_000_000, latency_seconds=0.0) as running:
        yield running


@pytest.fixture
async def stage(owner: Database, database: Database, upstream: UpstreamServer) -> AsyncIterator[Attempts]:
    await make_ready(owner)
    async with attempts(owner, database, upstream.url) as built:
        yield built


async def refresh(stage: Attempts, *pairs: Pair) -> None:
    """Queue the pairs once more, whatever their state says, and make one attempt."""
    await queue(stage.owner, *(pairs or (QUOTE,)))
    await stage.attempt()
    assert await orphans(stage.owner) == 0


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault(FaultKind.HANG), "timeout"),
        (Fault(FaultKind.DRIP, interval_seconds=0.01), "timeout"),
        (Fault(FaultKind.STATUS, status=500), "upstream_error"),
        (Fault(FaultKind.STATUS, status=502), "upstream_error"),
        (Fault(FaultKind.STATUS, status=503), "upstream_error"),
        (Fault(FaultKind.REDIRECT), "upstream_error"),
        (Fault(FaultKind.REDIRECT, location="http://169.254.169.254/latest/meta-data"), "upstream_error"),
        (Fault(FaultKind.RESET), "transport"),
        (Fault(FaultKind.SHORT_BODY), "transport"),
        (Fault(FaultKind.TRUNCATED_JSON), "transport"),
        (Fault(FaultKind.HUGE_HEADERS), "transport"),
    ],
    ids=lambda value: f"{value.kind}-{value.status}" if isinstance(value, Fault) else None,
)
async def test_what_says_that_the_upstream_is_down_is_tried_again_and_opens_the_breaker(
    stage: Attempts, upstream: UpstreamServer, fault: Fault, kind: str
) -> None:
    upstream.faults.add(fault)

    await refresh(stage)
    once = await stage.job()
    for _ in range(4):
        await stage.owner.execute("update api_call_queue_v2_pending set not_before = now(), retry_count = 0")
        await stage.attempt()

    assert (once.status, once.kind, once.retries, once.price) == ("pending", kind, 1, None)
    assert (await stage.upstream()).breaker == "open"
    await stage.check_invariants(calls=5)


@pytest.mark.parametrize("base_url", ["refused", "https://upstream.invalid/stable", "tls"])
async def test_an_upstream_that_cannot_be_reached_or_proves_nothing_is_down(
    owner: Database, database: Database, upstream: UpstreamServer, base_url: str
) -> None:
    await make_ready(owner)
    if base_url == "refused":
        with socket.create_server(("127.0.0.1", 0)) as taken:
            base_url = f"http://127.0.0.1:{taken.getsockname()[1]}/stable"
    elif base_url == "tls":
        base_url = upstream.url.replace("http://", "https://")

    async with attempts(owner, database, base_url) as stage:
        await refresh(stage)

        job = await stage.job()
        assert (job.status, job.retries, job.price) == ("pending", 1, None)
        assert job.kind in {"transport", "timeout"}
        await stage.check_invariants(calls=1)


@pytest.mark.parametrize(
    ("fault", "least", "most"),
    [
        (Fault(FaultKind.RATE_LIMIT, retry_after="7"), 5, 7),
        (Fault(FaultKind.RATE_LIMIT, retry_after="Wed, 21 Oct 2015 07:28:00 GMT"), 0, 1),
        (Fault(FaultKind.RATE_LIMIT, retry_after="-5"), 0, 1),
        (Fault(FaultKind.RATE_LIMIT, retry_after="999999999"), 890, 900),
        (Fault(FaultKind.RATE_LIMIT, retry_after="Thu, 31 Dec 2099 23:59:59 GMT"), 890, 900),
        (Fault(FaultKind.RATE_LIMIT, retry_after="when it suits you"), 58, 60),
        (Fault(FaultKind.RATE_LIMIT), 58, 60),
        (Fault(FaultKind.LIMIT_IN_BODY), 58, 60),
        (Fault(FaultKind.BANDWIDTH), 3_590, 3_600),
        (Fault(FaultKind.BANDWIDTH, retry_after="7"), 3_590, 3_600),
    ],
    ids=lambda value: f"{value.kind}-{value.retry_after}"[:40] if isinstance(value, Fault) else None,
)
async def test_a_limit_pauses_the_whole_upstream_and_charges_nothing(
    stage: Attempts, upstream: UpstreamServer, fault: Fault, least: float, most: float
) -> None:
    upstream.faults.add(fault)

    await refresh(stage)
    job, paused = await stage.job(), await stage.upstream()
    claimed_while_paused = await stage.attempt()

    assert (job.status, job.retries, job.resets, job.price) == ("pending", 0, 1, None)
    assert paused.pause_seconds is not None
    assert least <= paused.pause_seconds <= most
    assert (paused.breaker, claimed_while_paused) == ("closed", 0)
    await stage.check_invariants(calls=1)


async def test_headers_that_say_that_no_calls_are_left_pause_the_upstream_although_the_answer_is_good(
    owner: Database, database: Database
) -> None:
    await make_ready(owner)
    body = b'[{"symbol": "AAPL", "price": 5}]'
    used_up = saying(reply(body, "X-RateLimit-Remaining: 0", "X-RateLimit-Reset: 25"))

    async with serving(used_up) as server, attempts(owner, database, server.base_url) as stage:
        await refresh(stage)
        job, paused = await stage.job(), await stage.upstream()
        await queue(owner, OTHER)

        assert (job.status, job.outcome) == ("completed", "changed")
        assert paused.pause_seconds is not None
        assert 20 <= paused.pause_seconds <= 25
        assert await stage.attempt() == 0
        assert len(server.requests) == 1


@pytest.mark.parametrize("kind", [FaultKind.UNAUTHORISED, FaultKind.SUSPENDED])
async def test_a_key_that_is_refused_opens_the_breaker_at_once_and_says_so(
    stage: Attempts, upstream: UpstreamServer, kind: FaultKind
) -> None:
    upstream.faults.add(Fault(kind))

    await refresh(stage)
    job, state = await stage.job(), await stage.upstream()

    assert (job.status, job.retries, job.resets) == ("pending", 0, 1)
    assert state.breaker == "open"
    assert "the key is wrong, check FMP_API_KEY" in (state.reason or "")
    await stage.check_invariants(calls=1)


async def test_a_batch_refused_by_a_bare_403_is_asked_for_one_by_one(stage: Attempts, upstream: UpstreamServer) -> None:
    upstream.faults.add(Fault(FaultKind.STATUS, endpoint="batch-quote", status=403))
    await queue(stage.owner, QUOTE, OTHER)

    for _ in range(3):
        await stage.owner.execute("update api_call_queue_v2_pending set not_before = now()")
        await stage.attempt()

    jobs = [await stage.job(symbol) for symbol in ("AAPL", "MSFT")]
    assert [(job.status, job.outcome) for job in jobs] == [("completed", "changed")] * 2
    assert (await stage.upstream()).breaker == "closed"
    await stage.check_invariants(calls=3)


async def test_an_outage_that_names_its_end_holds_the_whole_upstream(stage: Attempts, upstream: UpstreamServer) -> None:
    upstream.faults.add(Fault(FaultKind.STATUS, status=503, retry_after="900", times=1))

    await refresh(stage)

    job, state = await stage.job(), await stage.upstream()
    assert (job.status, job.kind) == ("pending", "upstream_error")
    assert 290 < (state.pause_seconds or 0) <= 300  # what lasts longer is tried again all the same
    await queue(stage.owner, OTHER)
    assert await stage.attempt() == 0
    await stage.check_invariants(calls=1)


async def test_a_symbol_outside_the_plan_is_the_failure_of_its_pair_alone(
    stage: Attempts, upstream: UpstreamServer
) -> None:
    upstream.faults.add(Fault(FaultKind.PLAN))

    for _ in range(8):
        await stage.owner.execute("update refresh_state_v2 set next_due_at = now()")
        await refresh(stage)

    job = await stage.job()
    assert (job.status, job.kind, job.last_outcome, job.is_due_later) == ("failed", "plan", "failed", True)
    assert (await stage.upstream()).breaker == "closed"
    await stage.check_invariants(calls=8)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault(FaultKind.HTML), "malformed"),
        (Fault(FaultKind.WRONG_SYMBOL), "wrong_symbol"),
        (Fault(FaultKind.NAN), "malformed"),
        (Fault(FaultKind.HUGE_INTEGER), "malformed"),
        (Fault(FaultKind.DEEP_NESTING), "malformed"),
        (Fault(FaultKind.HUGE_BODY, size=2**20), "too_large"),
        (Fault(FaultKind.GZIP_BOMB), "too_large"),
        (Fault(FaultKind.FIELDS, fields={"price": -1}), "insane_value"),
        (Fault(FaultKind.FIELDS, fields={"price": 1e9}), "insane_value"),
        (Fault(FaultKind.FIELDS, fields={"price": "12"}), "malformed"),
        (Fault(FaultKind.FIELDS, without=("price",)), "malformed"),
        (Fault(FaultKind.FIELDS, fields={"timestamp": 4e12}), "insane_value"),
        (Fault(FaultKind.FIELDS, without=("symbol",)), "malformed"),
        (Fault(FaultKind.FIELDS, fields={"symbol": None}), "malformed"),
    ],
    ids=lambda value: f"{value.kind}-{value.fields}-{value.without}"[:50] if isinstance(value, Fault) else None,
)
async def test_an_answer_that_cannot_be_used_is_named_and_nothing_of_it_is_stored(
    stage: Attempts, upstream: UpstreamServer, fault: Fault, kind: str
) -> None:
    await refresh(stage)
    good = (await stage.job()).price
    await stage.owner.execute("update refresh_state_v2 set next_due_at = now(), etag = null")
    upstream.faults.add(fault)

    for _ in range(6):
        await queue(stage.owner, QUOTE)
        await stage.owner.execute("update api_call_queue_v2_pending set not_before = now(), retry_count = 0")
        await stage.attempt()

    job = await stage.job()
    assert (job.kind, job.price) == (kind, good)
    assert job.error is not None
    assert "quote" in job.error
    assert (await stage.upstream()).breaker == "closed"
    assert await orphans(stage.owner) == 0
    await stage.check_invariants(calls=7)


@pytest.mark.parametrize(
    ("fields", "outcome"),
    [
        ({"invented": [1, {"a": 2}]}, "changed"),
        ({"marketCap": None, "name": None, "volume": "many"}, "changed"),
        ({"timestamp": None}, "changed"),
        ({"timestamp": ""}, "changed"),
        ({"timestamp": 0}, "changed"),
    ],
)
async def test_what_is_optional_may_be_odd(
    stage: Attempts, upstream: UpstreamServer, fields: dict[str, object], outcome: str
) -> None:
    upstream.faults.add(Fault(FaultKind.FIELDS, fields=fields))

    await refresh(stage)

    job = await stage.job()
    assert (job.status, job.outcome) == ("completed", outcome)
    assert job.price is not None
    await stage.check_invariants(calls=1)


@pytest.mark.parametrize(
    ("moved_by", "outcome", "is_stored"), [(-60, "rejected", False), (0, "unchanged", False), (60, "changed", True)]
)
async def test_a_source_timestamp_says_whether_an_answer_is_newer(
    stage: Attempts, upstream: UpstreamServer, moved_by: int, outcome: str, is_stored: bool
) -> None:
    first = int(datetime.now(UTC).timestamp()) - 600
    upstream.faults.add(Fault(FaultKind.FIELDS, fields={"timestamp": first, "price": 100.5}, times=1))
    upstream.faults.add(Fault(FaultKind.FIELDS, fields={"timestamp": first + moved_by, "price": 200.5}))
    await refresh(stage)
    await stage.owner.execute("update refresh_state_v2 set next_due_at = now()")

    await refresh(stage)

    job = await stage.job()
    assert (job.status, job.outcome, job.last_outcome) == ("completed", outcome, outcome)
    assert float(job.price or 0) == (200.5 if is_stored else 100.5)
    assert job.is_due_later
    assert job.source_timestamp == datetime.fromtimestamp(first + max(moved_by, 0), UTC)
    await stage.check_invariants(calls=2)


async def test_a_source_timestamp_from_the_future_is_not_believed(stage: Attempts, upstream: UpstreamServer) -> None:
    ahead = int(datetime.now(UTC).timestamp()) + 86_400
    upstream.faults.add(Fault(FaultKind.FIELDS, fields={"timestamp": ahead}, times=1))
    await refresh(stage)
    await stage.owner.execute("update refresh_state_v2 set next_due_at = now()")

    await refresh(stage)

    job = await stage.job()
    assert (job.outcome, job.last_outcome) == ("changed", "changed")
    assert job.source_timestamp is not None
    assert job.source_timestamp < datetime.now(UTC) + timedelta(minutes=5)


async def test_an_empty_answer_is_an_end_of_its_own_and_takes_nothing_away(
    stage: Attempts, upstream: UpstreamServer
) -> None:
    await refresh(stage)
    good = (await stage.job()).price
    await stage.owner.execute("update refresh_state_v2 set next_due_at = now()")
    upstream.faults.add(Fault(FaultKind.EMPTY))

    await refresh(stage)

    job = await stage.job()
    assert (job.status, job.outcome, job.price, job.is_due_later) == ("completed", "empty", good, True)
    assert await stage.owner.fetchval("select count(*) from live_quote_indicators") == 1


async def test_one_bad_record_of_a_batch_fails_its_own_job(stage: Attempts, upstream: UpstreamServer) -> None:
    upstream.faults.add(Fault(FaultKind.FIELDS, symbol="MSFT", fields={"price": -1}))

    await refresh(stage, QUOTE, OTHER)

    good, bad = await stage.job(), await stage.job("MSFT")
    assert (good.status, good.outcome, bad.status, bad.kind) == ("completed", "changed", "pending", "insane_value")
    assert bad.price is None
    await stage.check_invariants(calls=1)


async def test_a_key_that_the_upstream_repeats_is_nowhere(stage: Attempts, upstream: UpstreamServer) -> None:
    upstream.faults.add(Fault(FaultKind.REDIRECT, location=f"http://{KEY}.example/?apikey={KEY}"))

    await refresh(stage)

    assert (await stage.job()).kind == "upstream_error"
    await stage.check_invariants(calls=1)


async def test_a_half_open_breaker_lets_one_of_many_workers_probe(stage: Attempts, upstream: UpstreamServer) -> None:
    await queue(stage.owner, *(Pair(symbol, kind) for symbol in ("AAPL", "MSFT") for kind in ("quote", "profile")))
    await stage.owner.execute(
        "update upstreams_v2 set breaker_state = 'open', breaker_open_until = now() - interval '1 second'"
    )
    upstream.latency_seconds = 0.2

    claimed = await asyncio.gather(*(stage.attempt() for _ in range(8)))

    assert max(claimed) == 1
    assert upstream.calls == 1
    assert (await stage.upstream()).breaker == "closed"
    await stage.check_invariants(calls=1)
