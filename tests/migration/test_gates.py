"""What the gates say of what was observed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from daemon.migration.gates import judge, reasons_to_wait
from daemon.store.baselines import TypeMeasure
from daemon.store.moves import Observation

WELL = Observation(
    flag_is_on=True,
    queue_is_on=True,
    is_held=False,
    watched_seconds=7200.0,
    sampled_seconds_ago=30.0,
    sampled_seconds=7200.0,
    completed=990,
    failed=10,
    viewed=1000,
    fresh=950,
    ttl_seconds=60.0,
    overdue_symbol="AAPL",
    overdue_seconds=5.0,
    schedule_overdue_seconds=None,
    pending_everywhere=12,
    bytes_share=0.4,
    symbols_at_start=100,
    missing_symbols=(),
    active_old_jobs=(),
)
BEFORE = TypeMeasure("quote", "live_quote_indicators", 1, symbols=100, fresh_symbols=90)


def states(seen: Observation, before: TypeMeasure | None = BEFORE) -> dict[str, str]:
    """Return the state of each gate."""
    return {check.name: check.state for check in judge(seen, before, 60.0)}


def test_a_type_that_does_well_passes_every_gate() -> None:
    assert set(states(WELL).values()) == {"ok"}


@pytest.mark.parametrize(
    ("change", "gate"),
    [
        ({"flag_is_on": False}, "flag"),
        ({"queue_is_on": False}, "flag"),
        ({"active_old_jobs": ("refresh-quote",)}, "old job"),
        ({"sampled_seconds_ago": 301.0}, "watch"),
        ({"sampled_seconds_ago": None}, "watch"),
        ({"completed": 89, "failed": 11}, "success"),
        ({"completed": 0, "failed": 3}, "success"),
        ({"fresh": 870}, "freshness"),
        ({"pending_everywhere": 1000}, "queue"),
        ({"bytes_share": 0.9}, "quota"),
        ({"bytes_share": None}, "quota"),
        ({"overdue_seconds": 601.0}, "gaps"),
        ({"schedule_overdue_seconds": 601.0}, "gaps"),
        ({"missing_symbols": ("AAPL",)}, "symbols"),
    ],
)
def test_each_fault_breaks_its_own_gate_and_no_other(change: dict[str, Any], gate: str) -> None:
    broken = [name for name, state in states(replace(WELL, **change)).items() if state == "broken"]

    assert broken == [gate]


@pytest.mark.parametrize(
    "change",
    [
        {"completed": 90, "failed": 10},
        {"fresh": 880},
        {"pending_everywhere": 999},
        {"bytes_share": 0.899},
        {"overdue_seconds": 600.0},
        {"overdue_seconds": 1200.0, "ttl_seconds": 600.0},
        {"sampled_seconds_ago": 300.0},
        {"active_old_jobs": None},
        {"overdue_symbol": None, "overdue_seconds": None},
    ],
)
def test_what_is_just_good_enough_passes(change: dict[str, Any]) -> None:
    assert set(states(replace(WELL, **change)).values()) == {"ok"}


@pytest.mark.parametrize(
    ("change", "gate"),
    [
        ({"completed": 0, "failed": 0}, "success"),
        ({"completed": 5, "failed": 4}, "success"),
        ({"completed": 0, "failed": 2}, "success"),
        ({"viewed": 19, "fresh": 0}, "freshness"),
        ({"is_held": True, "sampled_seconds_ago": None}, "watch"),
    ],
)
def test_what_cannot_be_judged_yet_waits(change: dict[str, Any], gate: str) -> None:
    assert states(replace(WELL, **change))[gate] == "waiting"


def test_what_is_viewed_is_compared_with_what_was_viewed_and_else_with_all_symbols() -> None:
    nobody_looked = TypeMeasure("quote", "t", 1, symbols=100, fresh_symbols=99)
    somebody_looked = replace(nobody_looked, viewed=10, viewed_fresh=5)

    assert states(WELL, nobody_looked)["freshness"] == "broken"
    assert states(WELL, somebody_looked)["freshness"] == "ok"
    assert states(WELL, None)["freshness"] == "ok"


def test_a_gate_says_what_it_saw() -> None:
    seen = replace(WELL, missing_symbols=("A", "B", "C", "D", "E"), completed=50, failed=50)

    said = {check.name: check.text for check in judge(seen, BEFORE, 60.0)}

    assert said["symbols"] == "no rows any more of A, B, C and 2 more"
    assert said["success"] == "50.0% of 100 jobs in 24 h: less than 90%"
    assert said["freshness"] == "95.0% of what is viewed was fresh in the last hour, 90.0% in the baseline"


@pytest.mark.parametrize(
    ("change", "watched", "said"),
    [
        ({}, 86_400.0, []),
        ({}, 86_400.0 * 0.95, []),
        ({}, 3_600.0, ["it has been watched for 60 min of 24 h"]),
        ({"completed": 0, "failed": 0}, 86_400.0, ["there is nothing to judge success by (no job has ended yet)"]),
        ({"viewed": 0, "fresh": 0}, 86_400.0, []),
        (
            {"missing_symbols": ("AAPL",)},
            60.0,
            ["a gate is broken: symbols (no rows any more of AAPL)", "it has been watched for 60 s of 24 h"],
        ),
    ],
)
def test_a_watch_ends_when_it_has_lasted_no_gate_is_broken_and_some_job_has_ended(
    change: dict[str, Any], watched: float, said: list[str]
) -> None:
    checks = judge(replace(WELL, **change), BEFORE, 60.0)

    assert list(reasons_to_wait(checks, watched, 86_400.0)) == said
