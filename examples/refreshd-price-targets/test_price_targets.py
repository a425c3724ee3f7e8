"""The example keeps what all fetchers promise. Run it from the root of refreshd's checkout, the package installed."""

from __future__ import annotations

import pytest
from refreshd_price_targets import PriceTargetFetcher, parse

from tests.fetchers.conformance import Conformance, Subject, fixed

BODY = b"""[{
  "symbol": "AAPL", "targetHigh": 300, "targetLow": 200.5, "targetConsensus": 251.7, "targetMedian": 258
}]"""


@pytest.fixture(scope="module")
def subject() -> Subject:
    return Subject(PriceTargetFetcher, "AAPL", fixed({"price-target-consensus": BODY}))


class TestPriceTargets(Conformance):
    """The suite of refreshd."""


def test_a_figure_that_is_no_number_is_null() -> None:
    [row] = parse(BODY.replace(b"258", b'"n/a"'), "AAPL").rows or ()

    assert row == {
        "symbol": "AAPL",
        "target_high": 300.0,
        "target_low": 200.5,
        "target_consensus": 251.7,
        "target_median": None,
    }
