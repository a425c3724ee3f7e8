"""The list of exchanges, which is about no symbol."""

from __future__ import annotations

from daemon.contracts import Fetched, FetchRequest
from daemon.fetchers.available_exchanges import AvailableExchangesFetcher, parse
from tests.fetchers.findings import row_of, rows_of
from tests.fetchers.upstream_stub import UpstreamStub, good
from tests.fetchers.wire_rows import EXCHANGE, answer


def test_an_exchange_becomes_a_row_of_its_table() -> None:
    found = parse(answer(EXCHANGE, {}))

    assert found == Fetched(
        rows=(
            {
                "exchange": "ASX",
                "name": "Australian Securities Exchange",
                "country_name": "Australia",
                "country_code": "AU",
                "symbol_suffix": ".AX",
                "delay": "20 min",
            },
        ),
        replaces=(),
    )


def test_the_suffix_is_kept_as_text_and_the_delay_may_be_null() -> None:
    row = row_of(parse(answer(EXCHANGE, {"symbolSuffix": "N/A", "delay": None})))

    assert [row["symbol_suffix"], row["delay"]] == ["N/A", None]


def test_an_exchange_without_a_code_is_left_out_and_then_none_is_removed() -> None:
    found = parse(answer(EXCHANGE, {}, {"exchange": ""}))

    assert len(rows_of(found)) == 1
    assert isinstance(found, Fetched)
    assert found.replaces is None


async def test_the_list_is_asked_for_without_a_symbol() -> None:
    upstream = UpstreamStub([good(answer(EXCHANGE, {}), '"new"')])

    found = await AvailableExchangesFetcher().fetch([FetchRequest("GLOBAL", '"old"')], upstream)

    assert upstream.asked == [("available-exchanges", {}, '"old"')]
    assert len(rows_of(found["GLOBAL"])) == 1
