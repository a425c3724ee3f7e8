"""The book of demand: numbers and weights as they were last told."""

from __future__ import annotations

import math

import pytest

from daemon.contracts import DemandChange, Pair
from daemon.refresh.demand import LONG_RUN_SECONDS, DemandBook
from daemon.refresh.policy import gain
from daemon.store.catalogue import StoredCatalogue
from daemon.store.database import Database
from tests.clocks import StandingClock
from tests.rows import make_ready

QUOTE = Pair("AAPL", "quote")


async def test_the_gain_follows_the_weight_and_the_priority_the_number(owner: Database, database: Database) -> None:
    await make_ready(owner)
    catalogue = StoredCatalogue()
    await catalogue.load(database)
    clock = StandingClock()
    book, known = DemandBook(lambda: catalogue.types, monotonic=clock.monotonic), catalogue.types["quote"]

    book.apply(DemandChange("viewers:0", {QUOTE: 3}, weights={QUOTE: 0.5}))
    (light,) = book.demands([QUOTE])
    book.apply(DemandChange("viewers:0", {QUOTE: 3}))
    (full,) = book.demands([QUOTE])

    assert light.viewers == full.viewers == 3
    assert light.gain == gain(known.weight, 0.5, known.ttl_seconds)
    assert full.gain == gain(known.weight, 3, known.ttl_seconds)


def test_what_is_usual_follows_what_is_within_half_an_hour() -> None:
    clock = StandingClock()
    book = DemandBook(dict, monotonic=clock.monotonic)

    book.apply(DemandChange("viewers:0", {QUOTE: 10}, weights={QUOTE: 4.0}))
    at_first = book.usual_viewers(QUOTE)
    clock.move(LONG_RUN_SECONDS)
    after_a_while = book.usual_viewers(QUOTE)
    book.apply(DemandChange("viewers:0", {QUOTE: 0}))
    when_all_left = book.usual_viewers(QUOTE)
    clock.move(LONG_RUN_SECONDS)

    assert at_first == 0
    assert after_a_while == when_all_left == pytest.approx(4 * (1 - math.exp(-1)))
    assert book.usual_viewers(QUOTE) == pytest.approx(after_a_while * math.exp(-1))


def test_pairs_that_nobody_looks_at_any_more_are_forgotten() -> None:
    clock = StandingClock()
    book = DemandBook(dict, monotonic=clock.monotonic)
    for number in range(20_000):
        book.apply(DemandChange("viewers:0", {Pair(f"S{number}", "quote"): 1}))
        clock.move(10)
        book.apply(DemandChange("viewers:0", {Pair(f"S{number}", "quote"): 0}))

    assert len(book) == 0
    assert len(book._usual) <= 1_010
