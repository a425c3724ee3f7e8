"""The timers against the plainest model of them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from daemon.contracts import Pair
from daemon.refresh.timers import DueTimers

PAIRS = [Pair(symbol, "quote") for symbol in "ABCDE"]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("set"), st.sampled_from(PAIRS), st.integers(0, 20)),
        st.tuples(st.just("drop"), st.sampled_from(PAIRS), st.just(0)),
        st.tuples(st.just("take"), st.just(PAIRS[0]), st.integers(0, 20)),
    )
)


@given(STEPS)
def test_each_pair_fires_once_at_the_time_that_was_set_last(steps: list[tuple[str, Pair, int]]) -> None:
    timers, model = DueTimers(), dict[Pair, int]()

    for step, pair, at in steps:
        if step == "set":
            timers.set(pair, at)
            model[pair] = at
        elif step == "drop":
            timers.drop(pair)
            model.pop(pair, None)
        else:
            due = sorted((when, name) for name, when in model.items() if when <= at)
            assert timers.take_due(at) == [name for _, name in due]
            model = {name: when for name, when in model.items() if when > at}
        assert timers.next_at() == min(model.values(), default=None)
        assert len(timers) == len(model)


def test_setting_a_pair_again_and_again_does_not_pile_up() -> None:
    timers = DueTimers()

    for at in range(10_000):
        timers.set(PAIRS[0], float(at))

    assert len(timers._heap) < 100
