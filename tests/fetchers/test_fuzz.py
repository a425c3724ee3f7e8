"""A short run of the fuzzer, and proof that it would see a fault."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import pytest

from daemon.contracts import Fetched, FetchError, FetchRequest, Upstream
from tests.fetchers import fuzz
from tests.fetchers.conformance import Subject, fixed
from tests.fetchers.subjects import SUBJECTS
from tests.presence.stage import LogRecorder


class TrustingFetcher:
    """Takes what comes for what it should be."""

    data_type = "trusting"
    batch_size = 1

    async def fetch(self, requests: Sequence[FetchRequest], upstream: Upstream) -> Mapping[str, Fetched | FetchError]:
        """Decode, and hope."""
        answer = await upstream.get("mood", {"symbol": requests[0].symbol})
        return {requests[0].symbol: Fetched(msgspec.json.decode(answer.body))}


@pytest.mark.usefixtures("log")
async def test_bodies_of_all_kinds_are_rows_or_errors() -> None:
    report = await fuzz.fuzz(cases=500 * len(SUBJECTS), seed=20261129)

    assert report.cases == 500 * len(SUBJECTS)
    assert sum(report.results.values()) == report.cases
    assert report.results.keys() >= {"rows", "no rows", "malformed", "wrong_symbol"}


async def test_the_same_seed_gives_the_same_results(log: LogRecorder) -> None:
    first, second = [await fuzz.fuzz(cases=300, seed=7) for _ in range(2)]

    assert first.results == second.results
    assert log.of("upstream_drift_unnamed") == []


async def test_a_fetcher_that_believes_its_upstream_is_found() -> None:
    trusting = Subject(TrustingFetcher, "AAPL", fixed({"mood": b'[{"symbol": "AAPL", "mood": 7}]'}))

    with pytest.raises(fuzz.FuzzError, match=r"case \d+, mood answering"):
        await fuzz.fuzz(cases=100, seed=1, subjects={"trusting": trusting})


@pytest.mark.usefixtures("log")
async def test_one_case_can_be_run_again_alone() -> None:
    report = await fuzz.fuzz(cases=100, seed=7, only=41)

    assert report.cases == 1
