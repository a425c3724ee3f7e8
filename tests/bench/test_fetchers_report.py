"""Ratios and goals of the fetchers' benchmark, and that both ways to rows find the same."""

from __future__ import annotations

import re
from datetime import datetime

import pytest

from bench.fetchers_report import Decoding, build_result
from bench.fetchers_types import Case, build_cases
from daemon.fetchers.table import FETCHERS


def test_a_ratio_compares_each_round_within_itself() -> None:
    uneven = Decoding(ours=[1.0, 10.0, 2.0], pydantic=[4.0, 40.0, 20.0])

    assert uneven.ratio == 4.0


def test_what_is_missed_is_reported_with_its_measure() -> None:
    result = build_result({"quote": Decoding([10.0], [25.0])}, [10.0, 21.0, 30.0], {"quote": 19.0})

    goals = {goal.name: (goal.measured, goal.met) for goal in result.goals}
    assert goals == {
        "quote: pydantic / refreshd": (2.5, False),
        "upsert of 500 quotes p50 ms": (21.0, False),
        "quote: MB above idle at 2 MiB": (19.0, True),
    }


def test_every_type_with_a_fetcher_is_measured() -> None:
    assert {case.data_type for case in build_cases()} == set(FETCHERS)


@pytest.mark.parametrize("case", build_cases(), ids=lambda case: case.data_type)
def test_both_ways_find_the_same_values(case: Case) -> None:
    ours, theirs = case.parse(case.body), case.pydantic()(case.body)

    assert len(ours) == len(theirs) == case.records
    for one, other in zip(ours, theirs, strict=True):
        assert [name for name in one.keys() & other.keys() if not same(one[name], other[name])] == []


def same(ours: object, theirs: object) -> bool:
    """Whole numbers have their fractions cut off by us, and moments are left as they came by pydantic."""
    if (
        isinstance(ours, datetime)
        or (isinstance(ours, str) and isinstance(theirs, int | float))
        or (isinstance(theirs, str) and re.match(r"\d{4}-\d\d-\d\d ", theirs))
    ):
        return True
    if isinstance(ours, int) and isinstance(theirs, float):
        return ours == int(theirs)
    return ours == theirs
