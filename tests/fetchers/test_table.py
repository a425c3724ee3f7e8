"""The table of fetchers."""

from __future__ import annotations

from datetime import UTC, datetime

from daemon.contracts import Fetcher
from daemon.fetchers.exchange_market_status import NoExchanges
from daemon.fetchers.table import FETCHERS, build_fetchers


def build() -> dict[str, Fetcher]:
    return build_fetchers(NoExchanges(), lambda: datetime(2026, 8, 26, tzinfo=UTC))


def test_every_fetcher_is_built_under_its_name() -> None:
    fetchers = build()

    assert set(fetchers) == set(FETCHERS)
    assert all(fetcher.data_type == name for name, fetcher in fetchers.items())
    assert fetchers["quote"].batch_size == 100
    assert {name for name, fetcher in fetchers.items() if fetcher.batch_size != 1} == {"quote"}


def test_two_tables_share_no_memory() -> None:
    assert build()["quote"] is not build()["quote"]
