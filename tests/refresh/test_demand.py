"""The book of demand: numbers and weights as they were last told."""

from __future__ import annotations

from daemon.contracts import DemandChange, Pair
from daemon.refresh.demand import DemandBook
from daemon.refresh.policy import gain
from daemon.store.catalogue import StoredCatalogue
from daemon.store.database import Database
from tests.rows import make_ready

QUOTE = Pair("AAPL", "quote")


async def test_the_gain_follows_the_weight_and_the_priority_the_number(owner: Database, database: Database) -> None:
    await make_ready(owner)
    catalogue = StoredCatalogue()
    await catalogue.load(database)
    book, known = DemandBook(lambda: catalogue.types), catalogue.types["quote"]

    book.apply(DemandChange("viewers:0", {QUOTE: 3}, weights={QUOTE: 0.5}))
    (light,) = book.demands([QUOTE])
    book.apply(DemandChange("viewers:0", {QUOTE: 3}))
    (full,) = book.demands([QUOTE])

    assert light.viewers == full.viewers == 3
    assert light.gain == gain(known.weight, 0.5, known.ttl_seconds)
    assert full.gain == gain(known.weight, 3, known.ttl_seconds)
