"""Calls as they are counted, and what is said of an upstream that ignores ETags."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from daemon.contracts import Answer, CallRefusedError, FetchError, FetchErrorKind, Upstream
from daemon.fetchers.client import HttpUpstream
from daemon.processor.breaker import Breaker, BreakerLimits
from daemon.processor.calls import IGNORED_IN_A_ROW, CallEnd, CallWatch, EtagWatch
from daemon.processor.spending import MeteredUpstream, Spender
from daemon.store.budgets import pause_upstream
from daemon.store.clock import DatabaseClock
from daemon.store.database import Database
from devstack.upstream.faults import Fault, FaultKind
from devstack.upstream.server import UpstreamServer
from tests.presence.stage import LogRecorder
from tests.rows import make_ready

KEY = "test-key"
ETAG = 'W/"1bd-aaaaaaaaaaaaaaaaaaaaaaaaaaa"'
OTHER = 'W/"1bd-bbbbbbbbbbbbbbbbbbbbbbbbbbb"'
UNCHANGED = Answer(304, b"", ETAG, 250)
FULL = Answer(200, b"[]", ETAG, 2_000)


def counted(watch: CallWatch) -> Mapping[str, float]:
    """Return every sample but the buckets and the times of creation, written as Prometheus does."""
    return {
        sample.name.removeprefix("refreshd_") + "".join(f" {value}" for value in sample.labels.values()): sample.value
        for family in watch.collect()
        for sample in family.samples
        if not sample.name.endswith(("_bucket", "_created"))
    }


def end(
    answer: Answer | FetchError | None, *, etag: str | None = None, received: int = 2_000, estimated: int = 5_000
) -> CallEnd:
    return CallEnd("profile", 0.2, received, estimated, etag, answer)


def test_every_end_is_counted_by_what_it_was() -> None:
    watch = CallWatch()

    for ended in (FULL, UNCHANGED, None, FetchError(FetchErrorKind.TIMEOUT, "no answer")):
        watch.note_end(end(ended))
    watch.note_failure("profile", FetchErrorKind.MALFORMED, 3)
    watch.note_refused("breaker")

    assert counted(watch).items() >= {
        "upstream_calls_total profile good": 1,
        "upstream_calls_total profile not_modified": 1,
        "upstream_calls_total profile interrupted": 1,
        "upstream_calls_total profile timeout": 1,
        "fetch_failures_total profile malformed": 3,
        "upstream_calls_refused_total breaker": 1,
        "upstream_received_bytes_total profile": 8_000,
        "upstream_call_seconds_count profile": 4,
    }.items()  # fmt: skip


def test_what_a_304_saves_is_what_full_answers_of_the_type_weigh() -> None:
    watch = CallWatch()

    watch.note_end(end(UNCHANGED, etag=ETAG, received=250, estimated=5_000))
    assert counted(watch)["upstream_saved_bytes_total profile"] == 4_750

    watch.note_end(end(FULL, etag=OTHER, received=2_000))
    watch.note_end(end(UNCHANGED, etag=ETAG, received=250, estimated=300))
    assert counted(watch)["upstream_saved_bytes_total profile"] == 4_750 + 1_750
    assert counted(watch)["upstream_conditional_calls_total profile"] == 3
    assert counted(watch)["upstream_not_modified_total profile"] == 2


def test_an_upstream_that_ignores_etags_is_named_once_and_so_is_its_change_of_mind(log: LogRecorder) -> None:
    etags = EtagWatch()

    for _ in range(2 * IGNORED_IN_A_ROW):
        etags.note(ETAG, FULL)
    for _ in range(3):
        etags.note(ETAG, UNCHANGED)

    [ignored] = log.of("etags_ignored")
    [honoured] = log.of("etags_honoured")
    assert (ignored["level"], ignored["in_a_row"]) == ("warning", IGNORED_IN_A_ROW)
    assert honoured["after"] == 2 * IGNORED_IN_A_ROW


@pytest.mark.parametrize("between", [UNCHANGED, None])
def test_answers_that_prove_nothing_or_the_contrary_do_not_count(log: LogRecorder, between: Answer | None) -> None:
    etags = EtagWatch()

    for _ in range(IGNORED_IN_A_ROW - 1):
        etags.note(ETAG, FULL)
        etags.note(ETAG, Answer(200, b"[]", OTHER, 2_000))
        etags.note(ETAG, Answer(200, b"[]", None, 2_000))
        if between is not None:
            etags.note(ETAG, between)

    assert log.lines == []


def test_a_weak_tag_and_a_strong_one_of_the_same_text_are_the_same(log: LogRecorder) -> None:
    etags = EtagWatch()

    for _ in range(IGNORED_IN_A_ROW):
        etags.note(ETAG.removeprefix("W/"), FULL)

    assert len(log.of("etags_ignored")) == 1


async def metered(
    database: Database, client: HttpUpstream, watch: CallWatch, data_type: str = "profile"
) -> MeteredUpstream:
    clock = DatabaseClock()
    breaker = Breaker(database, "fmp", BreakerLimits(), clock)
    return Spender(database, "fmp", "test/1", client, breaker, clock, watch).purse(5_000, data_type)


async def ask(upstream: Upstream, etag: str | None = None) -> Answer:
    return await upstream.get("profile", {"symbol": "AAPL"}, etag=etag)


@pytest.mark.direct
async def test_calls_that_are_paid_for_are_counted_as_they_end(owner: Database, database: Database) -> None:
    await make_ready(owner)
    watch = CallWatch()
    async with (
        UpstreamServer(KEY, latency_seconds=0) as upstream,
        HttpUpstream(upstream.url, KEY, version="test", allow_loopback=True) as client,
    ):
        purse = await metered(database, client, watch)
        first = await ask(purse)
        second = await ask(purse, first.etag)
        upstream.faults.add(Fault(FaultKind.PLAN, times=1))
        with pytest.raises(FetchError):
            await ask(purse)
        await pause_upstream(owner, "fmp", 60, "by hand")
        with pytest.raises(CallRefusedError):
            await ask(purse)

    assert (first.status, second.status) == (200, 304)
    seen = counted(watch)
    assert (
        seen.items()
        >= {
            "upstream_calls_total profile good": 1,
            "upstream_calls_total profile not_modified": 1,
            "upstream_calls_total profile plan": 1,
            "upstream_conditional_calls_total profile": 1,
            "upstream_not_modified_total profile": 1,
            "upstream_calls_refused_total paused": 1,
        }.items()
    )
    assert seen["upstream_received_bytes_total profile"] == purse.received_bytes
    assert seen["upstream_saved_bytes_total profile"] == first.received_bytes - second.received_bytes


def test_it_is_shown_with_bounded_labels() -> None:
    watch, registry = CallWatch(), CollectorRegistry()
    registry.register(watch)

    for number in range(1_000):
        watch.note_end(end(FULL, received=number))

    assert generate_latest(registry).count(b"\n") < 100
