"""The table of fetchers."""

from __future__ import annotations

from daemon.fetchers.table import FETCHERS, build_fetchers


def test_every_fetcher_is_built_under_its_name() -> None:
    fetchers = build_fetchers()

    assert set(fetchers) == set(FETCHERS)
    assert fetchers["quote"].data_type == "quote"
    assert fetchers["quote"].batch_size == 100
    assert fetchers["profile"].batch_size == 1


def test_two_tables_share_no_memory() -> None:
    assert build_fetchers()["quote"] is not build_fetchers()["quote"]
