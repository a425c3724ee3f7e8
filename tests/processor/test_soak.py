"""The soak in short: several daemons, everything that happens to them once, some thousand calls."""

from __future__ import annotations

import pytest

from tests.processor.soak import Plan, soak


@pytest.mark.timeout(300)
async def test_whatever_happens_to_the_daemons_no_job_is_lost_or_done_twice_and_no_minute_is_overspent() -> None:
    plan = Plan(calls=2_500, calls_per_minute=4_000, pause_seconds=(0.3, 1.0), seed=7)

    report = await soak(plan)

    assert report.problems == []
    assert report.jobs > 0
    assert report.faults.total() >= 5
