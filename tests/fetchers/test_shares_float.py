"""Share counts: one record with a time of its own."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from daemon.contracts import Fetched, FetchError, FetchErrorKind, FetchRequest
from daemon.fetchers.shares_float import SharesFloatFetcher, parse
from tests.fetchers.findings import row_of
from tests.fetchers.upstream_stub import UpstreamStub, good
from tests.fetchers.wire_rows import SHARES_FLOAT, answer


def test_a_count_becomes_a_row_of_its_table() -> None:
    found = parse(answer(SHARES_FLOAT, {}), "ACME")

    assert found == Fetched(
        rows=(
            {
                "symbol": "ACME",
                "date": "2026-08-26",
                "free_float": 99.87879921341867,
                "float_shares": 25595002,
                "outstanding_shares": 25625000,
                "source": "https://filings.example/acme-2026.htm",
                "source_timestamp": "2026-08-26T23:13:45+00:00",
            },
        ),
        source_timestamp=datetime(2026, 8, 26, 23, 13, 45, tzinfo=UTC),
    )


def test_an_etf_has_zeros_and_no_source() -> None:
    row = row_of(parse(answer(SHARES_FLOAT, {"freeFloat": 0, "floatShares": 0, "source": None}), "ACME"))

    assert [row["free_float"], row["float_shares"], row["source"]] == [0, 0, None]


def test_of_several_counts_the_newest_is_stored() -> None:
    days = [{"date": f"2026-08-{day} 10:00:00"} for day in (25, 27, 26)]

    found = parse(answer(SHARES_FLOAT, *days), "ACME")

    assert row_of(found)["date"] == "2026-08-27"
    assert isinstance(found, Fetched)
    assert found.source_timestamp == datetime(2026, 8, 27, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    ("bad", "kind"),
    [
        ({"date": ""}, FetchErrorKind.MALFORMED),
        ({"date": 1787774400}, FetchErrorKind.MALFORMED),
        ({"floatShares": -1}, FetchErrorKind.INSANE_VALUE),
        ({"symbol": "BOLT"}, FetchErrorKind.WRONG_SYMBOL),
    ],
)
def test_a_doubtful_count_is_refused(bad: dict[str, Any], kind: FetchErrorKind) -> None:
    with pytest.raises(FetchError) as caught:
        parse(answer(SHARES_FLOAT, bad), "ACME")

    assert caught.value.kind is kind


async def test_a_symbol_without_a_count_has_no_rows() -> None:
    upstream = UpstreamStub([good(b"[]")])

    assert await SharesFloatFetcher().fetch([FetchRequest("ACME")], upstream) == {"ACME": Fetched(rows=())}
    assert upstream.asked == [("shares-float", {"symbol": "ACME"}, None)]
