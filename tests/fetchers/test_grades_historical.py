"""Grades: counts by month."""

from __future__ import annotations

from typing import Any

import pytest

from daemon.contracts import Fetched, FetchRequest, OddityKind
from daemon.fetchers.grades_historical import GradesHistoricalFetcher, parse
from tests.fetchers.findings import odd, row_of, rows_of
from tests.fetchers.upstream_stub import UpstreamStub, good
from tests.fetchers.wire_rows import GRADES, answer


def test_the_grades_of_a_month_become_a_row_of_their_table() -> None:
    found = parse(answer(GRADES, {}), "ACME")

    assert found == Fetched(
        rows=(
            {
                "symbol": "ACME",
                "date": "2026-08-01",
                "analyst_ratings_strong_buy": 6,
                "analyst_ratings_buy": 22,
                "analyst_ratings_hold": 14,
                "analyst_ratings_sell": 3,
                "analyst_ratings_strong_sell": 0,
            },
        ),
        replaces=("symbol",),
    )


@pytest.mark.parametrize(("count", "stored"), [(7.9, 7), ("7", 7), (None, None), ("", None), (True, None)])
def test_a_count_is_a_whole_number_or_nothing(count: Any, stored: int | None) -> None:
    row = row_of(parse(answer(GRADES, {"analystRatingsBuy": count}), "ACME"))

    assert row["analyst_ratings_buy"] == stored


@pytest.mark.parametrize("bad", [{"analystRatingsBuy": -1}, {"analystRatingsHold": 2**40}, {"date": "August"}])
def test_an_impossible_month_is_left_out(bad: dict[str, Any]) -> None:
    found = parse(answer(GRADES, bad, {}), "ACME")

    assert [row["date"] for row in rows_of(found)] == ["2026-08-01"]
    assert sum(odd(found, OddityKind.QUARANTINED_RECORD).values()) == 1


async def test_all_months_are_asked_for_in_one_call() -> None:
    upstream = UpstreamStub([good(b"[]")])

    found = await GradesHistoricalFetcher().fetch([FetchRequest("ACME")], upstream)

    assert upstream.asked == [("grades-historical", {"symbol": "ACME", "limit": "1000"}, None)]
    assert rows_of(found["ACME"]) == []
