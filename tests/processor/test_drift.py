"""What is odd about good answers: said once, counted every time, within bounds."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.contracts import Fetched, FetchError, FetchErrorKind, Oddity, OddityKind
from daemon.processor.drift import MAX_FIELD, MAX_NAMES, MAX_SAMPLE, MAX_SAMPLES, DriftWatch
from tests.presence.stage import LogRecorder

NEW = Oddity(OddityKind.UNKNOWN_FIELD, "mood", "glad")
GONE = Oddity(OddityKind.MISSING_FIELD, "volume")
OTHER = Oddity(OddityKind.CHANGED_TYPE, "price", "{}", records=3)
BAD = Oddity(OddityKind.QUARANTINED_RECORD, "date is missing", '{"symbol": "AAPL"}')


@pytest.mark.parametrize(
    ("oddity", "level", "named"),
    [
        (NEW, "info", {"field": "mood"}),
        (GONE, "warning", {"field": "volume"}),
        (OTHER, "warning", {"field": "price"}),
        (BAD, "warning", {"reason": "date is missing"}),
    ],
)
def test_an_oddity_is_named_once_and_counted_every_time(
    log: LogRecorder, oddity: Oddity, level: str, named: Mapping[str, str]
) -> None:
    drift = DriftWatch()

    for _ in range(3):
        drift.note("quote", oddity)

    [line] = log.of("upstream_drifted")
    assert line["level"] == level
    assert line.items() >= {"data_type": "quote", "kind": oddity.kind, "sample": oddity.sample, **named}.items()
    assert drift.counts == {("quote", oddity.kind): 3 * oddity.records}


def test_types_and_kinds_are_told_apart(log: LogRecorder) -> None:
    drift = DriftWatch()

    for data_type, kind in [("quote", NEW.kind), ("profile", NEW.kind), ("quote", GONE.kind)]:
        drift.note(data_type, Oddity(kind, "mood"))

    assert len(log.of("upstream_drifted")) == 3
    assert len(drift.counts) == 3


def test_only_good_results_are_looked_at(log: LogRecorder) -> None:
    drift = DriftWatch()
    failed = FetchError(FetchErrorKind.MALFORMED, "no use")

    drift.note_results("quote", [Fetched((), oddities=[NEW, GONE]), failed, Fetched(None)])

    assert len(log.of("upstream_drifted")) == 2


def test_the_last_samples_of_a_reason_are_kept() -> None:
    drift = DriftWatch()

    for number in range(20):
        drift.note("dividend-history", BAD._replace(sample=f"record {number}"))

    assert drift.samples("dividend-history", BAD.kind, BAD.field) == tuple(f"record {n}" for n in range(15, 20))
    assert drift.samples("quote", BAD.kind, BAD.field) == ()


def test_an_upstream_that_invents_names_fills_neither_memory_nor_the_log(log: LogRecorder) -> None:
    drift = DriftWatch()

    for number in range(5_000):
        drift.note("quote", Oddity(OddityKind.UNKNOWN_FIELD, f"field{number}", "x"))
    drift.note("profile", NEW)

    [full] = log.of("upstream_drift_unnamed")
    assert (full["data_type"], full["named"]) == ("quote", MAX_NAMES)
    assert len(log.of("upstream_drifted")) == MAX_NAMES + 1
    assert drift.counts["quote", OddityKind.UNKNOWN_FIELD] == 5_000
    assert drift.samples("quote", OddityKind.UNKNOWN_FIELD, "field4999") == ()


@given(st.lists(st.tuples(st.sampled_from(OddityKind), st.text(), st.text(), st.integers(-5, 5))))
def test_whatever_a_name_holds_it_is_short_and_printable(found: list[tuple[OddityKind, str, str, int]]) -> None:
    drift = DriftWatch()

    for kind, field, sample, records in found:
        drift.note("quote", Oddity(kind, field, sample, records))

    assert sum(drift.counts.values()) >= len(found)
    for kind, field, _, _ in found:
        kept = drift.samples("quote", kind, field)
        assert len(kept) <= MAX_SAMPLES
        assert all(text.isprintable() and len(text) <= MAX_SAMPLE for text in kept)


def test_names_that_differ_only_beyond_the_bound_are_one(log: LogRecorder) -> None:
    drift = DriftWatch()

    for end in "ab":
        drift.note("quote", Oddity(OddityKind.UNKNOWN_FIELD, "f" * MAX_FIELD + end))

    assert [line["field"] for line in log.of("upstream_drifted")] == ["f" * MAX_FIELD]
