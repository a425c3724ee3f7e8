"""Building without the garbage collector, and finding the cycles that were frozen."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from daemon.presence.collection import building, collect_all


class Knot:
    """Something that holds itself."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def thawed() -> Iterator[None]:
    """Leave the collector as it was."""
    yield
    gc.unfreeze()


def test_no_collection_runs_until_the_last_of_several_is_built() -> None:
    with building():
        with building():
            assert not gc.isenabled()
        assert not gc.isenabled()

    assert gc.isenabled()


def test_a_failure_on_the_way_turns_the_collector_on_again() -> None:
    with pytest.raises(LookupError), building():
        raise LookupError

    assert gc.isenabled()


def test_what_was_built_is_passed_over_by_later_collections() -> None:
    before = gc.get_freeze_count()

    with building():
        built = [[number] for number in range(1_000)]

    assert gc.get_freeze_count() >= before + len(built)


async def test_cycles_that_were_frozen_are_found_by_the_daily_collection() -> None:
    with building():
        knot = weakref.ref(Knot())
    gc.collect()
    passed_over = knot() is not None

    await collect_all()

    assert passed_over
    assert knot() is None
