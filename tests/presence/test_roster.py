"""The roster, in sentences; the model beside it proves the rest."""

from __future__ import annotations

from daemon.contracts import Pair, Subscription
from daemon.presence.metadata import View
from daemon.presence.roster import EXPIRED_AT_ONCE, Roster
from tests.presence.stage import AAPL, LOBBY, MSFT, OTHER_LOBBY


def view(user: str, *pairs: Pair) -> View:
    return View(f"user:{user}", tuple(sorted(set(pairs))))


def joined(roster: Roster, *views: View, source: str = LOBBY, now: float = 0.0) -> None:
    """Let viewers in and have that reported."""
    roster.apply(source, views, [], now)
    roster.take_change(source)


def test_a_change_tells_the_new_number_and_the_rows_behind_it() -> None:
    roster = Roster()
    joined(roster, view("ada", AAPL))

    roster.apply(LOBBY, [view("bob", AAPL, MSFT)], [], 0.0)
    change = roster.take_change(LOBBY)

    assert change is not None
    assert change.viewers == {AAPL: 2, MSFT: 1}
    assert sorted(change.joined) == [Subscription("user:bob", AAPL), Subscription("user:bob", MSFT)]
    assert change.left == []


def test_a_thousand_metas_of_one_user_weigh_one() -> None:
    roster = Roster()

    roster.apply(LOBBY, [view("eve", AAPL)] * 1000, [], 0.0)

    assert roster.viewers(AAPL) == 1


def test_a_viewer_in_two_sources_counts_once_and_has_a_row_in_each() -> None:
    roster = Roster()
    joined(roster, view("ada", AAPL))

    roster.apply(OTHER_LOBBY, [view("ada", AAPL)], [], 0.0)
    change = roster.take_change(OTHER_LOBBY)

    assert roster.viewers(AAPL) == 1
    assert change is not None
    assert change.viewers == {}
    assert change.joined == [Subscription("user:ada", AAPL)]


def test_a_viewer_who_left_counts_until_the_grace_has_passed() -> None:
    roster = Roster(leave_grace_seconds=30)
    joined(roster, view("ada", AAPL))

    roster.apply(LOBBY, [], [view("ada", AAPL)], 10.0)
    roster.expire(39.9)
    before = roster.take_change(LOBBY)
    roster.expire(40.0)
    after = roster.take_change(LOBBY)

    assert before is None
    assert after is not None
    assert after.viewers == {AAPL: 0}
    assert after.left == [Subscription("user:ada", AAPL)]


def test_a_viewer_who_is_back_within_the_grace_never_left() -> None:
    roster = Roster(leave_grace_seconds=30)
    joined(roster, view("ada", AAPL))

    roster.apply(LOBBY, [], [view("ada", AAPL)], 10.0)
    roster.apply(LOBBY, [view("ada", AAPL)], [], 20.0)
    roster.expire(1000.0)

    assert roster.take_change(LOBBY) is None
    assert roster.viewers(AAPL) == 1
    assert roster.next_deadline() is None


def test_a_viewer_who_came_and_went_between_two_reports_is_not_mentioned() -> None:
    roster = Roster(leave_grace_seconds=0)

    roster.apply(LOBBY, [view("ada", AAPL)], [], 0.0)
    roster.apply(LOBBY, [], [view("ada", AAPL)], 0.0)
    roster.expire(0.0)

    assert roster.take_change(LOBBY) is None


def test_a_lost_source_is_unknown_and_not_empty() -> None:
    roster = Roster(presence_grace_seconds=300)
    joined(roster, view("ada", AAPL))

    roster.source_lost(LOBBY, 0.0)
    roster.source_lost(LOBBY, 200.0)
    given_up = roster.expire(299.9)

    assert given_up == []
    assert roster.viewers(AAPL) == 1
    assert roster.next_deadline() == 300.0


def test_a_source_that_stays_lost_is_given_up() -> None:
    roster = Roster(presence_grace_seconds=300)
    joined(roster, view("ada", AAPL))

    roster.source_lost(LOBBY, 0.0)
    given_up = roster.expire(300.0)
    change = roster.take_change(LOBBY)

    assert given_up == [LOBBY]
    assert change is not None
    assert change.viewers == {AAPL: 0}


def test_a_source_that_is_confirmed_is_not_given_up() -> None:
    roster = Roster(presence_grace_seconds=300)
    joined(roster, view("ada", AAPL))

    roster.source_lost(LOBBY, 0.0)
    roster.source_confirmed(LOBBY)
    roster.expire(1000.0)

    assert roster.viewers(AAPL) == 1


def test_a_drained_source_has_nobody_at_once() -> None:
    roster = Roster(leave_grace_seconds=30)
    joined(roster, view("ada", AAPL), view("bob", MSFT))
    roster.apply(LOBBY, [], [view("bob", MSFT)], 0.0)

    roster.drain(LOBBY)
    change = roster.take_change(LOBBY)

    assert change is not None
    assert change.viewers == {AAPL: 0, MSFT: 0}
    assert roster.next_deadline() is None


def test_a_viewer_counts_for_a_hundred_pairs_at_most_over_all_tabs() -> None:
    roster = Roster()
    pairs = [Pair(f"S{number:03}", "quote") for number in range(150)]

    roster.apply(LOBBY, [view("eve", *pairs[50:]), view("eve", *pairs[:50])], [], 0.0)

    assert [roster.viewers(pair) for pair in pairs] == [1] * 100 + [0] * 50


def test_what_a_viewer_looks_at_goes_before_what_lingers() -> None:
    roster = Roster(max_pairs=1)
    joined(roster, view("ada", AAPL))

    roster.apply(LOBBY, [view("ada", MSFT)], [view("ada", AAPL)], 0.0)
    change = roster.take_change(LOBBY)

    assert change is not None
    assert change.viewers == {AAPL: 0, MSFT: 1}


def test_only_the_first_view_of_a_pair_is_urgent() -> None:
    roster = Roster()
    roster.apply(LOBBY, [view("ada", AAPL)], [], 0.0)
    first = roster.first_viewed(LOBBY)
    roster.take_change(LOBBY)

    roster.apply(LOBBY, [view("bob", AAPL)], [], 0.0)

    assert first
    assert not roster.first_viewed(LOBBY)


def test_many_leaves_at_one_time_are_let_go_in_bounded_steps() -> None:
    roster = Roster(leave_grace_seconds=30)
    crowd = [view(f"u{number}", AAPL) for number in range(EXPIRED_AT_ONCE + 1)]
    joined(roster, *crowd)
    roster.apply(LOBBY, [], crowd, 0.0)

    roster.expire(30.0)

    assert roster.viewers(AAPL) == 1
    assert roster.next_deadline() == 30.0


def test_a_viewer_of_a_thousand_symbols_weighs_no_more_than_a_viewer_of_twenty() -> None:
    roster = Roster()
    pairs = [Pair(f"S{number:04}", "quote") for number in range(1000)]

    for start in range(0, 1000, 100):
        roster.apply(LOBBY, [view("eve", *pairs[start : start + 100])], [], 0.0)

    assert sum(map(roster.viewers, pairs)) == 100
    assert sum(map(roster.weight, pairs)) <= 20


def test_a_crowd_without_tickets_weighs_no_more_than_its_bound_and_verified_viewers_weigh_on_top() -> None:
    roster = Roster(unverified_viewers=10)
    crowd = [View(f"conn:k:{number}", (AAPL,)) for number in range(1000)]

    roster.apply(LOBBY, [*crowd, View("user:ada", (AAPL,), verified=True)], [], 0.0)
    change = roster.take_change(LOBBY)

    assert change is not None
    assert change.viewers == {AAPL: 1001}
    assert change.weights == {AAPL: 11.0}


def test_many_sources_that_are_given_up_at_once_share_one_bound() -> None:
    roster = Roster(presence_grace_seconds=300)
    for number in range(20):
        source = f"symbol:S{number}"
        joined(roster, *(view(f"u{number}.{each}", AAPL) for each in range(100)), source=source)
        roster.source_lost(source, now=float(number))

    turns = []
    while (deadline := roster.next_deadline()) is not None and deadline <= 1000.0:
        before = roster.viewers(AAPL)
        roster.expire(1000.0)
        turns.append(before - roster.viewers(AAPL))

    assert turns == [EXPIRED_AT_ONCE] * 4
    assert roster.next_deadline() is None
