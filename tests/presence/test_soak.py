"""The soak in short: every kind of fault within half a minute."""

from __future__ import annotations

import pytest

from tests.presence.soak import Plan, soak


@pytest.mark.timeout(300)
async def test_after_every_kind_of_fault_the_rows_are_the_truth_and_the_bucket_has_held() -> None:
    plan = Plan(
        seconds=25.0,
        viewers=24,
        pause_seconds=(0.1, 0.9),
        burst=40,
        window_seconds=40.0,
        seed=20261124,
    )

    report = await soak(plan)

    assert len(report.faults) == 20
    assert report.connections >= 2
    assert report.rows > 0
    assert report.lag_samples > 100
