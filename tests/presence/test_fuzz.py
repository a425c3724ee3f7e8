"""A short run of the fuzzer, and proof that it would see a fault."""

from __future__ import annotations

import pytest

from tests.presence import fuzz


async def test_two_thousand_hostile_payloads_leave_the_listener_alive_and_every_drop_counted() -> None:
    report = await fuzz.fuzz(cases=2_000, seed=20261124)

    assert report.cases == 2_000
    assert report.drops.keys() >= {
        "invalid_phx_ref",
        "invalid_user_id",
        "malformed_data_types",
        "malformed_diff",
        "malformed_frame",
        "malformed_meta",
        "malformed_presence",
        "malformed_state",
        "malformed_symbol",
        "malformed_views",
        "oversized_meta",
        "too_many_data_types",
        "too_many_keys",
        "too_many_pairs",
        "unexpected_event",
        "unknown_data_type",
    }


async def test_the_same_seed_sends_the_same_batch() -> None:
    first, second = [await fuzz.fuzz(cases=1_000, seed=7, only=2) for _ in range(2)]

    assert first.cases == second.cases == fuzz.BATCH
    assert first.drops == second.drops != {}


async def test_a_drop_that_is_not_counted_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daemon.presence.metadata.MAX_DATA_TYPES", 21)

    with pytest.RaisesGroup(pytest.RaisesExc(fuzz.FuzzError, match="too_many_data_types")):
        await fuzz.fuzz(cases=fuzz.BATCH, seed=1)
