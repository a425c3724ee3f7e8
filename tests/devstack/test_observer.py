"""What the demo measures, on a real PostgreSQL whose connections go away and come back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from daemon.contracts import Pair
from daemon.store.database import Database
from devstack.demo_view import percentage
from devstack.observer import Freshness, Observer, build_report
from devstack.viewers import Crowd
from tests.rows import make_ready

AAPL = Pair("AAPL", "quote")
MSFT = Pair("MSFT", "quote")


class StillCrowd(Crowd):
    """Viewers who look at the same pairs all the time, without a Realtime server."""

    def __init__(self, *pairs: Pair) -> None:
        super().__init__("http://127.0.0.1:1", "viewers:0", str, [])
        self._views[1] = frozenset(pairs)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - a number that grows tells nobody
            await asyncio.sleep(0.01)


async def test_a_database_that_is_away_for_a_while_ends_nothing_and_counts_as_not_fresh(owner: Database) -> None:
    await make_ready(owner)
    await owner.execute(
        "insert into refresh_state_v2 (symbol, data_type, fresh_until) values ('AAPL', 'quote', now() + interval '1 h')"
    )
    observer = Observer(owner, StillCrowd(AAPL, MSFT), warm_up_seconds=0, sample_seconds=0.01)
    stop = asyncio.Event()
    freshness = observer.freshness

    async with asyncio.TaskGroup() as group:
        group.create_task(observer.run(stop))
        await until(lambda: freshness.seconds > 0)
        share_before = freshness.share

        await owner.close()
        await until(lambda: freshness.share is not None and freshness.share < 0.4)
        fresh_seconds_during = freshness.fresh_seconds

        await owner.open()
        await until(lambda: freshness.fresh_seconds > fresh_seconds_during)
        stop.set()

    assert share_before == 0.5
    assert {sample.pair for sample in observer.samples} == {AAPL, MSFT}


async def test_the_share_of_stale_viewer_seconds_counts_every_viewer_of_a_pair(owner: Database) -> None:
    await make_ready(owner)
    await owner.execute(
        "insert into refresh_state_v2 (symbol, data_type, fresh_until) values ('AAPL', 'quote', now() + interval '1 h')"
    )
    crowd = StillCrowd(AAPL, MSFT)
    crowd._views[2] = crowd._views[3] = frozenset({AAPL})
    observer, stop = Observer(owner, crowd, warm_up_seconds=0, sample_seconds=0.01), asyncio.Event()

    async with asyncio.TaskGroup() as group:
        group.create_task(observer.run(stop))
        await until(lambda: observer.viewer_freshness.seconds > 0)
        stop.set()

    report = await build_report(observer, crowd, [])
    assert (report["fresh_share"], report["S"]) == (0.5, 0.25)


async def test_nothing_is_claimed_before_something_was_counted(owner: Database) -> None:
    crowd = StillCrowd(AAPL)

    report = await build_report(Observer(owner, crowd), crowd, [])

    assert report["fresh_share"] is None
    assert report["S"] is None
    assert percentage(report["fresh_share"]) == "not measured yet"


def test_the_share_is_that_of_the_pair_seconds() -> None:
    freshness = Freshness()

    freshness.count(2.0, viewed=2, fresh=2)
    freshness.count(1.0, viewed=4, fresh=2)

    assert freshness.share == 0.75
    assert percentage(freshness.share) == "75.00%"
