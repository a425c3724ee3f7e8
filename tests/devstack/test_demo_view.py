"""What the demo's table shows."""

from __future__ import annotations

import pytest

from daemon.contracts import Pair
from daemon.store.database import Database
from devstack.demo_view import choose
from devstack.glimpses import glimpse
from devstack.observer import PairSample
from devstack.viewers import ON_A_PAGE


def sample(symbol: str, data_type: str, viewers: int) -> PairSample:
    return PairSample(Pair(symbol, data_type), viewers, None, True, 1.0, 60.0, "changed")


def test_every_data_type_is_shown_however_few_look_at_it_the_most_viewed_first() -> None:
    quotes = [sample(f"S{number:02}", "quote", 50 - number) for number in range(30)]
    others = [sample(symbol, name, 1) for name in ("profile", "ratios-ttm") for symbol in ("B", "A")]

    shown = choose([*others, *quotes], rows=5)

    assert [(s.pair.symbol, s.pair.data_type) for s in shown] == [
        ("S00", "quote"), ("S01", "quote"), ("S02", "quote"), ("A", "profile"), ("A", "ratios-ttm"),
    ]  # fmt: skip


@pytest.mark.direct
async def test_every_type_of_the_registry_has_a_glimpse(owner: Database) -> None:
    names = [row["data_type"] for row in await owner.fetch("select data_type from data_type_registry_v2")]
    pairs = "(select 'A' as symbol, unnest($1::text[]) as data_type) i"

    rows = await owner.fetch(f"select data_type, {glimpse(names)} as value from {pairs}", names)

    assert {row["data_type"] for row in rows} == set(names) == set(ON_A_PAGE)
    assert {row["data_type"] for row in rows if row["value"]} == {"available-exchanges", "exchange-market-status"}
    assert await owner.fetchval(f"select {glimpse(['mood'])} from {pairs}", ["mood"]) is None
