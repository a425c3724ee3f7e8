"""From presence to demand, with a clock that stands still until it is moved."""

from __future__ import annotations

from datetime import UTC, datetime

from daemon.presence.feed import DemandFeed
from daemon.presence.metadata import DEFAULT_RULES
from daemon.presence.roster import Roster
from tests.presence.stage import AAPL, LOBBY, MSFT, OTHER_LOBBY, AnySymbol, DemandRecorder, looking_at, state_of


class MovedClock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def now(self) -> datetime:
        """Return the time of day."""
        return datetime.fromtimestamp(self.seconds, UTC)

    def monotonic(self) -> float:
        """Return the seconds."""
        return self.seconds


class Scene:
    """A feed with what is around it."""

    def __init__(self) -> None:
        self.clock = MovedClock()
        self.demand = DemandRecorder()
        self.feed = DemandFeed(
            catalogue=AnySymbol(),
            sink=self.demand,
            clock=self.clock,
            roster=Roster(leave_grace_seconds=30, presence_grace_seconds=300),
            coalesce_seconds=1.0,
            rules=DEFAULT_RULES,
        )

    @classmethod
    async def begin(cls) -> Scene:
        """Return a scene with two lobbies of which nothing is remembered."""
        scene = cls()
        for topic in (LOBBY, OTHER_LOBBY):
            await scene.feed.open(topic, topic)
        return scene

    def later(self, seconds: float) -> None:
        """Move the clock and do what is due."""
        self.clock.seconds += seconds
        self.feed.tick()


ADA = state_of(ada=looking_at("AAPL", user="ada"))
BOB = state_of(bob=looking_at("AAPL", user="bob"))


async def test_the_first_view_is_told_before_the_frame_has_been_taken_in() -> None:
    scene = await Scene.begin()

    await scene.feed.take_state(LOBBY, ADA)

    assert [change.viewers for change in scene.demand.changes] == [{AAPL: 1}]


async def test_further_views_wait_a_second_for_others() -> None:
    scene = await Scene.begin()
    await scene.feed.take_state(LOBBY, ADA)

    await scene.feed.take_diff(LOBBY, {"joins": BOB, "leaves": {}})
    await scene.feed.take_diff(LOBBY, {"joins": state_of(cem=looking_at("AAPL", user="cem")), "leaves": {}})
    seconds_left = scene.feed.seconds_left()
    scene.later(0.9)
    early = len(scene.demand.changes)
    scene.later(0.1)

    assert seconds_left == 1.0
    assert early == 1
    assert [change.viewers for change in scene.demand.changes[1:]] == [{AAPL: 3}]
    assert scene.feed.seconds_left() is None


async def test_a_leave_is_told_when_it_is_due() -> None:
    scene = await Scene.begin()
    await scene.feed.take_state(LOBBY, ADA)

    await scene.feed.take_diff(LOBBY, {"joins": {}, "leaves": ADA})
    seconds_left = scene.feed.seconds_left()
    scene.later(30)

    assert seconds_left == 30
    assert scene.demand.changes[-1].viewers == {AAPL: 0}


async def test_whoever_waits_is_told_of_an_earlier_deadline() -> None:
    scene = await Scene.begin()
    await scene.feed.take_state(LOBBY, ADA)
    await scene.feed.take_diff(LOBBY, {"joins": {}, "leaves": ADA})
    scene.feed.seconds_left()
    scene.feed.sooner.clear()

    await scene.feed.take_diff(LOBBY, {"joins": {**ADA, **BOB}, "leaves": {}})

    assert scene.feed.sooner.is_set()


async def test_a_topic_given_up_after_the_grace_is_found_again_though_nothing_in_it_changed() -> None:
    scene = await Scene.begin()
    await scene.feed.take_state(LOBBY, ADA)

    scene.feed.lost(LOBBY)
    scene.later(300)
    given_up = dict(scene.demand.viewers)
    await scene.feed.take_state(LOBBY, ADA)

    assert given_up == {AAPL: 0}
    assert scene.demand.viewers == {AAPL: 1}


async def test_a_topic_found_again_within_the_grace_has_not_changed() -> None:
    scene = await Scene.begin()
    await scene.feed.take_state(LOBBY, ADA)

    scene.feed.lost(LOBBY)
    scene.later(299)
    await scene.feed.take_state(LOBBY, ADA)
    scene.later(1000)

    assert len(scene.demand.changes) == 1


async def test_after_a_loss_diffs_wait_for_the_next_state() -> None:
    scene = await Scene.begin()
    await scene.feed.take_state(LOBBY, ADA)

    scene.feed.lost(LOBBY)
    await scene.feed.take_diff(LOBBY, {"joins": state_of(eve=looking_at("MSFT", user="eve")), "leaves": {}})
    before = dict(scene.demand.viewers)
    await scene.feed.take_state(LOBBY, ADA)

    assert before == {AAPL: 1}
    assert scene.demand.viewers == {AAPL: 1, MSFT: 1}


async def test_closing_tells_at_once_that_nobody_is_left_anywhere() -> None:
    scene = await Scene.begin()
    await scene.feed.take_state(LOBBY, ADA)
    await scene.feed.take_state(OTHER_LOBBY, state_of(bob=looking_at("MSFT", user="bob")))

    await scene.feed.close(LOBBY)
    await scene.feed.close(OTHER_LOBBY)

    assert scene.demand.viewers == {AAPL: 0, MSFT: 0}
    assert [change.source for change in scene.demand.changes] == [LOBBY, OTHER_LOBBY] * 2


async def test_a_state_that_comes_while_a_topic_is_being_given_up_leaves_no_ghost() -> None:
    scene = await Scene.begin()
    crowd = state_of(**{f"k{number}": looking_at("AAPL", user=f"u{number}") for number in range(1_200)})
    await scene.feed.take_state(LOBBY, crowd)
    scene.feed.lost(LOBBY)

    scene.later(301)
    remaining = scene.feed.viewers_in(LOBBY)
    await scene.feed.take_state(LOBBY, ADA)
    scene.later(31)
    here = dict(scene.demand.viewers)
    await scene.feed.take_diff(LOBBY, {"joins": {}, "leaves": ADA})
    scene.later(31)

    assert 0 < remaining < 1_200
    assert here == {AAPL: 1}
    assert scene.demand.viewers == {AAPL: 0}
